#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/identity.h"
#include "lease/sweep.h"
#include "tests/engine/fixture.h"

struct swept {
	struct fixture *fixture;
	struct catalog *catalog;
	unsigned n[SWEEP_RETRYING + 1];
	size_t removed, failed;
	bool done;
	struct dsec_error err, list_err;
	char reason[160];
};

static int setup(void **state)
{
	struct swept *swept = calloc(1, sizeof(*swept));

	swept->fixture = fixture_new(fixture_plain);
	swept->catalog = fixture_catalog(fixture_plain);
	swept->fixture->engine = engine_free(swept->fixture->engine);
	cloud_forget_callers(&swept->fixture->cloud);
	*state = swept;
	return 0;
}

static int teardown(void **state)
{
	struct swept *swept = *state;

	catalog_unref(swept->catalog);
	fixture_free(swept->fixture);
	free(swept);
	return 0;
}

static void report(void *arg, enum sweep_event event, const struct provider_user *user,
		   const char *reason, const struct dsec_error *err)
{
	struct swept *swept = arg;

	swept->n[event]++;
	if (reason)
		snprintf(swept->reason, sizeof(swept->reason), "%s", reason);
	if (err)
		swept->err = *err;
}

static void done(void *arg, size_t removed, size_t failed, const struct dsec_error *err)
{
	struct swept *swept = arg;

	assert_false(swept->done);
	swept->done = true;
	swept->removed = removed;
	swept->failed = failed;
	if (err)
		swept->list_err = *err;
}

static void sweep(struct swept *swept, bool dry_run)
{
	struct world *world = &swept->fixture->world;
	int64_t until_at = world->now_at + 60 * MINUTE_MS;
	struct sweep *sweep;
	struct dsec_error err;

	assert_int_equal(sweep_start(&sweep, &world->clock, &swept->fixture->cloud.provider,
				     &swept->catalog->integrations[0], dry_run, report, done, swept,
				     &err),
			 0);
	while (!swept->done && world->now_at < until_at) {
		int64_t next = sweep_tick(sweep);

		if (!swept->done)
			world_step(world, next < until_at ? next : until_at);
	}
	sweep_free(sweep);
	assert_true(swept->done);
}

static struct cloud_user *make(struct swept *swept, const char *daemon, char letter,
			       int64_t life_ms)
{
	char path[IAM_PATH_MAX], name[IAM_USER_NAME_MAX] = IDENTITY_USER_PREFIX;
	size_t prefix = strlen(name);

	memset(name + prefix, letter, IDENTITY_SUFFIX_LENGTH);
	name[prefix + IDENTITY_SUFFIX_LENGTH] = '\0';
	identity_user_path(path, "/doppler/", daemon,
			   world_cloud_ms(&swept->fixture->world) + life_ms);

	struct cloud_user *user = cloud_make_user(&swept->fixture->cloud, name, path);

	cloud_put(&swept->fixture->cloud, user, ATTACHMENT_ACCESS_KEY, "AKIA1");
	cloud_put(&swept->fixture->cloud, user, ATTACHMENT_INLINE_POLICY, "policy");
	return user;
}

static void expired_users_of_any_daemon_are_removed(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	make(swept, "fedcba9876543210", 'b', -60 * MINUTE_MS);
	cloud_put(&swept->fixture->cloud, make(swept, "fedcba9876543210", 'c', -60 * MINUTE_MS),
		  ATTACHMENT_MFA_DEVICE, "arn:mfa");
	swept->fixture->cloud.page = 1;
	sweep(swept, false);
	assert_int_equal(swept->removed, 3);
	assert_int_equal(swept->failed, 0);
	assert_int_equal(swept->fixture->cloud.n_users, 0);
}

static void living_users_and_the_margin_are_kept(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', 10 * MINUTE_MS);
	make(swept, FIXTURE_DAEMON, 'b', -(SWEEP_MARGIN_MS - MINUTE_MS));
	swept->fixture->world.local_ms += 600 * MINUTE_MS; /* it is AWS's clock that counts */
	sweep(swept, false);
	assert_int_equal(swept->n[SWEEP_KEPT], 2);
	assert_int_equal(swept->fixture->cloud.n_users, 2);
}

static void dry_run_finds_and_touches_nothing(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	sweep(swept, true);
	assert_int_equal(swept->n[SWEEP_FOUND], 1);
	assert_int_equal(swept->removed, 0);
	assert_int_equal(swept->fixture->cloud.n_calls[PROVIDER_GET_USER], 0);
	assert_int_equal(swept->fixture->cloud.n_users, 1);
}

static void what_is_not_of_dsecs_form_is_left_alone(void **state)
{
	struct swept *swept = *state;
	struct cloud *cloud = &swept->fixture->cloud;

	cloud_make_user(cloud, "alice", "/doppler/" FIXTURE_DAEMON "/20200101T000000Z/");
	cloud_make_user(cloud, "Doppler-Dynamic-aaaaaaaaaaaaa", "/doppler/team/");
	cloud_make_user(cloud, "Doppler-Dynamic-bbbbbbbbbbbbb", "/doppler/");
	sweep(swept, false);
	assert_int_equal(swept->n[SWEEP_KEPT], 3);
	assert_int_equal(cloud->n_users, 3);
}

static void user_that_moved_since_the_list_is_left_alone(void **state)
{
	struct swept *swept = *state;
	struct cloud_user *user = make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	struct world *world = &swept->fixture->world;
	struct sweep *sweep;
	struct dsec_error err;

	assert_int_equal(sweep_start(&sweep, &world->clock, &swept->fixture->cloud.provider,
				     &swept->catalog->integrations[0], false, report, done, swept,
				     &err),
			 0);
	while (swept->n[SWEEP_FOUND] == 0) {
		sweep_tick(sweep);
		world_step(world, world->now_at + SECOND_MS);
	}
	free(user->path);
	user->path = strdup("/somewhere/else/");
	while (!swept->done) {
		sweep_tick(sweep);
		world_step(world, world->now_at + SECOND_MS);
	}
	sweep_free(sweep);
	assert_int_equal(swept->fixture->cloud.n_users, 1);
	assert_int_equal(swept->removed, 0);
	assert_non_null(strstr(swept->reason, "path has changed"));
}

static void user_that_cannot_be_removed_is_told_and_the_sweep_ends(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	swept->fixture->bad_op = PROVIDER_DELETE_USER;
	swept->fixture->n_bad = 1000000;
	swept->fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	sweep(swept, false);
	assert_int_equal(swept->failed, 1);
	assert_int_equal(swept->n[SWEEP_FAILED], 1);
	assert_int_equal(swept->err.kind, DSEC_ERROR_DENIED);
}

static void lists_fail(struct swept *swept, unsigned times, enum dsec_error_kind kind)
{
	swept->fixture->bad_op = PROVIDER_LIST_USERS;
	swept->fixture->n_bad = times;
	swept->fixture->bad = (struct cloud_fate){.latency_ms = 20, .fails = true, .kind = kind};
}

static void list_that_fails_is_told(void **state)
{
	struct swept *swept = *state;

	lists_fail(swept, 1000000, DSEC_ERROR_CREDENTIALS);
	sweep(swept, false);
	assert_int_equal(swept->list_err.kind, DSEC_ERROR_CREDENTIALS);
}

static void server_that_is_not_there_is_told_at_once_and_given_up_soon(void **state)
{
	struct swept *swept = *state;
	struct world *world = &swept->fixture->world;
	int64_t begun_at = world->now_at;

	lists_fail(swept, 1000000, DSEC_ERROR_UNREACHABLE);
	sweep(swept, false);
	assert_int_equal(swept->n[SWEEP_RETRYING], 3);
	assert_int_equal(swept->list_err.kind, DSEC_ERROR_UNREACHABLE);
	assert_true(world->now_at - begun_at < 5 * SECOND_MS);
}

static void server_that_is_away_for_a_moment_is_asked_again(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	lists_fail(swept, 3, DSEC_ERROR_UNREACHABLE);
	sweep(swept, false);
	assert_int_equal(swept->removed, 1);
	assert_int_equal(swept->list_err.kind, 0);
}

static void user_that_takes_long_is_told(void **state)
{
	struct swept *swept = *state;

	make(swept, FIXTURE_DAEMON, 'a', -60 * MINUTE_MS);
	swept->fixture->bad_op = PROVIDER_DELETE_USER;
	swept->fixture->n_bad = 6;
	swept->fixture->bad = (struct cloud_fate){
		.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_BUSY, .ambiguous = true};
	sweep(swept, false);
	assert_int_equal(swept->n[SWEEP_RETRYING], 1);
	assert_int_equal(swept->removed, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(expired_users_of_any_daemon_are_removed),
		TEST(living_users_and_the_margin_are_kept),
		TEST(dry_run_finds_and_touches_nothing),
		TEST(what_is_not_of_dsecs_form_is_left_alone),
		TEST(user_that_moved_since_the_list_is_left_alone),
		TEST(user_that_cannot_be_removed_is_told_and_the_sweep_ends),
		TEST(list_that_fails_is_told),
		TEST(server_that_is_not_there_is_told_at_once_and_given_up_soon),
		TEST(server_that_is_away_for_a_moment_is_asked_again),
		TEST(user_that_takes_long_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
