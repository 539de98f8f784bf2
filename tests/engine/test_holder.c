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
#define SECRET                                                                                     \
	"{\"integration\": \"aws\", \"policy\": {\"Version\": \"2012-10-17\", \"Statement\": ["    \
	"{\"Effect\": \"Allow\", \"Action\": \"ec2:*\", \"Resource\": \"*\"}]}"

static const char configuration[] =
	"{" INTEGRATIONS ", \"projects\": {\"a\": {"
	"\"one\": {\"dynamic_secrets\": {\"S\": " SECRET "}}}, "
	"\"few\": {\"dynamic_secrets\": {\"S\": " SECRET ", \"max_leases\": 2}}}, "
	"\"two\": {\"dynamic_secrets\": {\"A\": " SECRET "}, \"B\": " SECRET
	", \"max_leases\": 1}}}}}}";

static int setup(void **state)
{
	*state = fixture_new(configuration);
	return 0;
}

static void an_exclusive_lease_is_given_to_nobody_else(void **state)
{
	struct fixture *fixture = *state;
	struct reader one, two, shared;

	fixture_read_alone(fixture, &one, "one", 1, 1);
	fixture_read_alone(fixture, &two, "one", 1, 2);
	fixture_run(fixture, 10 * SECOND_MS);
	fixture_read_as(fixture, &shared, "one", 1, 0, 0);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_string_not_equal(one.lease->id, two.lease->id);
	assert_string_not_equal(one.lease->id, shared.lease->id);
	assert_string_not_equal(two.lease->id, shared.lease->id);
	assert_int_equal(fixture->cloud.n_users, 3);
	reader_finish(&one);
	reader_finish(&two);
	reader_finish(&shared);
}

static void a_holders_end_ends_its_leases_and_no_others(void **state)
{
	struct fixture *fixture = *state;
	struct reader one, two;

	fixture_read_alone(fixture, &one, "one", 1, 1);
	fixture_read_alone(fixture, &two, "one", 1, 2);
	fixture_run(fixture, 10 * SECOND_MS);
	engine_end_holder(fixture->engine, one.lease->slot.holder, "closed");
	assert_int_equal(fixture->n_ended, 1);
	assert_string_equal(fixture->last_reason, "closed");
	fixture_run(fixture, SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 1);
	assert_string_equal(fixture_only_user(fixture)->name, two.lease->user);
	reader_finish(&one);
	reader_finish(&two);
}

/* Of several secrets and TTLs, and whatever they are doing. */
static void all_that_a_holder_has_ends_with_it(void **state)
{
	const struct lease_caller caller = {.pid = 1};
	struct fixture *fixture = *state;
	struct reader readers[8], made;

	for (uint64_t i = 0; i < 8; i++)
		fixture_read_in_scope(fixture, &readers[i], i % 2 ? "one" : "two", SCOPE_SHARED,
				      lease_holder_of(HOLDER_PROCESS, 1 + i / 4), &caller);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 4);
	fixture_read_as(fixture, &made, "few", 1, 0, 0);
	engine_end_holder(fixture->engine, lease_holder_of(HOLDER_PROCESS, 1), "ended");
	assert_int_equal(fixture->n_ended, 2);
	engine_end_holder(fixture->engine, lease_holder_of(HOLDER_PROCESS, 1), "ended");
	engine_end_holder(fixture->engine, lease_holder_of(HOLDER_PROCESS, 3), "ended");
	assert_int_equal(fixture->n_ended, 2);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 3);
	engine_end_holder(fixture->engine, lease_holder_of(HOLDER_PROCESS, 2), "ended");
	fixture_run(fixture, 10 * SECOND_MS);
	assert_string_equal(fixture_only_user(fixture)->name, made.lease->user);
	for (size_t i = 0; i < 8; i++)
		reader_finish(&readers[i]);
	reader_finish(&made);
}

static void what_is_made_for_one_who_has_left_is_undone(void **state)
{
	struct fixture *fixture = *state;

	/* At each moment of the making. */
	for (int ms = 0; ms < 1000; ms += 20) {
		struct reader reader;

		fixture_read_alone(fixture, &reader, "one", 1, (uint64_t)ms + 1);
		fixture_run(fixture, ms);
		if (reader.answered)
			engine_end_holder(fixture->engine, reader.lease->slot.holder, "ended");
		else
			engine_abandon(fixture->engine, reader.ticket);
		fixture_run(fixture, 5 * MINUTE_MS);
		assert_int_equal(fixture->cloud.n_users, 0);
		assert_int_equal(engine_left(fixture->engine).lines, 0);
		reader_finish(&reader);
	}
}

static void one_secret_refused_leaves_no_lease_of_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct reader holder, reader;

	fixture_read_as(fixture, &holder, "two", 2, 0, 0);
	fixture_run(fixture, 10 * SECOND_MS);
	fixture_read_alone(fixture, &reader, "two", 3, 1);
	assert_true(reader.answered);
	assert_int_equal(reader.err.kind, DSEC_ERROR_QUOTA);
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_string_equal(fixture_only_user(fixture)->name, holder.lease->user);
	reader_finish(&holder);
}

static void a_reader_who_waited_too_long_leaves_no_lease(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture->bad_op = PROVIDER_VERIFY_KEY;
	fixture->n_bad = 1000000;
	fixture->bad = (struct cloud_fate){.fails = true, .kind = DSEC_ERROR_CREDENTIALS};
	fixture_read_alone(fixture, &reader, "one", 1, 1);
	fixture_run(fixture, 31 * SECOND_MS);
	assert_true(reader.answered);
	assert_null(reader.lease);
	fixture->n_bad = 0;
	fixture_run(fixture, 2 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
}

static void a_replacement_is_told_once_and_not_of_a_lease_that_is_renewed(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture->held = true;
	fixture_read_as(fixture, &reader, "one", 1, 0, 0);
	fixture_run(fixture, INT64_C(120) * MINUTE_MS);
	assert_int_equal(fixture->n_rotated, 0);
	fixture->held = false;
	fixture_run(fixture, 20 * MINUTE_MS);
	assert_int_equal(fixture->n_rotated, 1);
	fixture_run(fixture, 60 * MINUTE_MS);
	assert_int_equal(fixture->n_rotated, 1);
	reader_finish(&reader);
}

static void
a_revoked_lease_is_told_to_be_replaced_and_one_whose_holder_has_ended_is_not(void **state)
{
	struct fixture *fixture = *state;
	struct reader shared, alone;
	struct dsec_error err;

	fixture_read_as(fixture, &shared, "one", 1, 0, 0);
	fixture_read_alone(fixture, &alone, "one", 1, 1);
	fixture_run(fixture, 10 * SECOND_MS);
	engine_end_holder(fixture->engine, alone.lease->slot.holder, "closed");
	assert_int_equal(fixture->n_rotated, 0);
	assert_int_equal(engine_revoke(fixture->engine, shared.lease->id, &err), 0);
	assert_int_equal(fixture->n_rotated, 1);
	reader_finish(&shared);
	reader_finish(&alone);
}

/* What a crash loop costs: never more users than max_leases, and none of them stays. */
static void ten_thousand_short_lives_are_never_more_than_max_leases(void **state)
{
	struct fixture *fixture = *state;
	unsigned served = 0, refused = 0;

	for (uint64_t i = 1; i <= 10000; i++) {
		struct reader reader;

		fixture_read_alone(fixture, &reader, "few", 1, i);
		fixture_run(fixture, (int64_t)(i % 13) * 100);
		if (!reader.answered)
			engine_abandon(fixture->engine, reader.ticket);
		else if (reader.lease)
			engine_end_holder(fixture->engine, reader.lease->slot.holder, "ended");
		served += reader.lease != NULL;
		refused += reader.err.kind == DSEC_ERROR_QUOTA;
		assert_true(fixture->cloud.n_users <= 2);
		reader_finish(&reader);
	}
	assert_true(served > 0);
	assert_true(refused > 0);
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(engine_left(fixture->engine).lines, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_exclusive_lease_is_given_to_nobody_else),
		TEST(a_holders_end_ends_its_leases_and_no_others),
		TEST(all_that_a_holder_has_ends_with_it),
		TEST(what_is_made_for_one_who_has_left_is_undone),
		TEST(one_secret_refused_leaves_no_lease_of_the_other),
		TEST(a_reader_who_waited_too_long_leaves_no_lease),
		TEST(a_replacement_is_told_once_and_not_of_a_lease_that_is_renewed),
		TEST(a_revoked_lease_is_told_to_be_replaced_and_one_whose_holder_has_ended_is_not),
		TEST(ten_thousand_short_lives_are_never_more_than_max_leases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
