#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/engine_private.h"
#include "tests/engine/fixture.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)

#define INTEGRATIONS                                                                               \
	"\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"rate\": 1000, \"credentials\": "    \
	"{\"source\": \"static\", \"access_key_id\": \"AKIA0000000000000000\", "                   \
	"\"secret_access_key\": \"x\"}}}"
#define SECRET                                                                                     \
	"{\"integration\": \"aws\", \"max_leases\": 5000, \"policy\": {\"Version\": "              \
	"\"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"ec2:*\", "          \
	"\"Resource\": \"*\"}]}"
/* a/dev, with these further members. */
#define CONFIGURED(members)                                                                        \
	"{" INTEGRATIONS ", \"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": {\"S\": " SECRET \
	", " members "}}}, \"other\": {\"dynamic_secrets\": {\"S\": " SECRET "}}}}}}"
#define PLAIN CONFIGURED("\"max_rate\": \"30/m\"")

/* So many openings of @fresh, each a holder that was never there before. What they were given they
 * keep. Returns how many had a lease. */
static unsigned loop(struct fixture *fixture, const char *config, const char *payer, unsigned times)
{
	static uint64_t number;
	struct reader *readers = calloc(times, sizeof(*readers));
	unsigned served = 0;

	assert_non_null(readers);
	for (unsigned i = 0; i < times; i++)
		fixture_read_for(fixture, &readers[i], config, ++number, payer);
	fixture_run(fixture, SECOND_MS);
	for (unsigned i = 0; i < times; i++) {
		assert_true(readers[i].answered);
		if (!readers[i].lease)
			assert_int_equal(readers[i].err.kind, DSEC_ERROR_THROTTLED);
		served += readers[i].lease != NULL;
		reader_finish(&readers[i]);
	}
	free(readers);
	return served;
}

static void who_loops_leaves_their_part_to_the_others(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);

	assert_int_equal(loop(fixture, "dev", "web.service", 1000), 15);
	for (int i = 0; i < 15; i++) {
		char payer[32];

		snprintf(payer, sizeof(payer), "docker:%d", i);
		assert_int_equal(loop(fixture, "dev", payer, 1), 1);
	}
	fixture_free(fixture);
}

static void who_has_used_up_its_part_is_told_when_to_come_again(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);
	struct reader reader;

	loop(fixture, "dev", "web.service", 15);
	fixture_read_for(fixture, &reader, "dev", 1000, "web.service");
	assert_true(reader.answered);
	assert_int_equal(reader.err.kind, DSEC_ERROR_THROTTLED);
	assert_string_equal(reader.err.message,
			    "web.service has caused as many leases of S as one holder may, 15 in "
			    "1m (max_rate_per_holder): it may try again in 4s");

	char *status = engine_status_text(fixture->engine, "a", "dev");
	char *metrics = engine_metrics_text(fixture->engine);

	assert_non_null(strstr(status, reader.err.message));
	assert_non_null(strstr(status, "raise max_rate or max_rate_per_holder"));
	assert_non_null(strstr(metrics, "\ndsec_readers_held_back_total 1\n"));
	assert_non_null(strstr(metrics, "dsec_reads_total{result=\"throttled\"} 1\n"));
	free(status);
	free(metrics);
	fixture_run(fixture, 4 * SECOND_MS);
	assert_int_equal(loop(fixture, "dev", "web.service", 5), 1);
	fixture_free(fixture);
}

static void a_loop_does_not_push_all_else_out_of_the_audit_log(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);
	struct reader reader;

	loop(fixture, "dev", "web.service", 15 + 1000);
	assert_int_equal(fixture->n_failed, 10); /* 1, 2, 4 … 512 */
	fixture_read_for(fixture, &reader, "dev", 100000, "web.service");
	assert_non_null(strstr(reader.err.message, "refused 1001 times meanwhile"));

	char *metrics = engine_metrics_text(fixture->engine);

	assert_non_null(strstr(metrics, "dsec_reads_total{result=\"throttled\"} 1001\n"));
	free(metrics);
	/* Another's first is told, and its own when it has had a lease since. */
	loop(fixture, "dev", "app.service", 15 + 1);
	assert_int_equal(fixture->n_failed, 11);
	fixture_run(fixture, 3 * SECOND_MS);
	assert_int_equal(loop(fixture, "dev", "web.service", 2), 1);
	assert_int_equal(fixture->n_failed, 12);
	fixture_free(fixture);
}

static void in_the_long_run_it_is_the_rate_and_not_more(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);
	unsigned served = 0;

	for (int i = 0; i < 600; i++)
		served += loop(fixture, "dev", "web.service", 3);
	assert_in_range(served, 15 * 10, 15 * 11);
	fixture_free(fixture);
}

static void each_config_counts_for_itself(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);

	loop(fixture, "dev", "web.service", 100);
	assert_int_equal(loop(fixture, "other", "web.service", 1), 1);
	fixture_free(fixture);
}

/* By the names of the leases' holders there would be no end to them. */
static void holders_that_come_and_go_are_one(void **state)
{
	struct fixture *fixture =
		fixture_new(CONFIGURED("\"max_rate\": \"30/m\", \"scope\": \"process\""));
	unsigned served = 0;

	for (uint64_t number = 1; number <= 100; number++) {
		const struct lease_caller caller = {.uid = 1000, .pid = 1};
		struct reader reader;

		fixture_read_in_scope(fixture, &reader, "dev", SCOPE_PROCESS,
				      lease_holder_of(HOLDER_PROCESS, number), &caller);
		fixture_run(fixture, SECOND_MS);
		engine_end_holder(fixture->engine, lease_holder_of(HOLDER_PROCESS, number),
				  "ended");
		served += reader.lease != NULL;
		reader_finish(&reader);
	}
	assert_in_range(served, 15 + 24, 15 + 26); /* in a hundred seconds */
	fixture_free(fixture);
}

static void a_shared_lease_is_charged_to_who_can_pay_and_read_by_all(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);
	struct reader looping, other, again;

	loop(fixture, "dev", "web.service", 15);
	fixture_read_for(fixture, &looping, "dev", 0, "web.service");
	assert_int_equal(looping.err.kind, DSEC_ERROR_THROTTLED);
	fixture_read_for(fixture, &other, "dev", 0, "app.service");
	assert_false(other.answered);
	/* What is being made costs nothing to who joins. */
	fixture_read_for(fixture, &again, "dev", 0, "web.service");
	fixture_run(fixture, SECOND_MS);
	assert_non_null(other.lease);
	assert_ptr_equal(other.lease, again.lease);
	reader_finish(&other);
	reader_finish(&again);
	fixture_free(fixture);
}

static void revoke_all(struct fixture *fixture)
{
	struct dsec_error err;

	list_each (at, &fixture->disk.records)
		engine_revoke(fixture->engine,
			      container_of(at, struct disk_record, link)->record.lease_id, &err);
}

static void whoever_waits_may_be_charged_and_all_are_told_when_none_can(void **state)
{
	struct fixture *fixture =
		fixture_new(CONFIGURED("\"max_rate\": \"30/m\", \"max_rate_per_holder\": \"1/h\""));
	struct reader first, second;

	fixture->bad_op = PROVIDER_CREATE_KEY;
	fixture->n_bad = 2;
	fixture->bad = (struct cloud_fate){.latency_ms = 5 * SECOND_MS};
	fixture_read_for(fixture, &first, "dev", 0, "web.service");
	fixture_read_for(fixture, &second, "dev", 0, "app.service");
	fixture_run(fixture, SECOND_MS);
	revoke_all(fixture); /* the one that the first has paid for */
	assert_false(first.answered);
	fixture_run(fixture, SECOND_MS);
	revoke_all(fixture); /* and the second's */
	assert_non_null(strstr(first.err.message, "web.service has caused"));
	assert_non_null(strstr(second.err.message, "app.service has caused"));
	fixture_free(fixture);
}

static void what_is_kept_ready_is_no_way_round(void **state)
{
	struct fixture *fixture =
		fixture_new(CONFIGURED("\"max_rate\": \"30/m\", \"scope\": \"user\", \"warm\": 20, "
				       "\"max_rate_per_holder\": \"3/m\""));

	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(loop(fixture, "dev", "web.service", 10), 3);
	assert_int_equal(loop(fixture, "dev", "app.service", 10), 3);
	fixture_free(fixture);
}

/* Nobody pays for what was undone by us. */
static void a_lease_that_is_made_again_is_charged_once(void **state)
{
	struct fixture *fixture = fixture_new(
		CONFIGURED("\"max_rate\": \"30/m\", \"ttl\": \"10m\", \"max_ttl\": \"10m\", "
			   "\"max_rate_per_holder\": \"1/h\""));
	struct reader reader;

	fixture->world.local_ms -= 9 * MINUTE_MS;
	fixture_read_for(fixture, &reader, "dev", 0, "web.service");
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 2);
	assert_non_null(reader.lease);
	reader_finish(&reader);
	fixture_free(fixture);
}

static void where_one_may_have_all_the_rate_is_waited_for(void **state)
{
	struct fixture *fixture =
		fixture_new(CONFIGURED("\"max_rate\": \"2/m\", \"max_rate_per_holder\": \"2/m\""));
	struct reader reader;

	loop(fixture, "dev", "web.service", 2);
	fixture_read_for(fixture, &reader, "dev", 0, "web.service");
	assert_false(reader.answered);
	fixture_run(fixture, 30 * SECOND_MS);
	assert_non_null(reader.lease);
	reader_finish(&reader);
	fixture_free(fixture);
}

static void a_reload_gives_those_that_are_known_their_new_part(void **state)
{
	struct fixture *fixture = fixture_new(PLAIN);
	struct catalog *catalog = fixture_catalog(
		CONFIGURED("\"max_rate\": \"60/m\", \"max_rate_per_holder\": \"60/m\""));

	assert_int_equal(loop(fixture, "dev", "web.service", 20), 15);
	engine_reload(fixture->engine, catalog);
	catalog_unref(catalog);
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(loop(fixture, "dev", "web.service", 40), 40);
	fixture_free(fixture);
}

static void so_many_are_remembered_and_no_more(void **state)
{
	struct fixture *fixture = fixture_new(
		CONFIGURED("\"max_rate\": \"1000000/h\", \"max_rate_per_holder\": \"2/h\""));
	struct pool *pool = pool_find(fixture->engine, "a", "dev", "S");
	char payer[32];

	for (int i = 0; i < 3 * PAYERS_MAX; i++) {
		snprintf(payer, sizeof(payer), "docker:%d", i);
		assert_true(payer_charge(pool, payer));
		assert_in_range(pool->n_payers, 1, PAYERS_MAX);
	}
	/* Who was there last is known still, and who has all of its part again is not. */
	assert_true(payer_charge(pool, payer));
	assert_false(payer_charge(pool, payer));
	fixture_run(fixture, 61 * MINUTE_MS);
	assert_true(payer_charge(pool, payer));
	assert_int_equal(pool->n_payers, 1);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_loops_leaves_their_part_to_the_others),
		cmocka_unit_test(who_has_used_up_its_part_is_told_when_to_come_again),
		cmocka_unit_test(a_loop_does_not_push_all_else_out_of_the_audit_log),
		cmocka_unit_test(in_the_long_run_it_is_the_rate_and_not_more),
		cmocka_unit_test(each_config_counts_for_itself),
		cmocka_unit_test(holders_that_come_and_go_are_one),
		cmocka_unit_test(a_shared_lease_is_charged_to_who_can_pay_and_read_by_all),
		cmocka_unit_test(whoever_waits_may_be_charged_and_all_are_told_when_none_can),
		cmocka_unit_test(what_is_kept_ready_is_no_way_round),
		cmocka_unit_test(a_lease_that_is_made_again_is_charged_once),
		cmocka_unit_test(where_one_may_have_all_the_rate_is_waited_for),
		cmocka_unit_test(a_reload_gives_those_that_are_known_their_new_part),
		cmocka_unit_test(so_many_are_remembered_and_no_more),
	};

	return cmocka_run_group_tests_name("payer", tests, NULL, NULL);
}
