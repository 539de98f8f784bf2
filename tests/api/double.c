#include "tests/api/double.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/lease_private.h"

#define ANSWER_MAX (256ul * 1024)
#define ROUNDS     200 /* of the loop: more than any one exchange takes */
#define ARENA_SIZE (1ul * 1024 * 1024)

int64_t double_now_at;
static struct double_engine *current;

static int64_t now(const struct clock *clock)
{
	return double_now_at;
}

static void random_bytes(const struct clock *clock, void *to, size_t n)
{
	static unsigned char next;

	for (unsigned char *byte = to; n > 0; n--)
		*byte++ = next++;
}

const struct clock double_clock = {
	.boottime_at = now, .calendar_ms = now, .random_bytes = random_bytes};

const char double_configuration[] =
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":"
	"\"environment\"}}},\"projects\":{\"app\":{\"dev\":{\"secrets\":{\"GREETING\":\"hello\"},"
	"\"dynamic_secrets\":{\"AWS_USER\":{\"integration\":\"aws\",\"policy\":{\"Version\":"
	"\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"ec2:Describe*\","
	"\"Resource\":\"*\"}]}}}},\"prd\":{}}}}";

/* The engine. */

static struct lease *make_lease(const struct double_acquire *acquire)
{
	struct secret *key;
	char text[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
	int64_t ttl_ms = acquire->ttl_ms ? acquire->ttl_ms : CATALOG_TTL_DEFAULT_MS;

	if (secret_new(&key, text, strlen(text), NULL) < 0)
		abort();
	const struct lease from = {
		.generation = ++current->n_leases,
		.slot = {.project = "app",
			 .config = acquire->config,
			 .secret = "AWS_USER",
			 .ttl_ms = ttl_ms,
			 .holder = acquire->holder},
		.integration = "aws",
		.user = "Doppler-Dynamic-yR9Y8hSHAzTwt",
		.arn = "arn:aws:iam::360000000000:user/doppler/Doppler-Dynamic-yR9Y8hSHAzTwt",
		.policy_name = "doppler-policy-IsIklv03vqi12",
		.access_key_id = "AKIAIOSFODNN7EXAMPLE",
		.secret_access_key = key,
		.start_ms = double_now_at,
		.expires_ms = double_now_at + ttl_ms,
		.start_at = double_now_at,
		.rotate_at = double_now_at + ttl_ms / 2,
		.expire_at = double_now_at + ttl_ms,
	};
	struct lease *lease = lease_new(&from);

	snprintf(lease->id, sizeof(lease->id), "lease-%u", current->n_leases);
	secret_unref(key);
	return lease;
}

static void give(struct double_acquire *acquire)
{
	struct lease *lease = make_lease(acquire);
	const struct lease *const leases[] = {lease};

	acquire->ticket = 0;
	acquire->done(acquire->arg, leases, 1, NULL);
	lease_unref(lease);
}

uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg)
{
	struct double_acquire *acquire = &current->acquires[current->n];

	if (current->n == DOUBLE_ACQUIRES_MAX)
		abort();
	current->n++;
	*acquire = (struct double_acquire){.secrets = request->secrets,
					   .ttl_ms = request->ttl_ms,
					   .holder = request->holders[SCOPE_SHARED],
					   .done = done,
					   .arg = arg,
					   .ticket = current->n};
	snprintf(acquire->config, sizeof(acquire->config), "%s", request->config);
	if (current->at_once)
		give(acquire);
	return acquire->ticket;
}

void engine_abandon(struct engine *engine, uint64_t ticket)
{
	if (ticket == 0 || ticket > current->n || current->acquires[ticket - 1].ticket == 0)
		abort(); /* it was answered, or never made */
	current->acquires[ticket - 1].ticket = 0;
	current->n_abandoned++;
}

void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason)
{
	current->ended[current->n_ended++ % DOUBLE_ENDED_MAX] = holder;
}

int engine_revoke(struct engine *engine, const char *lease_id, struct dsec_error *err)
{
	if (strncmp(lease_id, "lease-", strlen("lease-")) != 0)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no lease %.36s",
				      lease_id);
	snprintf(current->revoked[current->n_revoked++ % DOUBLE_ENDED_MAX], LEASE_ID_MAX, "%s",
		 lease_id);
	return 0;
}

int engine_renew(struct engine *engine, const char *lease_id, int64_t ttl_ms,
		 struct dsec_error *err)
{
	return 0;
}

char *engine_leases_json(const struct engine *engine)
{
	return strdup("{\"daemon\":\"0123456789abcdef\",\"leases\":[]}");
}

char *engine_metrics_text(const struct engine *engine)
{
	return strdup("dsec_up 1\n");
}

const char *engine_advice(enum dsec_error_kind kind)
{
	return "nothing";
}

static struct double_acquire *oldest(struct double_engine *engine)
{
	for (size_t i = 0; i < engine->n; i++)
		if (engine->acquires[i].ticket)
			return &engine->acquires[i];
	return NULL;
}

void scene_lease(struct scene *scene)
{
	give(oldest(&scene->engine));
}

void scene_fail(struct scene *scene, enum dsec_error_kind kind, const char *message)
{
	struct double_acquire *acquire = oldest(&scene->engine);
	struct dsec_error err;

	dsec_error_set(&err, kind, "%s", message);
	acquire->ticket = 0;
	acquire->done(acquire->arg, NULL, 0, &err);
}

void scene_end_lease(struct scene *scene, unsigned number)
{
	const struct double_acquire like = {.config = "dev"};
	struct lease *lease = make_lease(&like);

	scene->engine.n_leases--;
	snprintf(lease->id, sizeof(lease->id), "lease-%u", number);
	api_lease(scene->api, LEASE_ENDED, lease);
	lease_unref(lease);
}

unsigned scene_waiting(const struct scene *scene)
{
	unsigned n = 0;

	for (size_t i = 0; i < scene->engine.n; i++)
		n += scene->engine.acquires[i].ticket != 0;
	return n;
}

/* The scene. */

static void token_event(void *arg, const struct api_token_event *event)
{
	struct scene *scene = arg;

	scene->n_token_events[event->what]++;
}

static struct catalog *read_catalog(const char *configuration)
{
	struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog = NULL;

	catalog_system_init(&system);
	if (catalog_parse(&catalog, configuration, strlen(configuration), "dsec.json", true,
			  &system, &problems) < 0) {
		fprintf(stderr, "%s\n", problems.at[0].message);
		abort();
	}
	return catalog;
}

static void must(int result, const struct dsec_error *err)
{
	if (result == 0)
		return;
	fprintf(stderr, "%s\n", err->message);
	abort();
}

struct scene *scene_new(const char *configuration)
{
	struct scene *scene = alloc_zeroed(1, sizeof(*scene));
	struct dsec_error err;

	if (strcmp(secret_arena_kind(), "none") == 0)
		must(secret_arena_init(ARENA_SIZE, &err), &err);
	current = &scene->engine;
	snprintf(scene->folder, sizeof(scene->folder), "/tmp/dsec-api-XXXXXX");
	if (!mkdtemp(scene->folder))
		abort();
	if (chmod(scene->folder, 0711) < 0) /* others may connect */
		abort();
	snprintf(scene->path, sizeof(scene->path), "%s/socket", scene->folder);
	scene->catalog = read_catalog(configuration);
	const struct api_options options = {
		.clock = &double_clock,
		.engine = (struct engine *)&scene->engine,
		.catalog = scene->catalog,
		.state_folder = scene->folder,
		.token_event = token_event,
		.token_event_arg = scene,
	};
	must(api_start(&scene->api, &options, &err), &err);
	must(api_listen_unix(scene->api, scene->path, &err), &err);
	return scene;
}

struct scene *scene_free(struct scene *scene)
{
	char tokens[128];

	api_stop(scene->api);
	catalog_unref(scene->catalog);
	if (secret_arena_used() > 0)
		abort(); /* somebody has kept a secret */
	snprintf(tokens, sizeof(tokens), "%s/tokens.json", scene->folder);
	unlink(tokens);
	rmdir(scene->folder);
	free(scene);
	return NULL;
}

void scene_reload(struct scene *scene, const char *from, const char *to)
{
	char *configuration = alloc_copy(double_configuration);
	struct catalog *last = scene->catalog;

	for (char *at = strstr(configuration, from); *to;)
		*at++ = *to++;
	scene->catalog = read_catalog(configuration);
	api_reload(scene->api, scene->catalog);
	catalog_unref(last);
	free(configuration);
	scene_run(scene);
}

void scene_run(struct scene *scene)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd fd = {.fd = api_fd(scene->api), .events = POLLIN};

		if (poll(&fd, 1, 0) <= 0 && api_deadline_at(scene->api) > double_now_at)
			return;
		api_dispatch(scene->api);
	}
}

void scene_pass(struct scene *scene, int64_t ms)
{
	int64_t until_at = double_now_at + ms;

	scene_run(scene);
	while (double_now_at < until_at) {
		int64_t next_at = api_deadline_at(scene->api);

		/* libmicrohttpd has a clock of its own. */
		double_now_at = next_at > double_now_at && next_at < until_at ? next_at : until_at;
		scene_run(scene);
	}
}

/* The kernel tells who connects as it is at that moment. */
static void become(uid_t uid)
{
	if (seteuid(uid) < 0)
		abort();
}

int scene_connect(struct scene *scene)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, scene->path, strlen(scene->path) + 1);
	if (scene->uid)
		become(scene->uid);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	if (scene->uid)
		become(0);
	scene_run(scene);
	return fd;
}

/* Bit by bit where the socket does not take it at once; not all, where nobody reads it. */
void scene_say_bytes(struct scene *scene, int fd, const char *bytes, size_t n)
{
	for (int futile = 0; n > 0 && futile < ROUNDS;) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		scene_run(scene);
		if (sent < 0 && errno != EAGAIN)
			return; /* the other side does not listen any more */
		futile = sent > 0 ? 0 : futile + 1;
		bytes += sent > 0 ? sent : 0;
		n -= sent > 0 ? (size_t)sent : 0;
	}
}

void scene_say(struct scene *scene, int fd, const char *text)
{
	scene_say_bytes(scene, fd, text, strlen(text));
}

char *scene_hear(struct scene *scene, int fd)
{
	char *heard = alloc_zeroed(ANSWER_MAX, 1);
	size_t n = 0;

	for (;;) {
		ssize_t got = recv(fd, heard + n, ANSWER_MAX - 1 - n, MSG_DONTWAIT);

		if (got <= 0)
			return heard;
		n += (size_t)got;
		scene_run(scene);
	}
}

char *scene_get(struct scene *scene, const char *path)
{
	char text[1024];
	int fd = scene_connect(scene);

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	scene_say(scene, fd, text);
	char *heard = scene_hear(scene, fd);
	close(fd);
	scene_run(scene);
	return heard;
}
