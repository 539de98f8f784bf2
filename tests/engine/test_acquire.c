#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/fixture.h"

#define INTEGRATIONS                                                                               \
	"\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "       \
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}}"
#define POLICY                                                                                     \
	"\"policy\": {\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", "       \
	"\"Action\": \"ec2:*\", \"Resource\": \"*\"}]}"

static const char limits[] =
	"{" INTEGRATIONS ", \"projects\": {\"a\": {"
	"\"few\": {\"dynamic_secrets\": {\"S\": {\"integration\": \"aws\", " POLICY
	", \"scope\": \"user\", \"max_leases\": 3}}}, "
	"\"slow\": {\"dynamic_secrets\": {\"S\": {\"integration\": \"aws\", " POLICY
	", \"scope\": \"user\", \"max_rate\": \"2/m\"}}}, "
	"\"two\": {\"dynamic_secrets\": {\"A\": {\"integration\": \"aws\", " POLICY
	", \"scope\": \"user\"}, \"B\": {\"integration\": \"aws\", " POLICY "}}}}}}";

static int setup(void **state)
{
	*state = fixture_new(limits);
	return 0;
}

static void users_are_never_more_than_max_leases(void **state)
{
	struct fixture *fixture = *state;
	struct reader readers[5];

	for (uid_t uid = 0; uid < 5; uid++)
		fixture_read_as(fixture, &readers[uid], "few", 1, 0, uid);
	assert_true(readers[4].answered);
	assert_int_equal(readers[4].err.kind, DSEC_ERROR_QUOTA);
	assert_non_null(strstr(readers[4].err.message, "max_leases"));
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 3);

	/* One that is being removed counts until it is gone. */
	struct dsec_error err;

	fixture->bad_op = PROVIDER_DELETE_USER;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){
		.latency_ms = 3000, .fails = true, .kind = DSEC_ERROR_BUSY, .ambiguous = true};
	assert_int_equal(engine_revoke(fixture->engine, readers[0].lease->id, &err), 0);
	fixture_run(fixture, SECOND_MS);
	fixture_read_as(fixture, &readers[3], "few", 1, 0, 3);
	assert_int_equal(readers[3].err.kind, DSEC_ERROR_QUOTA);
	fixture_run(fixture, 10 * SECOND_MS);
	fixture_read_as(fixture, &readers[3], "few", 1, 0, 3);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_non_null(readers[3].lease);
	for (size_t i = 0; i < 4; i++)
		reader_finish(&readers[i]);
}

static void readers_over_max_rate_wait_for_the_next_token_or_their_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct reader readers[5];

	for (uid_t uid = 0; uid < 5; uid++)
		fixture_read_as(fixture, &readers[uid], "slow", 1, 0, uid);
	fixture_run(fixture, 31 * SECOND_MS);
	assert_non_null(readers[0].lease);
	assert_non_null(readers[1].lease);
	assert_null(readers[3].lease);
	assert_int_equal(readers[3].err.kind, DSEC_ERROR_THROTTLED);
	assert_non_null(strstr(readers[3].err.message, "max_rate"));
	fixture_run(fixture, MINUTE_MS);
	assert_in_range(fixture->cloud.n_users, 2, 3); /* nobody waits any more: no more are made */
	for (size_t i = 0; i < 5; i++)
		reader_finish(&readers[i]);
}

static void each_user_has_a_lease_of_its_own_where_the_scope_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct reader one, other, again;

	fixture_read_as(fixture, &one, "few", 1, 0, 1);
	fixture_read_as(fixture, &other, "few", 1, 0, 2);
	fixture_read_as(fixture, &again, "few", 1, 0, 1);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_ptr_equal(one.lease, again.lease);
	assert_string_not_equal(one.lease->user, other.lease->user);
	assert_int_equal(one.lease->slot.holder, 2);
	reader_finish(&one);
	reader_finish(&other);
	reader_finish(&again);
}

static void a_whole_config_is_answered_when_all_its_secrets_are_there(void **state)
{
	struct fixture *fixture = *state;
	struct reader both, none;

	fixture_read_as(fixture, &both, "two", 3, 0, 1);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(both.n, 2);
	assert_string_equal(both.lease->slot.secret, "A");
	reader_finish(&both);
	fixture_read_as(fixture, &none, "two", 0, 0, 1);
	assert_true(none.answered);
	assert_int_equal(none.n, 0);
	assert_int_equal(none.err.message[0], '\0');
}

static bool is_second_user(const struct provider_call *call)
{
	static unsigned n;

	return n++ > 0;
}

static void what_ended_while_the_rest_was_made_is_made_again(void **state)
{
	struct fixture *fixture = *state;
	struct reader both;
	struct dsec_error err;

	/* One of the two takes 20 seconds; meanwhile the other is revoked. */
	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1;
	fixture->is_bad = is_second_user;
	fixture->bad = (struct cloud_fate){.latency_ms = 9000};
	fixture_read_as(fixture, &both, "two", 3, 0, 1);
	fixture_run(fixture, 5 * SECOND_MS);
	assert_false(both.answered);
	assert_int_equal(fixture->n_active, 1);

	char *json = engine_leases_json(fixture->engine);
	char *id = strstr(json, "\"state\": \"active\"") - 60;

	id = strstr(id, "\"id\": \"") + 7;
	id[36] = '\0';
	assert_int_equal(engine_revoke(fixture->engine, id, &err), 0);
	free(json);
	fixture_run(fixture, 20 * SECOND_MS);
	assert_int_equal(both.n, 2);
	assert_true(both.lease->expire_at > fixture->world.now_at);
	assert_int_equal(fixture->cloud.n_users, 2);
	reader_finish(&both);
}

static void what_is_not_configured_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture_read_as(fixture, &reader, "nowhere", 1, 0, 1);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NOT_CONFIGURED);
	fixture_read_as(fixture, &reader, "two", 4, 0, 1);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NOT_CONFIGURED);
	fixture_read_as(fixture, &reader, "two", 1, 13 * HOUR_MS, 1);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NOT_CONFIGURED);
	assert_non_null(strstr(reader.err.message, "12h"));
	fixture_read_as(fixture, &reader, "two", 1, 9 * SECOND_MS, 1);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NOT_CONFIGURED);
	assert_int_equal(fixture->n_failed, 4);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 0);
}

static void another_ttl_is_another_lease(void **state)
{
	struct fixture *fixture = *state;
	struct reader plain, longer;

	fixture_read_as(fixture, &plain, "few", 1, 0, 1);
	fixture_read_as(fixture, &longer, "few", 1, 3 * HOUR_MS, 1);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(plain.lease->expires_ms - plain.lease->start_ms, 30 * MINUTE_MS);
	assert_int_equal(longer.lease->expires_ms - longer.lease->start_ms, 180 * MINUTE_MS);
	reader_finish(&plain);
	reader_finish(&longer);
}

static void one_reader_too_many_is_refused_not_kept(void **state)
{
	struct fixture *fixture = *state;
	static struct reader readers[ENGINE_WAITERS_MAX + 1];

	for (size_t i = 0; i <= ENGINE_WAITERS_MAX; i++)
		fixture_read_as(fixture, &readers[i], "two", 2, 0, 1);
	assert_true(readers[ENGINE_WAITERS_MAX].answered);
	assert_int_equal(readers[ENGINE_WAITERS_MAX].err.kind, DSEC_ERROR_THROTTLED);
	fixture_run(fixture, 10 * SECOND_MS);
	for (size_t i = 0; i < ENGINE_WAITERS_MAX; i++) {
		assert_non_null(readers[i].lease);
		reader_finish(&readers[i]);
	}
	assert_int_equal(fixture->cloud.n_users, 1);
}

static void aws_quota_is_not_our_limit_but_the_same_errno(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture->cloud.quota = 0;
	fixture_read_as(fixture, &reader, "few", 1, 0, 1);
	fixture_run(fixture, SECOND_MS);
	assert_int_equal(reader.err.kind, DSEC_ERROR_QUOTA);
	assert_string_equal(reader.err.code, "LimitExceeded");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(users_are_never_more_than_max_leases),
		TEST(readers_over_max_rate_wait_for_the_next_token_or_their_deadline),
		TEST(each_user_has_a_lease_of_its_own_where_the_scope_says_so),
		TEST(a_whole_config_is_answered_when_all_its_secrets_are_there),
		TEST(what_ended_while_the_rest_was_made_is_made_again),
		TEST(what_is_not_configured_says_so),
		TEST(another_ttl_is_another_lease),
		TEST(one_reader_too_many_is_refused_not_kept),
		TEST(aws_quota_is_not_our_limit_but_the_same_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
