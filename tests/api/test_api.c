/* The API over its real socket, with libcurl as the client and a double in the engine's place. */
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "api/api.h"
#include "tests/lib/cmocka_skip.h"

#define KNOWN_LEASE "969eb8c9-f186-475b-8c32-3556de0aef21"

static char revoked[64], renewed[64];
static int64_t renewed_ttl_ms;

char *engine_leases_json(const struct engine *engine)
{
	return strdup("{\"daemon\":\"0123456789abcdef\",\"leases\":[]}");
}

static int known(const char *lease_id, struct dsec_error *err)
{
	if (strcmp(lease_id, KNOWN_LEASE) == 0)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no lease \"%s\"", lease_id);
}

int engine_revoke(struct engine *engine, const char *lease_id, struct dsec_error *err)
{
	snprintf(revoked, sizeof(revoked), "%s", lease_id);
	return known(lease_id, err);
}

int engine_renew(struct engine *engine, const char *lease_id, int64_t ttl_ms,
		 struct dsec_error *err)
{
	snprintf(renewed, sizeof(renewed), "%s", lease_id);
	renewed_ttl_ms = ttl_ms;
	return known(lease_id, err);
}

uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg)
{
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_FAULT, "a double makes no leases");
	done(arg, NULL, 0, &err);
	return 0;
}

void engine_abandon(struct engine *engine, uint64_t ticket)
{
}

void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason)
{
}

char *engine_metrics_text(const struct engine *engine)
{
	return strdup("dsec_up 1\n");
}

const char *engine_advice(enum dsec_error_kind kind)
{
	return "nothing";
}

static struct catalog *an_empty_catalog(void)
{
	static const char json[] = "{\"integrations\":{},\"projects\":{}}";
	struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog = NULL;

	catalog_system_init(&system);
	if (catalog_parse(&catalog, json, strlen(json), "dsec.json", true, &system, &problems) < 0)
		fail_msg("%s", problems.at[0].message);
	return catalog;
}

/* The daemon's loop, in small. */
struct served {
	char folder[32], path[64];
	struct catalog *catalog;
	struct api *api;
	pthread_t thread;
	atomic_bool end;
};

static void *serve(void *arg)
{
	struct served *served = arg;
	struct pollfd fd = {.fd = api_fd(served->api), .events = POLLIN};

	while (!served->end) {
		poll(&fd, 1, 10);
		api_dispatch(served->api);
	}
	return NULL;
}

static int start_at(struct api **ret, struct catalog *catalog, const char *path,
		    struct dsec_error *err)
{
	const struct api_options options = {.clock = &system_clock, .catalog = catalog};

	assert_int_equal(api_start(ret, &options, err), 0);
	int r = api_listen_unix(*ret, path, err);
	if (r < 0)
		*ret = api_stop(*ret);
	return r;
}

static int start(void **state)
{
	struct served *served = calloc(1, sizeof(*served));
	struct dsec_error err;

	snprintf(served->folder, sizeof(served->folder), "/tmp/dsec-api-XXXXXX");
	assert_non_null(mkdtemp(served->folder));
	assert_int_equal(chmod(served->folder, 0755), 0);
	snprintf(served->path, sizeof(served->path), "%s/sock", served->folder);
	served->catalog = an_empty_catalog();
	if (start_at(&served->api, served->catalog, served->path, &err) < 0)
		fail_msg("%s", err.message);
	pthread_create(&served->thread, NULL, serve, served);
	revoked[0] = renewed[0] = '\0';
	*state = served;
	return 0;
}

static int stop(void **state)
{
	struct served *served = *state;

	served->end = true;
	pthread_join(served->thread, NULL);
	api_stop(served->api);
	assert_int_equal(access(served->path, F_OK), -1);
	rmdir(served->folder);
	catalog_unref(served->catalog);
	free(served);
	return 0;
}

struct reply {
	long status;
	char body[4096];
	size_t n;
};

static size_t keep(char *data, size_t size, size_t n, void *arg)
{
	struct reply *reply = arg;

	assert_true(reply->n + n < sizeof(reply->body));
	memcpy(reply->body + reply->n, data, n);
	reply->n += n;
	reply->body[reply->n] = '\0';
	return n;
}

static struct reply ask(const struct served *served, const char *method, const char *path,
			const char *body)
{
	struct reply reply = {0};
	char url[512];
	CURL *curl = curl_easy_init();

	snprintf(url, sizeof(url), "http://dsec%s", path);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, served->path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
	if (body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
	curl_easy_cleanup(curl);
	return reply;
}

static void the_list_is_the_engines(void **state)
{
	struct reply reply = ask(*state, "GET", "/v3/dsec/leases", NULL);

	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "{\"daemon\":\"0123456789abcdef\",\"leases\":[]}");
}

static void a_revocation_reaches_the_lease_that_was_named(void **state)
{
	assert_int_equal(ask(*state, "DELETE", "/v3/dsec/leases/" KNOWN_LEASE, NULL).status, 200);
	assert_string_equal(revoked, KNOWN_LEASE);
}

static void an_unknown_lease_is_told_apart_from_a_failure(void **state)
{
	struct reply reply = ask(*state, "DELETE", "/v3/dsec/leases/other", NULL);

	assert_int_equal(reply.status, 404);
	assert_string_equal(
		reply.body,
		"{\"messages\":[\"there is no lease \\\"other\\\"\"],\"success\":false}");
}

static void a_renewal_says_for_how_long(void **state)
{
	assert_int_equal(
		ask(*state, "POST", "/v3/dsec/leases/" KNOWN_LEASE "/renew", "{\"ttl_sec\":3600}")
			.status,
		200);
	assert_string_equal(renewed, KNOWN_LEASE);
	assert_int_equal(renewed_ttl_ms, 3600000);
}

static void a_renewal_without_a_usable_time_changes_nothing(void **state)
{
	static const char *const bodies[] = {
		"",
		"{}",
		"3600",
		"{\"ttl_sec\":\"3600\"}",
		"{\"ttl_sec\":9}",
		"{\"ttl_sec\":-3600}",
		"{\"ttl_sec\":9223372036854775807}",
		"{\"ttl_sec\":3600,\"more\":1}",
		"{\"ttl_sec\":3600",
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		assert_int_equal(
			ask(*state, "POST", "/v3/dsec/leases/" KNOWN_LEASE "/renew", bodies[i])
				.status,
			400);
	assert_string_equal(renewed, "");
}

static void a_path_that_is_not_ours_is_refused(void **state)
{
	static const char *const paths[] = {
		"/",
		"/v3/dsec/leasesX",
		"/v3/dsec/leases/",
		"/v3/dsec/leases/a/b",
		"/v3/dsec/leases//renew",
		"/v3/dsec/leases/0123456789012345678901234567890123456789",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		assert_int_equal(ask(*state, "DELETE", paths[i], NULL).status, 404);
		assert_int_equal(ask(*state, "POST", paths[i], "{\"ttl_sec\":60}").status, 404);
	}
	assert_string_equal(revoked, "");
	assert_string_equal(renewed, "");
}

static void a_body_without_end_does_not_grow_the_daemon(void **state)
{
	char *body = malloc(API_BODY_SIZE_MAX + 2);

	memset(body, ' ', API_BODY_SIZE_MAX + 1);
	body[API_BODY_SIZE_MAX + 1] = '\0';
	assert_int_equal(ask(*state, "POST", "/v3/dsec/leases/" KNOWN_LEASE "/renew", body).status,
			 413);
	free(body);
}

/* Asks from a process of another user, and gives the status. */
static int status_for(const struct served *served, uid_t uid)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			_exit(1);
		_exit((int)(ask(served, "GET", "/v3/dsec/leases", NULL).status / 100));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whoever may read a config has to get as far as being asked who he is. */
static void a_stranger_may_connect_and_gets_nothing(void **state)
{
	const struct served *served = *state;
	struct stat st;

	if (geteuid() != 0)
		skip_because("only root can be a stranger");
	assert_int_equal(stat(served->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	assert_int_equal(status_for(served, 65534), 4);
	assert_int_equal(status_for(served, 0), 2);
}

static void a_live_daemons_socket_is_not_taken_over(void **state)
{
	const struct served *served = *state;
	struct api *second = NULL;
	struct dsec_error err;

	assert_true(start_at(&second, served->catalog, served->path, &err) < 0);
	assert_non_null(strstr(err.message, "another daemon listens there"));
	assert_int_equal(ask(served, "GET", "/v3/dsec/leases", NULL).status, 200);
}

static void a_dead_daemons_socket_is_taken_over(void **state)
{
	char folder[] = "/tmp/dsec-api-XXXXXX", path[64];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct api *api = NULL;
	struct dsec_error err;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	memcpy(address.sun_path, path, sizeof(path));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	struct catalog *catalog = an_empty_catalog();
	assert_int_equal(start_at(&api, catalog, path, &err), 0);
	api_stop(api);
	catalog_unref(catalog);
	rmdir(folder);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	char path[] = "/tmp/dsec-api-XXXXXX";
	struct api *api = NULL;
	struct dsec_error err;
	int fd = mkstemp(path);

	struct catalog *catalog = an_empty_catalog();
	close(fd);
	assert_true(start_at(&api, catalog, path, &err) < 0);
	catalog_unref(catalog);
	assert_non_null(strstr(err.message, "this is no socket"));
	assert_int_equal(unlink(path), 0);
}

#define served_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		served_test(the_list_is_the_engines),
		served_test(a_revocation_reaches_the_lease_that_was_named),
		served_test(an_unknown_lease_is_told_apart_from_a_failure),
		served_test(a_renewal_says_for_how_long),
		served_test(a_renewal_without_a_usable_time_changes_nothing),
		served_test(a_path_that_is_not_ours_is_refused),
		served_test(a_body_without_end_does_not_grow_the_daemon),
		served_test(a_stranger_may_connect_and_gets_nothing),
		served_test(a_live_daemons_socket_is_not_taken_over),
		cmocka_unit_test(a_dead_daemons_socket_is_taken_over),
		cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
