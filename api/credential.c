/*
 * credential.c: what systemd asks a Unix socket for that a unit names in LoadCredential=.
 *
 * systemd connects, from a socket whose abstract name is RANDOM/unit/UNIT/ID (systemd.exec(5)),
 * says nothing and reads to the end: there is nothing else by which it could be asked what it
 * wants. So ID is the path of a file below the mountpoint, with a plus for each slash, since
 * neither systemd's IDs have slashes nor dsec's names have pluses: app+dev+.json.
 *
 * Who may bind such a name is anybody, so that only root and the daemon's own user are answered;
 * a stranger is told so, as long as not many of them take their time over hearing it. UNIT is for
 * the log alone: which unit it is for, the cgroup of the process says that connects, which is in
 * the unit's already.
 *
 * An answer that ends without a byte is an empty credential to systemd, and the service would start
 * with that; one that ends early is a short one. What keeps it from starting is an answer longer
 * than a credential can be: so that is a refusal, which begins with its reason. Failing its read(2)
 * would be shorter, but only bytes of its own that we had not read could do that, and it has shut
 * down its side: neither SO_LINGER nor shutdown(2) are more than an end to it. (Who was not
 * accepted when the listener is closed does get ECONNRESET.) So no answer to ours is cut short
 * where that can be helped: not when dsec ends, and not before systemd itself has given the unit
 * up.
 */
#include <errno.h>
#include <poll.h>
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
	uint64_t give;    /* what is waited for; 0: nothing (any more) */
	bool turned_away; /* at the door: it has cost nobody anything but its descriptor */
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

/* To the operator. */
static void say(const struct api *api, const char *sentence)
{
	if (api->files.refused)
		api->files.refused(api->files.arg, sentence);
}

static void too_slow(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, deadline);
	const struct credential *credential = client->credential;
	char sentence[DSEC_ERROR_MESSAGE_MAX * 2];

	snprintf(
		sentence, sizeof(sentence),
		"credential %s of %s: pid %d has not taken more than %zu of %zu bytes within %d s; "
		"if the unit has started with these, start it again",
		credential->id, credential->unit, (int)client->peer.caller.pid, credential->sent,
		credential->total, API_TAKING_MS / 1000);
	if (asker_is_ours(client))
		say(client->api, sentence);
	client_close(client);
}

static void begin_to_write(struct credential *credential, const char *text, size_t n, size_t total)
{
	struct client *client = credential->client;
	int64_t ms = asker_is_ours(client) ? API_TAKING_MS : API_STRANGER_MS;

	credential->answered = true;
	credential->text = text;
	credential->n = n;
	credential->total = total;
	client->deadline.fire = too_slow;
	timer_arm(&client->api->timers, &client->deadline, api_now(client->api) + ms);
	write_on(credential);
}

static void tell_audit(const struct client *client, const char *why)
{
	const struct api *api = client->api;
	const struct api_token_event event = {
		.what = API_REFUSED,
		.token_id = client->peer.id,
		.peer = client->peer.id,
		.caller = &client->peer.caller,
		.why = why,
	};

	if (api->token_event)
		api->token_event(api->token_event_arg, &event);
}

/* Not as often as anybody who is refused may wish. What was refused behind the door is in the audit
 * log already. */
static void tell(const struct credential *credential, const char *sentence)
{
	const struct client *client = credential->client;
	struct api *api = client->api;

	if (!bucket_take(&visitor_get(api, client->peer.id)->told, api_now(api)))
		return;
	say(api, sentence);
	if (credential->turned_away)
		tell_audit(client, sentence);
}

/* Unit and credential are what it says; user and process are what the kernel says. */
static size_t word(struct credential *credential, const char *reason)
{
	const struct lease_caller *caller = &credential->client->peer.caller;
	const size_t size = sizeof(credential->reason);

	int n = snprintf(credential->reason, size,
			 "credential %s of %s was refused to uid %u, pid %d: %s\n", credential->id,
			 credential->unit, (unsigned)caller->uid, (int)caller->pid, reason);
	size_t length = (size_t)n < size ? (size_t)n : size - 1;

	credential->reason[length - 1] = '\0';
	tell(credential, credential->reason);
	credential->reason[length - 1] = '\n';
	return length;
}

static void refuse(struct credential *credential, const char *reason)
{
	size_t length = word(credential, reason);

	begin_to_write(credential, credential->reason, length, API_CREDENTIAL_MAX + 1);
}

/* Those that were turned away, or the others: of one peer, or (NULL) of all. */
static size_t count(const struct api *api, bool turned_away, const char *id)
{
	size_t n = 0;

	list_each (at, &api->clients) {
		const struct client *client = container_of(at, struct client, link);

		n += client->credential && client->credential->turned_away == turned_away &&
		     (!id || strcmp(client->peer.id, id) == 0);
	}
	return n;
}

/* May it take its time over the whole of a refusal? However many strangers do, ours may. */
static bool may_stay(const struct client *client)
{
	size_t n = count(client->api, true, client->peer.id);

	if (asker_is_ours(client))
		return n < API_CREDENTIALS_MAX;
	return n < API_STRANGERS_PEER_MAX && count(client->api, true, NULL) < API_STRANGERS_MAX;
}

static void turn_away(struct credential *credential, const char *reason)
{
	bool stays = may_stay(credential->client);

	credential->turned_away = true;
	if (stays) {
		refuse(credential, reason);
		return;
	}
	credential->text = credential->reason;
	credential->n = credential->total = word(credential, reason);
	(void)!send_some(credential);
	client_close(credential->client);
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

bool credential_begin(struct client *client, const struct sockaddr_storage *address, socklen_t size)
{
	struct credential *credential = alloc_zeroed(1, sizeof(*credential));
	const struct api *api = client->api;

	credential->client = client;
	if (!parse(credential, address, size)) {
		free(credential);
		return false;
	}
	bool full =
		count(api, false, NULL) >= API_CREDENTIALS_MAX; /* none but ours are among them */
	client->credential = credential;
	client->state = CLIENT_WAITING;
	client->source.ready = ready;
	if (source_add(api, &client->source, client->fd, EPOLLOUT | EPOLLET) < 0)
		client_close(client);
	else if (!asker_is_ours(client))
		turn_away(credential,
			  "only root's systemd, or that of the daemon's user, is answered");
	else if (full)
		turn_away(credential, "too many requests are under way: start the unit again");
	else if (!api->files.give)
		turn_away(credential, "this daemon has no files");
	else
		ask(credential);
	return true;
}

/* The end. */

/* Strangers do not keep dsec from ending. */
static void refuse_who_waits(struct api *api)
{
	list_each (at, &api->clients) {
		struct client *client = container_of(at, struct client, link);
		struct credential *credential = client->credential;

		if (!credential)
			continue;
		if (!asker_is_ours(client)) {
			client_close(client);
		} else if (!credential->answered) {
			if (credential->give)
				api->files.give_up(api->files.arg, credential->give);
			credential->give = 0;
			refuse(credential,
			       "dsec ends, or is replaced by another version: start the "
			       "unit again");
		}
	}
}

/* Is there one to be written to? */
static bool wait_for_room(const struct api *api, int64_t until_at)
{
	int64_t left = until_at - api_now(api);
	struct pollfd *fds = NULL;
	size_t n = 0;

	list_each (at, &api->clients) {
		const struct client *client = container_of(at, struct client, link);

		if (!client->credential)
			continue;
		fds = alloc_resized(fds, n + 1, sizeof(*fds));
		fds[n++] = (struct pollfd){.fd = client->fd, .events = POLLOUT};
	}
	bool room = n > 0 && left > 0 && (poll(fds, n, (int)left) > 0 || errno == EINTR);
	free(fds);
	return room;
}

void credentials_end(struct api *api)
{
	int64_t until_at = api_now(api) + API_FAREWELL_MS;

	refuse_who_waits(api);
	while (wait_for_room(api, until_at))
		list_each (at, &api->clients) {
			struct client *client = container_of(at, struct client, link);

			if (client->credential)
				write_on(client->credential);
		}
}
