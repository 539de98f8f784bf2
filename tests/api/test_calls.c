/*
 * What a request gets, and what it leaves behind: the API over its real socket, with a clock and an
 * engine that the test owns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lease/alloc.h"
#include "lease/lease_private.h"
#include "tests/api/double.h"

#define CONFIG   "project=app&config=dev"
#define DOWNLOAD "/v3/configs/config/secrets/download?" CONFIG
#define LEASED   DOWNLOAD "&include_dynamic_secrets=true"
#define SECRETS  "/v3/configs/config/secrets?" CONFIG
#define WATCH    "/v3/configs/config/secrets/watch?" CONFIG
#define LEASES   "/v3/configs/config/dynamic_secrets/dynamic_secret/leases"
#define REVOKE                                                                                     \
	"{\"project\":\"app\",\"config\":\"dev\",\"dynamic_secret\":\"AWS_USER\",\"slug\":"        \
	"\"lease-1\"}"

static int setup(void **state)
{
	*state = scene_new(double_configuration);
	return 0;
}

static int teardown(void **state)
{
	scene_free(*state);
	return 0;
}

static unsigned status_of(const char *heard)
{
	static const char start[] = "HTTP/1.1 ";

	if (strncmp(heard, start, strlen(start)) != 0)
		return 0;
	return (unsigned)strtoul(heard + strlen(start), NULL, 10);
}

static const char *body_of(const char *heard)
{
	const char *end = strstr(heard, "\r\n\r\n");

	return end ? end + 4 : "";
}

static void assert_heard(const char *heard, unsigned status, const char *part)
{
	if (status_of(heard) != status || !strstr(heard, part))
		fail_msg("not %u with %s: %s", status, part, heard);
}

/* What this GET is answered with. */
static void assert_get(struct scene *scene, const char *path, unsigned status, const char *part)
{
	_cleanup_free_ char *heard = scene_get(scene, path);

	assert_heard(heard, status, part);
}

static int ask(struct scene *scene, const char *method, const char *path, const char *fields,
	       const char *body)
{
	char *text = alloc_zeroed(1, 4096 + strlen(body));
	int fd = scene_connect(scene);

	sprintf(text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s", method, path, fields, body);
	scene_say(scene, fd, text);
	free(text);
	return fd;
}

static void assert_answer(struct scene *scene, int fd, unsigned status, const char *part)
{
	_cleanup_free_ char *heard = scene_hear(scene, fd);

	assert_heard(heard, status, part);
	close(fd);
	scene_run(scene);
}

/* The token of app/dev in `to`. */
static void make_token(struct scene *scene, const char *more, char to[128])
{
	char body[256], fields[64];

	snprintf(body, sizeof(body), "{\"project\":\"app\",\"config\":\"dev\"%s}", more);
	snprintf(fields, sizeof(fields), "Content-Length: %zu\r\n", strlen(body));
	int fd = ask(scene, "POST", "/v3/dsec/tokens", fields, body);
	_cleanup_free_ char *heard = scene_hear(scene, fd);

	close(fd);
	assert_int_equal(sscanf(body_of(heard), "{\"token\":\"%127[^\"]", to), 1);
}

static int ask_with_token(struct scene *scene, const char *path, const char *token)
{
	char fields[256];

	snprintf(fields, sizeof(fields), "Authorization: Bearer %s\r\n", token);
	return ask(scene, "GET", path, fields, "");
}

/* Leases. */

static void each_download_has_a_lease_of_its_own(void **state)
{
	struct scene *scene = *state;

	scene->engine.at_once = true;
	assert_get(scene, LEASED, 200, "\"AWS_USER_LEASE_ID\":\"lease-1\"");
	assert_get(scene, LEASED, 200, "\"AWS_USER_LEASE_ID\":\"lease-2\"");
	assert_int_equal(scene->engine.n, 2);
	assert_true(scene->engine.acquires[0].holder != scene->engine.acquires[1].holder);
	assert_int_equal(scene->engine.n_revoked, 0);
	assert_int_equal(scene->engine.n_ended, 0);
}

static void looking_does_not_lease(void **state)
{
	struct scene *scene = *state;

	assert_get(scene, DOWNLOAD, 200, "\"GREETING\":\"hello\"");
	assert_get(scene, DOWNLOAD "&include_dynamic_secrets=false", 200, "GREETING");
	assert_get(scene, SECRETS, 200, "\"raw\":\"hello\"");
	assert_get(scene, LEASED "&secrets=GREETING,DOPPLER_CONFIG", 200,
		   "{\"DOPPLER_CONFIG\":\"dev\",\"GREETING\":\"hello\"}");
	assert_get(scene, LEASED "&secrets=GREETING%2CDOPPLER_CONFIG", 200,
		   "{\"DOPPLER_CONFIG\":\"dev\",\"GREETING\":\"hello\"}");
	assert_get(scene, "/v3/configs/config/secret?" CONFIG "&name=AWS_USER_ARN", 404,
		   "looking at one does not lease");
	assert_get(scene,
		   "/v3/configs/config/secrets/names?" CONFIG "&include_dynamic_secrets=true", 200,
		   "\"AWS_USER_ARN\"");
	assert_int_equal(scene->engine.n, 0);
	scene->engine.at_once = true;
	assert_get(scene, SECRETS "&include_dynamic_secrets=true", 200,
		   "\"AWS_USER_ARN\":{\"raw\":");
	assert_int_equal(scene->engine.n, 1);
}

static void only_an_answer_without_leases_has_an_etag(void **state)
{
	struct scene *scene = *state;
	_cleanup_free_ char *heard = scene_get(scene, DOWNLOAD);
	char etag[128], fields[160];

	assert_int_equal(sscanf(strstr(heard, "ETag: ") + 6, "%127[^\r]", etag), 1);
	snprintf(fields, sizeof(fields), "If-None-Match: %s\r\n", etag);
	assert_answer(scene, ask(scene, "GET", DOWNLOAD, fields, ""), 304, "ETag");
	assert_answer(scene, ask(scene, "GET", DOWNLOAD "&format=env", fields, ""), 200,
		      "GREETING=\"hello\"");
	scene->engine.at_once = true;
	int fd = ask(scene, "GET", LEASED, fields, "");
	_cleanup_free_ char *leased = scene_hear(scene, fd);
	assert_heard(leased, 200, "AWS_USER_ARN");
	assert_null(strstr(leased, "ETag"));
	close(fd);
}

static void a_client_that_left_before_its_lease_came_leaves_none(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	assert_int_equal(scene_waiting(scene), 1);
	close(fd);
	scene_run(scene);
	assert_int_equal(scene_waiting(scene), 0);
	assert_int_equal(scene->engine.n_abandoned, 1);
	assert_int_equal(scene->engine.n_ended, 1);
	assert_true(scene->engine.ended[0] == scene->engine.acquires[0].holder);
}

static void a_client_that_left_before_its_answer_was_written_leaves_none(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	close(fd);
	scene_lease(scene);
	scene_run(scene);
	assert_int_equal(scene->engine.n_revoked, 1);
	assert_string_equal(scene->engine.revoked[0], "lease-1");
}

static void a_client_is_told_to_ask_again_within_nine_seconds(void **state)
{
	struct scene *scene = *state;
	int cli = ask(scene, "GET", LEASED, "User-Agent: doppler-go-cli-3.76.0\r\n", "");
	int other = ask(scene, "GET", LEASED "&dynamic_secrets_ttl_sec=60", "", "");

	scene_pass(scene, 8999);
	_cleanup_free_ char *nothing = scene_hear(scene, cli);
	assert_string_equal(nothing, "");
	scene_pass(scene, 1);
	assert_answer(scene, cli, 429, "Retry-After");
	assert_answer(scene, other, 503, "\"success\":false");
	assert_int_equal(scene_waiting(scene), 2); /* they go on */
	assert_int_equal(scene->engine.n_ended, 0);
}

static void who_asks_again_collects_what_was_made_meanwhile(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	scene_pass(scene, 9000);
	assert_answer(scene, fd, 503, "ask again");
	scene_lease(scene);
	assert_get(scene, LEASED, 200, "lease-1");
	assert_int_equal(scene->engine.n, 1);
	/* It is his now. */
	scene_pass(scene, 10 * INT64_C(60000));
	assert_int_equal(scene->engine.n_revoked + scene->engine.n_ended, 0);
}

static void who_asks_again_too_early_waits_for_the_same_lease(void **state)
{
	struct scene *scene = *state;

	for (int i = 0; i < 3; i++) {
		int again = ask(scene, "GET", LEASED, "", "");
		scene_pass(scene, 9000);
		assert_answer(scene, again, 503, "ask again");
	}
	int fd = ask(scene, "GET", LEASED, "", "");
	scene_lease(scene);
	scene_run(scene);
	assert_answer(scene, fd, 200, "lease-1");
	assert_int_equal(scene->engine.n, 1);
}

static void nobody_else_collects_a_parked_lease(void **state)
{
	struct scene *scene = *state;
	char token[128];
	int fd = ask(scene, "GET", LEASED, "", "");

	make_token(scene, "", token);
	scene_pass(scene, 9000);
	assert_answer(scene, fd, 503, "ask again");
	scene_lease(scene);
	/* Not another caller, and not for another TTL. */
	int other = ask_with_token(scene, LEASED, token);
	int longer = ask(scene, "GET", LEASED "&dynamic_secrets_ttl_sec=60", "", "");
	assert_int_equal(scene->engine.n, 3);
	close(other);
	close(longer);
	scene_run(scene);
	assert_get(scene, LEASED, 200, "lease-1");
}

static void a_lease_that_nobody_collects_is_revoked(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	scene_pass(scene, 9000);
	assert_answer(scene, fd, 503, "ask again");
	scene_lease(scene);
	scene_pass(scene, API_PARKED_MS - 1);
	assert_int_equal(scene->engine.n_ended, 0);
	scene_pass(scene, 1);
	assert_int_equal(scene->engine.n_ended, 1);
	assert_true(scene->engine.ended[0] == scene->engine.acquires[0].holder);
	fd = ask(scene, "GET", LEASED, "", "");
	assert_int_equal(scene->engine.n, 2);
	close(fd);
}

static void a_lease_that_has_ended_is_not_collected(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	scene_pass(scene, 9000);
	assert_answer(scene, fd, 503, "ask again");
	scene_lease(scene);
	scene_end_lease(scene, 1);
	fd = ask(scene, "GET", LEASED, "", "");
	assert_int_equal(scene->engine.n, 2);
	close(fd);
}

static void a_failure_is_a_502_that_says_what_to_do(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "GET", LEASED, "", "");

	scene_fail(scene, DSEC_ERROR_CREDENTIALS, "AWS refuses the key of aws-main");
	scene_run(scene);
	assert_answer(scene, fd, 502,
		      "{\"messages\":[\"AWS refuses the key of aws-main\",\"what to do: nothing\"],"
		      "\"success\":false}");
	fd = ask(scene, "GET", LEASED "&dynamic_secrets_ttl_sec=999999", "", "");
	scene_fail(scene, DSEC_ERROR_NOT_CONFIGURED, "a TTL of 277h46m39s is not possible");
	scene_run(scene);
	assert_answer(scene, fd, 400, "is not possible");
}

static void a_loop_of_downloads_is_slowed_down(void **state)
{
	struct scene *scene = *state;

	scene->engine.at_once = true;
	for (int i = 0; i < API_LEASES_A_MINUTE; i++)
		assert_get(scene, LEASED, 200, "AWS_USER_ARN");
	assert_get(scene, LEASED, 429, "Retry-After");
	assert_get(scene, DOWNLOAD, 200, "GREETING");
	scene_pass(scene, 60000 / API_LEASES_A_MINUTE + 1);
	assert_get(scene, LEASED, 200, "AWS_USER_ARN");
}

static void what_cannot_be_is_refused_before_it_leases(void **state)
{
	static const struct {
		const char *path;
		unsigned status;
		const char *part;
	} cases[] = {
		{LEASED "&format=xml", 400,
		 "\"invalid format. Valid formats are json, dotnet-json, env, yaml, docker, "
		 "env-no-quotes\""},
		{LEASED "&name_transformer=x", 400, "invalid name transformer"},
		{LEASED "&dynamic_secrets_ttl_sec=9", 400, "at least 10"},
		{LEASED "&dynamic_secrets_ttl_sec=-1", 400, "at least 10"},
		{LEASED "&dynamic_secrets_ttl_sec=60x", 400, "at least 10"},
		{LEASED "&dynamic_secrets_ttl_sec=99999999999999999999", 400, "at least 10"},
		{DOWNLOAD "&include_dynamic_secrets=yes", 400, "true or false"},
		{"/v3/configs/config/secrets/download", 400, "say which project"},
		{"/v3/configs/config/secrets/download?project=none&config=dev", 404,
		 "\"Could not find requested project 'none'\""},
		{"/v3/configs/config/secrets/download?project=app&config=none", 404,
		 "\"Could not find requested config 'none'\""},
		{"/v3/configs/config/secret?" CONFIG, 400, "name=NAME"},
		{"/v3/configs/config/secret?" CONFIG "&name=NONE", 404, "secret 'NONE'"},
		{"/v3/dsec/credentials/app/dev/NONE", 404, "dynamic secret 'NONE'"},
		{"/v3/dsec/credentials/app/dev", 404, "nothing at this path"},
		{"/v3/dsec/credentials/app/dev/AWS_USER/", 404, "nothing at this path"},
		{"/v3/none", 404, "nothing at this path"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_get(*state, cases[i].path, cases[i].status, cases[i].part);
	assert_int_equal(((struct scene *)*state)->engine.n, 0);
}

/* Issuing and revoking. */

static int ask_to_revoke(struct scene *scene, const char *token)
{
	char fields[256];

	snprintf(fields, sizeof(fields), "%s%s%sContent-Length: %zu\r\n",
		 token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "",
		 strlen(REVOKE));
	return ask(scene, "DELETE", LEASES "/lease", fields, REVOKE);
}

static void only_the_holder_and_an_administrator_end_a_lease(void **state)
{
	struct scene *scene = *state;
	char holder[128], other[128];

	make_token(scene, "", holder);
	make_token(scene, "", other);
	scene->engine.at_once = true;
	assert_answer(scene, ask_with_token(scene, LEASED, holder), 200, "lease-1");
	assert_answer(scene, ask_to_revoke(scene, other), 404, "of yours");
	assert_int_equal(scene->engine.n_revoked, 0);
	assert_answer(scene, ask_to_revoke(scene, holder), 200, "true");
	assert_answer(scene, ask_to_revoke(scene, NULL), 200, "true");
	assert_int_equal(scene->engine.n_revoked, 2);
	/* What has ended is nobody's. */
	scene_end_lease(scene, 1);
	assert_answer(scene, ask_to_revoke(scene, holder), 404, "it has ended");
}

static void a_chunked_body_is_read(void **state)
{
	struct scene *scene = *state;

	scene->engine.at_once = true;
	int fd = ask(scene, "POST", LEASES, "Transfer-Encoding: chunked\r\n",
		     "20\r\n{\"project\":\"app\",\"config\":\"dev\",\r\n"
		     "2e\r\n\"dynamic_secret\":\"AWS_USER\",\"ttl_sec\":60}     \r\n0\r\n\r\n");
	assert_answer(scene, fd, 200, "\"id\":\"lease-1\",\"expires_at\":\"");
	assert_int_equal(scene->engine.acquires[0].ttl_ms, 60000);
}

static void a_body_without_a_frame_is_read(void **state)
{
	struct scene *scene = *state;

	assert_answer(scene, ask(scene, "DELETE", LEASES "/lease", "", REVOKE), 200, "true");
	assert_int_equal(scene->engine.n_revoked, 1);
	/* Byte by byte. */
	char text[1024];
	int fd = scene_connect(scene);
	snprintf(text, sizeof(text), "DELETE %s HTTP/1.1\r\nHost: localhost\r\n\r\n%s",
		 LEASES "/lease", REVOKE);
	for (const char *at = text; *at; at++) {
		const char byte[] = {*at, '\0'};
		scene_say(scene, fd, byte);
	}
	assert_answer(scene, fd, 200, "true");
	assert_int_equal(scene->engine.n_revoked, 2);
}

static void a_body_that_does_not_come_is_not_waited_for(void **state)
{
	struct scene *scene = *state;
	int fd = ask(scene, "DELETE", LEASES "/lease", "", "");
	int half = ask(scene, "DELETE", LEASES "/lease", "", "{\"project\":");

	scene_pass(scene, API_UNFRAMED_MS);
	assert_answer(scene, fd, 400, "the body has to be");
	assert_answer(scene, half, 400, "the body has to be");
	assert_int_equal(scene->engine.n_revoked, 0);
}

/* Tokens. */

static void a_token_opens_its_config_and_no_other(void **state)
{
	struct scene *scene = *state;
	char token[128];

	make_token(scene, "", token);
	assert_answer(scene, ask_with_token(scene, "/v3/configs/config/secrets/download", token),
		      200, "GREETING");
	assert_answer(scene,
		      ask_with_token(scene,
				     "/v3/configs/config/secrets/download?project=app&config=prd",
				     token),
		      403, "This token does not have access to requested config 'prd'");
	assert_answer(scene, ask_with_token(scene, "/v3/dsec/credentials/app/prd/AWS_USER", token),
		      403, "does not have access");
	assert_answer(scene, ask_with_token(scene, "/v3/dsec/leases", token), 403, "only root");
	assert_answer(scene, ask_with_token(scene, "/v3/dsec/tokens", token), 403, "only root");
	assert_answer(scene, ask_with_token(scene, "/metrics", token), 200, "dsec_up 1");
}

static void a_token_comes_in_three_forms(void **state)
{
	struct scene *scene = *state;
	const char *path = "/v3/configs/config/secrets/download";
	char token[128], fields[512], basic[256] = "";

	make_token(scene, "", token);
	snprintf(fields, sizeof(fields), "Authorization: %s\r\n", token);
	assert_answer(scene, ask(scene, "GET", path, fields, ""), 200, "GREETING");
	snprintf(fields, sizeof(fields), "Authorization: bearer   %s \r\n", token);
	assert_answer(scene, ask(scene, "GET", path, fields, ""), 200, "GREETING");
	snprintf(fields, sizeof(fields), "printf %%s: %s | base64 -w0",
		 token);                    /* letters, digits and dots */
	FILE *encoder = popen(fields, "r"); /* NOLINT(cert-env33-c) */
	assert_non_null(fgets(basic, sizeof(basic), encoder));
	pclose(encoder);
	snprintf(fields, sizeof(fields), "Authorization: Basic %s\r\n", basic);
	assert_answer(scene, ask(scene, "GET", path, fields, ""), 200, "GREETING");
	/* One character less, and one more. */
	token[strlen(token) - 1] = '\0';
	snprintf(fields, sizeof(fields), "Authorization: Bearer %s\r\n", token);
	int fd = ask(scene, "GET", path, fields, "");
	scene_pass(scene, 10000);
	assert_answer(scene, fd, 401, "Invalid Auth token");
	fd = ask(scene, "GET", path, "Authorization: Basic !!!!\r\n", "");
	scene_pass(scene, 10000);
	assert_answer(scene, fd, 401, "Invalid Auth token");
}

static void a_token_is_void_when_its_time_is_over_or_it_was_revoked(void **state)
{
	struct scene *scene = *state;
	char brief[128], revoked[128], path[64] = "/v3/dsec/tokens/";

	double_now_at = INT64_C(1700000000000);
	make_token(scene, ",\"ttl_sec\":60", brief);
	scene_pass(scene, 59999);
	assert_answer(scene, ask_with_token(scene, "/v3/me", brief), 200, "service_token");
	scene_pass(scene, 1);
	int fd = ask_with_token(scene, "/v3/me", brief);
	scene_pass(scene, 10000);
	assert_answer(scene, fd, 401, "Invalid Auth token");

	make_token(scene, "", revoked);
	_cleanup_free_ char *me = NULL;
	fd = ask_with_token(scene, "/v3/me", revoked);
	me = scene_hear(scene, fd);
	close(fd);
	assert_int_equal(sscanf(body_of(me), "{\"slug\":\"%16[0-9a-f]", path + strlen(path)), 1);
	int waiting = ask_with_token(scene, LEASED, revoked);
	assert_int_equal(scene_waiting(scene), 1);
	assert_answer(scene, ask(scene, "DELETE", path, "", ""), 200, "true");
	assert_int_equal(scene_waiting(scene), 0);
	_cleanup_free_ char *nothing = scene_hear(scene, waiting);
	assert_string_equal(nothing, "");
	close(waiting);
	fd = ask_with_token(scene, "/v3/me", revoked);
	scene_pass(scene, 10000);
	assert_answer(scene, fd, 401, "Invalid Auth token");
	assert_answer(scene, ask(scene, "DELETE", path, "", ""), 404, "there is no token");
	assert_int_equal(scene->n_token_events[API_TOKEN_CREATED], 2);
	assert_int_equal(scene->n_token_events[API_TOKEN_REVOKED], 1);
	assert_int_equal(scene->n_token_events[API_TOKEN_REFUSED], 2);
}

static void guessing_is_slow_and_knowing_is_not(void **state)
{
	struct scene *scene = *state;
	char token[128];
	int fds[API_REFUSALS_MAX + 1];

	make_token(scene, "", token);
	for (int64_t ms = API_REFUSAL_MS, i = 0; i < 3; i++, ms *= 2) {
		int fd = ask_with_token(scene, "/v3/me", "dp.st.dev.wrong");
		scene_pass(scene, ms - 1);
		_cleanup_free_ char *nothing = scene_hear(scene, fd);
		assert_string_equal(nothing, "");
		assert_answer(scene, ask_with_token(scene, "/v3/me", token), 200, "slug");
		scene_pass(scene, 1);
		assert_answer(scene, fd, 401, "Invalid Auth token");
	}
	for (size_t i = 0; i <= API_REFUSALS_MAX; i++)
		fds[i] = ask_with_token(scene, "/v3/me", "dp.st.dev.wrong");
	assert_answer(scene, fds[API_REFUSALS_MAX], 429, "too many wrong tokens");
	for (size_t i = 0; i < API_REFUSALS_MAX; i++)
		close(fds[i]);
	assert_answer(scene, ask_with_token(scene, "/v3/me", token), 200, "slug");
	/* Nobody is held back for what is long ago. */
	scene_pass(scene, API_REFUSAL_FORGET_MS + 1);
	int fd = ask_with_token(scene, "/v3/me", "dp.st.dev.wrong");
	scene_pass(scene, API_REFUSAL_MS);
	assert_answer(scene, fd, 401, "Invalid Auth token");
}

static void a_tokens_file_has_no_token_in_it(void **state)
{
	struct scene *scene = *state;
	char token[128], path[128], text[1024] = "";

	make_token(scene, "", token);
	snprintf(path, sizeof(path), "%s/tokens.json", scene->folder);
	FILE *file = fopen(path, "re");
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_non_null(strstr(text, "\"sha256\""));
	assert_null(strstr(text, token));
	assert_null(strstr(text, token + strlen("dp.st.dev.")));
}

/* Limits. */

static void a_thousand_silent_clients_keep_nobody_out(void **state)
{
	struct scene *scene = *state;
	int fds[1000];

	for (size_t i = 0; i < 1000; i++)
		fds[i] = scene_connect(scene);
	assert_get(scene, DOWNLOAD, 200, "GREETING");
	for (size_t i = 0; i < 1000; i++) {
		char byte;
		/* The oldest have gone. */
		bool closed = recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
		assert_int_equal(closed, i < 1000 + 1 - API_SILENT_PEER_MAX);
	}
	scene_pass(scene, API_SILENT_MS);
	for (size_t i = 0; i < 1000; i++) {
		char byte;
		assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), 0);
		close(fds[i]);
	}
}

static void a_client_that_speaks_slowly_is_cut_off(void **state)
{
	struct scene *scene = *state;
	int fd = scene_connect(scene);
	char byte;

	for (int i = 0; i < 10; i++) {
		scene_say(scene, fd, i == 0 ? "GET / HTTP/1.1\r\n" : "A: b\r\n");
		scene_pass(scene, API_ASKING_MS / 10 - 1);
	}
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	scene_pass(scene, 10);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void requests_beyond_the_limit_are_refused_not_kept(void **state)
{
	struct scene *scene = *state;
	int fds[API_CONNECTIONS_PEER_MAX];

	for (size_t i = 0; i < API_CONNECTIONS_PEER_MAX; i++)
		fds[i] = ask(scene, "POST", LEASES, "Content-Length: 10\r\n", "{");
	assert_get(scene, DOWNLOAD, 503, "\"success\":false");
	close(fds[0]);
	scene_run(scene);
	assert_get(scene, DOWNLOAD, 200, "GREETING");
	for (size_t i = 1; i < API_CONNECTIONS_PEER_MAX; i++)
		close(fds[i]);
}

/* The same for all together: no user reaches its own limit. */

#define SHARE ((size_t)100) /* a user */

static void need_other_users(void)
{
	if (geteuid() != 0)
		skip(); /* only root can come as somebody else */
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void close_all(struct scene *scene, const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	scene_run(scene);
}

static void silent_clients_of_several_users_are_not_kept_without_end(void **state)
{
	struct scene *scene = *state;
	int fds[3 * SHARE];

	need_other_users();
	for (size_t i = 0; i < 3 * SHARE; i++) {
		scene->uid = (uid_t)(1 + i / SHARE);
		fds[i] = scene_connect(scene);
	}
	scene->uid = 0;
	for (size_t i = 0; i < 3 * SHARE; i++)
		assert_int_equal(is_closed(fds[i]), i < 3 * SHARE - API_SILENT_MAX);
	assert_get(scene, DOWNLOAD, 200, "GREETING");
	close_all(scene, fds, 3 * SHARE);
}

static void requests_of_several_users_beyond_the_limit_are_refused(void **state)
{
	struct scene *scene = *state;
	int fds[API_CONNECTIONS_MAX];

	need_other_users();
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		scene->uid = (uid_t)(1 + i / SHARE);
		fds[i] = ask(scene, "POST", LEASES, "Content-Length: 10\r\n", "{");
	}
	scene->uid = 0;
	assert_get(scene, DOWNLOAD, 503, "too many requests are under way");
	close(fds[0]);
	scene_run(scene);
	assert_get(scene, DOWNLOAD, 200, "GREETING");
	close_all(scene, fds + 1, API_CONNECTIONS_MAX - 1);
}

static void a_client_that_does_not_take_its_answer_is_cut_off(void **state)
{
	static char configuration[2 * 1024 * 1024];
	struct scene *scene = *state;
	char value[60001];
	size_t n;

	/* More than a socket holds. */
	scene_free(scene);
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	n = (size_t)sprintf(configuration,
			    "{\"integrations\":{},\"projects\":{\"app\":{\"dev\":{\"secrets\":{");
	for (int i = 0; i < 12; i++)
		n += (size_t)sprintf(configuration + n, "%s\"K%d\":\"%s\"", i ? "," : "", i, value);
	sprintf(configuration + n, "}}}}}");
	*state = scene = scene_new(configuration);

	int fd = ask(scene, "GET", DOWNLOAD, "", "");
	scene_pass(scene, API_ANSWERING_MS - 1);
	int other = ask(scene, "GET", DOWNLOAD, "", "");
	scene_pass(scene, 1);
	_cleanup_free_ char *heard = scene_hear(scene, fd);
	assert_heard(heard, 200, "xxx");
	assert_true(is_closed(fd));
	assert_null(strstr(heard, "K9"));
	close(fd);
	/* One that came later still has its time. */
	assert_false(recv(other, value, 1, MSG_PEEK | MSG_DONTWAIT) <= 0);
	close(other);
	scene_run(scene);
}

static int64_t refused_after(struct scene *scene)
{
	int fd = ask_with_token(scene, "/v3/me", "dp.st.dev.wrong");
	int64_t begin = double_now_at;
	char byte;

	while (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		scene_pass(scene, API_REFUSAL_MS);
	close(fd);
	scene_run(scene);
	return double_now_at - begin;
}

static void no_more_visitors_are_remembered_than_the_limit_says(void **state)
{
	struct scene *scene = *state;

	need_other_users();
	for (uid_t uid = 1; uid <= API_VISITORS_MAX + 1; uid++) {
		scene->uid = uid;
		close(ask_with_token(scene, "/v3/me", "dp.st.dev.wrong"));
		scene_run(scene);
	}
	/* Who was here last is still known for his wrong token, who was first is not. */
	assert_int_equal(refused_after(scene), 2 * API_REFUSAL_MS);
	scene->uid = 3;
	assert_int_equal(refused_after(scene), 2 * API_REFUSAL_MS);
	scene->uid = 1;
	assert_int_equal(refused_after(scene), API_REFUSAL_MS);
	scene->uid = 0;
}

static void who_is_refused_again_and_again_does_not_fill_the_log(void **state)
{
	struct scene *scene = *state;

	need_other_users();
	scene->uid = 1;
	for (unsigned i = 0; i < 3 * API_REFUSALS_TOLD_A_MINUTE; i++)
		assert_get(scene, DOWNLOAD, 403, "may not read");
	assert_int_equal(scene->n_token_events[API_REFUSED], API_REFUSALS_TOLD_A_MINUTE);
	scene->uid = 2;
	assert_get(scene, "/v3/dsec/leases", 403, "only root");
	assert_int_equal(scene->n_token_events[API_REFUSED], API_REFUSALS_TOLD_A_MINUTE + 1);
	scene->uid = 1;
	scene_pass(scene, 60000);
	assert_get(scene, DOWNLOAD, 403, "may not read");
	assert_int_equal(scene->n_token_events[API_REFUSED], API_REFUSALS_TOLD_A_MINUTE + 2);
	scene->uid = 0;
}

static void a_head_or_a_body_that_is_too_long_is_refused(void **state)
{
	struct scene *scene = *state;
	char *long_field = alloc_zeroed(1, API_CONNECTION_MEMORY + 100);
	char *long_body = alloc_zeroed(1, API_BODY_SIZE_MAX + 2);
	char length[64];
	int fd = scene_connect(scene);

	memset(long_field, 'a', API_CONNECTION_MEMORY + 99);
	scene_say(scene, fd, "GET /v3/me HTTP/1.1\r\nHost: localhost\r\nX: ");
	scene_say(scene, fd, long_field);
	scene_say(scene, fd, "\r\n\r\n");
	assert_answer(scene, fd, 431, "HTTP");
	memset(long_body, ' ', API_BODY_SIZE_MAX + 1);
	snprintf(length, sizeof(length), "Content-Length: %u\r\n", API_BODY_SIZE_MAX + 1);
	assert_answer(scene, ask(scene, "POST", LEASES, length, long_body), 413, "at most 65536");
	free(long_field);
	free(long_body);
}

/* Events. */

static int watch(struct scene *scene, const char *token)
{
	int fd = token ? ask_with_token(scene, WATCH, token) : ask(scene, "GET", WATCH, "", "");
	_cleanup_free_ char *heard = scene_hear(scene, fd);

	assert_heard(heard, 200, "event: message\ndata: {\"type\":\"connected\"}\n\n");
	assert_non_null(strstr(heard, "text/event-stream"));
	return fd;
}

static void assert_event(struct scene *scene, int fd, const char *type)
{
	_cleanup_free_ char *heard = scene_hear(scene, fd);

	if (type ? !strstr(heard, type) : *heard != '\0')
		fail_msg("not %s: %s", type ? type : "nothing", heard);
}

static void tell_lease(struct scene *scene, enum lease_event event, const char *id)
{
	struct lease lease = {
		.slot = {.project = "app",
			 .config = "dev",
			 .secret = "AWS_USER",
			 .ttl_ms = 1800000},
		.rotate_at = double_now_at + 900000,
	};

	snprintf(lease.id, sizeof(lease.id), "%s", id);

	struct lease *made = lease_new(&lease);
	api_lease(scene->api, event, made);
	lease_unref(made);
	scene_run(scene);
}

static void a_watcher_hears_that_the_files_have_another_lease(void **state)
{
	struct scene *scene = *state;
	int fd = watch(scene, NULL);

	tell_lease(scene, LEASE_ACTIVE, "a");
	assert_event(scene, fd, NULL); /* the first replaces nothing */
	tell_lease(scene, LEASE_ACTIVE, "a");
	assert_event(scene, fd, NULL); /* it was renewed */
	tell_lease(scene, LEASE_ACTIVE, "b");
	assert_event(scene, fd, "secrets.update");
	tell_lease(scene, LEASE_ENDED, "a");
	assert_event(scene, fd, NULL); /* that is known */
	tell_lease(scene, LEASE_ENDED, "b");
	assert_event(scene, fd, "secrets.update");
	close(fd);
}

static void a_watcher_hears_when_its_own_lease_is_soon_over(void **state)
{
	struct scene *scene = *state;
	char token[128], other[128];

	make_token(scene, "", token);
	make_token(scene, "", other);
	int fd = watch(scene, token), stranger = watch(scene, other);
	scene->engine.at_once = true;
	assert_answer(scene, ask_with_token(scene, LEASED "&dynamic_secrets_ttl_sec=20", token),
		      200, "lease-1");
	tell_lease(scene, LEASE_ACTIVE, "a");
	tell_lease(scene, LEASE_ACTIVE, "b");
	assert_event(scene, fd, NULL); /* it does not have what the files have */
	assert_event(scene, stranger, "secrets.update");
	scene_pass(scene, 10000 - 1);
	assert_event(scene, fd, NULL);
	scene_pass(scene, 1);
	assert_event(scene, fd, "secrets.update");
	assert_event(scene, stranger, NULL);
	/* It takes another one, and does not care for the old one's end. */
	assert_answer(scene, ask_with_token(scene, LEASED "&dynamic_secrets_ttl_sec=600", token),
		      200, "lease-2");
	scene_end_lease(scene, 1);
	scene_run(scene);
	assert_event(scene, fd, NULL);
	scene_end_lease(scene, 2);
	scene_run(scene);
	assert_event(scene, fd, "secrets.update");
	close(fd);
	close(stranger);
}

static void a_watcher_hears_signs_of_life_and_of_other_statics(void **state)
{
	struct scene *scene = *state;
	int fd = watch(scene, NULL);

	scene_pass(scene, API_PING_MS);
	assert_event(scene, fd, "ping");
	api_reload(scene->api, scene->catalog);
	scene_run(scene);
	assert_event(scene, fd, NULL);

	scene_reload(scene, "hello", "howdy");
	assert_event(scene, fd, "secrets.update");
	close(fd);
	scene_run(scene);
}

static void watchers_beyond_the_limit_are_refused(void **state)
{
	struct scene *scene = *state;
	int fds[API_WATCHERS_ASKER_MAX];

	for (size_t i = 0; i < API_WATCHERS_ASKER_MAX; i++)
		fds[i] = watch(scene, NULL);
	assert_get(scene, WATCH, 503, "too many are watching");
	close(fds[0]);
	scene_run(scene);
	fds[0] = watch(scene, NULL);
	for (size_t i = 0; i < API_WATCHERS_ASKER_MAX; i++)
		close(fds[i]);
}

static void watchers_of_several_tokens_beyond_the_limit_are_refused(void **state)
{
	struct scene *scene = *state;
	int fds[API_WATCHERS_MAX];
	char token[128];

	for (size_t i = 0; i < API_WATCHERS_MAX; i++) {
		if (i % API_WATCHERS_ASKER_MAX == 0)
			make_token(scene, "", token);
		fds[i] = watch(scene, token);
	}
	assert_get(scene, WATCH, 503, "too many are watching");
	close(fds[0]);
	scene_run(scene);
	fds[0] = watch(scene, NULL);
	close_all(scene, fds, API_WATCHERS_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_download_has_a_lease_of_its_own),
		TEST(looking_does_not_lease),
		TEST(only_an_answer_without_leases_has_an_etag),
		TEST(a_client_that_left_before_its_lease_came_leaves_none),
		TEST(a_client_that_left_before_its_answer_was_written_leaves_none),
		TEST(a_client_is_told_to_ask_again_within_nine_seconds),
		TEST(who_asks_again_collects_what_was_made_meanwhile),
		TEST(who_asks_again_too_early_waits_for_the_same_lease),
		TEST(nobody_else_collects_a_parked_lease),
		TEST(a_lease_that_nobody_collects_is_revoked),
		TEST(a_lease_that_has_ended_is_not_collected),
		TEST(a_failure_is_a_502_that_says_what_to_do),
		TEST(a_loop_of_downloads_is_slowed_down),
		TEST(what_cannot_be_is_refused_before_it_leases),
		TEST(only_the_holder_and_an_administrator_end_a_lease),
		TEST(a_chunked_body_is_read),
		TEST(a_body_without_a_frame_is_read),
		TEST(a_body_that_does_not_come_is_not_waited_for),
		TEST(a_token_opens_its_config_and_no_other),
		TEST(a_token_comes_in_three_forms),
		TEST(a_token_is_void_when_its_time_is_over_or_it_was_revoked),
		TEST(guessing_is_slow_and_knowing_is_not),
		TEST(a_tokens_file_has_no_token_in_it),
		TEST(a_thousand_silent_clients_keep_nobody_out),
		TEST(a_client_that_speaks_slowly_is_cut_off),
		TEST(requests_beyond_the_limit_are_refused_not_kept),
		TEST(silent_clients_of_several_users_are_not_kept_without_end),
		TEST(requests_of_several_users_beyond_the_limit_are_refused),
		TEST(a_client_that_does_not_take_its_answer_is_cut_off),
		TEST(no_more_visitors_are_remembered_than_the_limit_says),
		TEST(who_is_refused_again_and_again_does_not_fill_the_log),
		TEST(a_head_or_a_body_that_is_too_long_is_refused),
		TEST(a_watcher_hears_that_the_files_have_another_lease),
		TEST(a_watcher_hears_when_its_own_lease_is_soon_over),
		TEST(a_watcher_hears_signs_of_life_and_of_other_statics),
		TEST(watchers_beyond_the_limit_are_refused),
		TEST(watchers_of_several_tokens_beyond_the_limit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
