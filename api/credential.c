/*
 * credential.c: what systemd asks a Unix socket for that a unit names in LoadCredential=.
 *
 * systemd connects, from a socket whose abstract name is RANDOM/unit/UNIT/ID (systemd.exec(5)),
 * says nothing and reads to the end: there is nothing else by which it could be asked what it
 * wants. So ID is the path of a file below the mountpoint, with a plus for each slash, since
 * neither systemd's IDs have slashes nor dsec's names have pluses: app+dev+.json.
 *
 * Who may bind such a name is anybody, so that only root and the daemon's own user are answered.
 * UNIT is for the log alone: which unit it is for, the cgroup of the process says that connects,
 * which is in the unit's already.
 *
 * An answer that ends without a byte is an empty credential to systemd, and the service would start
 * with that. What keeps it from starting is an answer longer than a credential can be: so that is a
 * refusal, which begins with its reason.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define ADDRESS_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path)
#define KIND        "/unit/"
#define PADDING     4096

struct credential {
	struct client *client;
	char unit[ADDRESS_MAX], id[ADDRESS_MAX];
	uint64_t give; /* what is waited for; 0: nothing (any more) */
	bool answered;
	struct download bytes;                   /* the file's */
	char reason[DSEC_ERROR_MESSAGE_MAX * 2]; /* of a refusal */
	const char *text;                        /* of one of the two */
	size_t n, total, sent; /* of the text; with what comes behind it; of that */
};

struct credential *credential_free(struct credential *credential)
{
	if (!credential)
		return NULL;

	const struct api *api = credential->client->api;
	if (credential->give)
		api->files.give_up(api->files.arg, credential->give);
	download_finish(&credential->bytes);
	free(credential);
	return NULL;
}

/* Writing. */

/* What is behind the text of a refusal. */
static const char *padding(void)
{
	static char lines[PADDING];

	if (!*lines)
		memset(lines, '\n', sizeof(lines));
	return lines;
}

static ssize_t send_some(const struct credential *credential)
{
	size_t left = credential->total - credential->sent;
	const char *from = padding();

	if (credential->sent < credential->n) {
		from = credential->text + credential->sent;
		left = credential->n - credential->sent;
	} else if (left > PADDING) {
		left = PADDING;
	}
	return send(credential->client->fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* As far as it goes; the client is closed when it has all, or has gone. */
static void write_on(struct credential *credential)
{
	while (credential->sent < credential->total) {
		ssize_t n = send_some(credential);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return; /* there is an event when there is room */
		if (n < 0)
			break;
		credential->sent += (size_t)n;
	}
	client_close(credential->client);
}

static void too_slow(struct timer *timer)
{
	client_close(container_of(timer, struct client, deadline));
}

static void begin_to_write(struct credential *credential, const char *text, size_t n, size_t total)
{
	struct client *client = credential->client;

	credential->answered = true;
	credential->text = text;
	credential->n = n;
	credential->total = total;
	client->deadline.fire = too_slow;
	timer_arm(&client->api->timers, &client->deadline, api_now(client->api) + API_ANSWERING_MS);
	write_on(credential);
}

/* To the operator; not as often as anybody who is refused may wish. */
static void tell(const struct credential *credential, const char *sentence)
{
	struct api *api = credential->client->api;
	struct visitor *visitor = visitor_get(api, credential->client->peer.id);

	if (api->files.refused && bucket_take(&visitor->told, api_now(api)))
		api->files.refused(api->files.arg, sentence);
}

static void refuse(struct credential *credential, const char *reason)
{
	int n = snprintf(credential->reason, sizeof(credential->reason),
			 "credential %s of %s was refused: %s\n", credential->id, credential->unit,
			 reason);
	size_t length =
		(size_t)n < sizeof(credential->reason) ? (size_t)n : sizeof(credential->reason) - 1;

	credential->reason[length - 1] = '\0';
	tell(credential, credential->reason);
	credential->reason[length - 1] = '\n';
	begin_to_write(credential, credential->reason, length, API_CREDENTIAL_MAX + 1);
}

/* Asking. */

static void given(void *arg, struct download *bytes, const struct dsec_error *err)
{
	struct credential *credential = arg;

	credential->give = 0;
	if (err) {
		refuse(credential, err->message);
		return;
	}
	credential->bytes = *bytes;
	*bytes = (struct download){0};
	begin_to_write(credential, credential->bytes.bytes, credential->bytes.n,
		       credential->bytes.n);
}

static void ask(struct credential *credential)
{
	const struct client *client = credential->client;
	const struct api *api = client->api;
	char path[ADDRESS_MAX];

	memcpy(path, credential->id, sizeof(path));
	for (char *at = path; *at; at++)
		if (*at == '+')
			*at = '/';
	uint64_t give =
		api->files.give(api->files.arg, path, &client->peer.caller, given, credential);
	if (give) /* else it is answered, and may be gone */
		credential->give = give;
}

static void ready(struct source *source, uint32_t events)
{
	struct client *client = container_of(source, struct client, source);

	/* It has only shut down its side of the connection where there is no HUP. */
	if (events & (EPOLLHUP | EPOLLERR))
		client_close(client);
	else if (client->credential->answered)
		write_on(client->credential);
}

/* Coming. */

/* "\0RANDOM/unit/UNIT/ID", without an end. */
static bool parse(struct credential *credential, const struct sockaddr_storage *address,
		  socklen_t size)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_un from;
	char name[ADDRESS_MAX + 1] = "";

	if (size <= head + 1 || size > sizeof(from))
		return false;
	memcpy(&from, address, size);
	if (from.sun_path[0] != '\0')
		return false;
	memcpy(name, from.sun_path + 1, size - head - 1);

	const char *kind = strchr(name, '/');
	if (!kind || strncmp(kind, KIND, strlen(KIND)) != 0)
		return false;
	const char *unit = kind + strlen(KIND), *id = strchr(unit, '/');
	if (!id || id == unit || !id[1] || strchr(id + 1, '/'))
		return false;
	snprintf(credential->unit, sizeof(credential->unit), "%.*s", (int)(id - unit), unit);
	snprintf(credential->id, sizeof(credential->id), "%s", id + 1);
	return true;
}

static size_t n_waiting(const struct api *api)
{
	size_t n = 0;

	list_each (at, &api->clients)
		n += container_of(at, struct client, link)->credential != NULL;
	return n;
}

bool credential_begin(struct client *client, const struct sockaddr_storage *address, socklen_t size)
{
	struct credential *credential = alloc_zeroed(1, sizeof(*credential));
	const struct api *api = client->api;

	credential->client = client;
	if (!parse(credential, address, size)) {
		free(credential);
		return false;
	}
	bool full = n_waiting(api) >= API_CREDENTIALS_MAX;
	client->credential = credential;
	client->state = CLIENT_WAITING;
	client->source.ready = ready;
	if (source_add(api, &client->source, client->fd, EPOLLOUT | EPOLLET) < 0)
		client_close(client);
	else if (!asker_is_ours(client))
		refuse(credential,
		       "only root's systemd, or that of the daemon's user, is answered");
	else if (full)
		refuse(credential, "too many requests are under way: start the unit again");
	else if (!api->files.give)
		refuse(credential, "this daemon has no files");
	else
		ask(credential);
	return true;
}
