#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/fixture.h"

#define VALIDITY_MS (15 * MINUTE_MS) /* of the default TTL, 30 minutes */

/* One secret, with these further members. */
#define CONFIGURED(action, members)                                                                \
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "      \
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": "         \
	"\"x\"}}}, \"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": {\"AWS_USER\": {"         \
	"\"integration\": \"aws\", \"policy\": {\"Version\": \"2012-10-17\", \"Statement\": "      \
	"[{\"Effect\": \"Allow\", \"Action\": \"" action "\", \"Resource\": \"*\"}]}, " members    \
	"}}}}}}"
#define EC2(members) CONFIGURED("ec2:Describe*", members)

static void reload(struct fixture *fixture, const char *json)
{
	struct catalog *catalog = fixture_catalog(json);

	engine_reload(fixture->engine, catalog);
	catalog_unref(catalog);
}

static size_t users(const struct fixture *fixture)
{
	size_t n = 0;

	list_each (at, &fixture->cloud.users)
		n += container_of(at, struct cloud_user, link)->until_at == DSEC_NEVER;
	return n;
}

/* Reads, and fails unless there is an answer at once; the lease for lease_unref. */
static struct lease *read_at_once(struct fixture *fixture, uid_t uid)
{
	struct reader reader;

	fixture_read_as(fixture, &reader, "dev", 1, 0, uid);
	assert_true(reader.answered);
	if (!reader.lease)
		fail_msg("no lease: %s", reader.err.message);
	return reader.lease;
}

static void the_first_reader_of_all_waits_for_nothing(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"warm\": 1"));

	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 1);
	assert_int_equal(fixture->n_active, 1); /* published: the files' readers find it */

	struct lease *lease = read_at_once(fixture, 1000), *other = read_at_once(fixture, 1001);

	assert_ptr_equal(lease, other);
	assert_string_equal(fixture_only_user(fixture)->name, lease->user);
	assert_int_equal(disk_by_user(&fixture->disk, lease->user)->state, JOURNAL_ACTIVE);
	lease_unref(lease);
	lease_unref(other);
	fixture_free(fixture);
}

static void a_warm_lease_is_verified(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"warm\": 1"));

	fixture_run(fixture, MINUTE_MS);
	assert_true(
		cloud_thing(fixture_only_user(fixture), ATTACHMENT_ACCESS_KEY, NULL)->n_verified >=
		3);
	fixture_free(fixture);
}

/* At any moment of three hours. */
static void ready_at_any_time(const char *json, size_t users_max)
{
	struct fixture *fixture = fixture_new(json);

	fixture_run(fixture, MINUTE_MS);
	for (int64_t at = 0; at < 3 * HOUR_MS; at += 7 * SECOND_MS) {
		struct lease *lease = read_at_once(fixture, 1000);

		assert_true(lease->expire_at - fixture->world.now_at >= VALIDITY_MS);
		assert_in_range(users(fixture), 1, users_max);
		lease_unref(lease);
		fixture_run(fixture, 7 * SECOND_MS);
	}
	fixture_free(fixture);
}

static void no_reader_meets_the_rotation(void **state)
{
	ready_at_any_time(EC2("\"warm\": 1"), 3);
}

static void more_than_one_for_all_readers_is_one(void **state)
{
	ready_at_any_time(EC2("\"warm\": 20"), 3);
}

static void each_new_holder_takes_one_and_the_place_is_filled_again(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 2"));

	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 2);

	struct lease *one = read_at_once(fixture, 1000), *two = read_at_once(fixture, 1001);
	struct lease *again = read_at_once(fixture, 1000);

	assert_ptr_equal(one, again);
	assert_string_not_equal(one->id, two->id);
	assert_int_equal(one->slot.holder, lease_holder_user(1000));
	assert_int_equal(two->slot.holder, lease_holder_user(1001));
	assert_int_equal(fixture->n_handed_out, 2); /* the audit knows who has them */
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 4);

	struct lease *three = read_at_once(fixture, 1002);

	assert_string_not_equal(three->id, one->id);
	assert_string_not_equal(three->id, two->id);
	lease_unref(one);
	lease_unref(two);
	lease_unref(again);
	lease_unref(three);
	fixture_free(fixture);
}

static void what_nobody_takes_is_replaced_and_removed(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 2"));

	fixture_run(fixture, MINUTE_MS);
	for (int i = 0; i < 60; i++) {
		assert_in_range(users(fixture), 2, 4);
		fixture_run(fixture, 2 * MINUTE_MS);
	}

	struct lease *lease = read_at_once(fixture, 1000);

	assert_true(lease->expire_at - fixture->world.now_at >= VALIDITY_MS);
	lease_unref(lease);
	assert_in_range(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 10, 20);
	fixture_free(fixture);
}

static void a_holder_s_own_ttl_is_not_taken_from_what_is_ready(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 1"));
	struct reader reader;

	fixture_run(fixture, MINUTE_MS);
	fixture_read_as(fixture, &reader, "dev", 1, 2 * HOUR_MS, 1000);
	assert_false(reader.answered);
	fixture_run(fixture, MINUTE_MS);
	assert_non_null(reader.lease);
	assert_true(reader.lease->expire_at - reader.lease->start_at >= 2 * HOUR_MS - SECOND_MS);
	reader_finish(&reader);
	fixture_free(fixture);
}

/* Its line has the new end before its policy has: a reader must not be told of it. */
static void what_is_being_renewed_is_not_taken(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 1"));
	const struct journal_record *line;
	struct dsec_error err;
	struct reader reader;

	fixture_run(fixture, MINUTE_MS);
	line = disk_by_user(&fixture->disk, fixture_only_user(fixture)->name);
	assert_int_equal(engine_renew(fixture->engine, line->lease_id, 2 * HOUR_MS, &err), 0);
	fixture_read_as(fixture, &reader, "dev", 1, 0, 1000);
	assert_false(reader.answered);
	fixture_run(fixture, MINUTE_MS);
	assert_non_null(reader.lease);
	reader_finish(&reader);
	fixture_free(fixture);
}

static size_t most_users;

static void count_users(struct fixture *fixture, struct cloud_user *user, enum provider_op op)
{
	size_t n = users(fixture);

	if (n > most_users)
		most_users = n;
}

static void never_more_users_than_max_leases(void **state)
{
	struct fixture *fixture = fixture_new(EC2(
		"\"scope\": \"user\", \"warm\": 4, \"max_leases\": 6, \"max_rate\": \"100/s\""));
	struct reader readers[40];

	most_users = 0;
	fixture->watch = count_users;
	for (size_t i = 0; i < 40; i++) {
		fixture_read_as(fixture, &readers[i], "dev", 1, 0, (uid_t)(1000 + i));
		fixture_run(fixture, 90 * SECOND_MS);
	}
	assert_int_equal(most_users, 6);
	for (size_t i = 0; i < 40; i++)
		reader_finish(&readers[i]);
	fixture_free(fixture);
}

/* A daemon that dies again and again leaves what it had ready to the TTL, and its successor cannot
 * hand it out. */
static void a_crash_loop_leaves_room_for_readers(void **state)
{
	static const char json[] = EC2(
		"\"scope\": \"user\", \"warm\": 3, \"max_leases\": 20, \"max_rate\": \"100/s\"");
	struct fixture *fixture = fixture_new(json);
	struct reader reader;

	for (int i = 0; i < 20; i++) {
		fixture_run(fixture, 10 * SECOND_MS);
		fixture_restart(fixture, json, false);
	}
	fixture_run(fixture, MINUTE_MS);
	assert_in_range(users(fixture), 15, 18); /* three quarters, and what was ready then */
	fixture_read_as(fixture, &reader, "dev", 1, 2 * HOUR_MS, 1000);
	fixture_run(fixture, MINUTE_MS);
	assert_non_null(reader.lease);
	reader_finish(&reader);
	/* When those are over, all is as it was. */
	fixture_run(fixture, 40 * MINUTE_MS);
	lease_unref(read_at_once(fixture, 1001));
	fixture_free(fixture);
}

static void a_failure_is_tried_again_ever_less_often_and_refuses_no_reader(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"warm\": 0"));
	struct reader reader;

	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1000;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	reload(fixture, EC2("\"warm\": 1"));
	fixture_run(fixture, HOUR_MS);
	assert_in_range(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 10, 40);
	fixture->n_bad = 0;
	fixture_read(fixture, &reader);
	assert_false(reader.answered);
	fixture_run(fixture, MINUTE_MS);
	assert_non_null(reader.lease);
	reader_finish(&reader);
	fixture_free(fixture);
}

static void who_comes_while_it_is_made_waits_for_that_one(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"warm\": 1"));
	struct reader reader;

	fixture_run(fixture, 30);
	fixture_read(fixture, &reader);
	assert_false(reader.answered);
	fixture_run(fixture, MINUTE_MS);
	assert_non_null(reader.lease);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 1);
	reader_finish(&reader);
	fixture_free(fixture);
}

static void a_token_of_max_rate_is_a_reader_s_first(void **state)
{
	struct fixture *fixture =
		fixture_new(EC2("\"scope\": \"user\", \"warm\": 3, \"max_rate\": \"2/m\""));
	struct reader reader;

	/* Both tokens are spent, and the third place waits for the next. */
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(users(fixture), 2);
	fixture_read_as(fixture, &reader, "dev", 1, 2 * HOUR_MS, 1000);
	fixture_run(fixture, 25 * SECOND_MS);
	assert_true(reader.lease || !reader.answered);
	fixture_run(fixture, 5 * SECOND_MS);
	assert_non_null(reader.lease);
	assert_int_equal(users(fixture), 3);
	reader_finish(&reader);
	fixture_free(fixture);
}

/* Who waits for a token, in their order, before who comes when it is there. */
static void what_becomes_ready_is_the_first_s_that_waits(void **state)
{
	struct fixture *fixture =
		fixture_new(EC2("\"scope\": \"user\", \"warm\": 1, \"max_rate\": \"2/m\""));
	struct reader made, first, second, late;

	/* One token for the place, which is slow, one for the first reader. */
	fixture->bad_op = PROVIDER_CREATE_KEY;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 5000};
	fixture_run(fixture, 100);
	fixture_read_as(fixture, &made, "dev", 1, 0, 1000);
	fixture_run(fixture, SECOND_MS);
	assert_non_null(made.lease);
	fixture_read_as(fixture, &first, "dev", 1, 0, 1001);
	fixture_read_as(fixture, &second, "dev", 1, 0, 1002);
	fixture_run(fixture, 3 * SECOND_MS);
	assert_false(first.answered);
	fixture_run(fixture, 3 * SECOND_MS);
	assert_non_null(first.lease);
	assert_int_equal(first.lease->slot.holder, lease_holder_user(1001));
	assert_false(second.answered);
	assert_int_equal(users(fixture), 2); /* and none was made for it besides */

	/* The next is made with the next token, which the place does not get before the reader. */
	fixture_read_as(fixture, &late, "dev", 1, 0, 1002);
	assert_false(late.answered);
	fixture_run(fixture, 25 * SECOND_MS);
	assert_non_null(second.lease);
	assert_ptr_equal(second.lease, late.lease);
	assert_int_equal(users(fixture), 3);
	reader_finish(&made);
	reader_finish(&first);
	reader_finish(&second);
	reader_finish(&late);
	fixture_free(fixture);
}

static void what_was_renewed_is_offered_to_who_waits(void **state)
{
	struct fixture *fixture =
		fixture_new(EC2("\"scope\": \"user\", \"warm\": 1, \"max_rate\": \"2/m\""));
	const struct journal_record *line;
	struct reader first, second, later;
	struct dsec_error err;

	/* What is ready is being renewed, and cannot be had for that moment; then the tokens are
	 * gone. */
	fixture_run(fixture, MINUTE_MS);
	line = disk_by_user(&fixture->disk, fixture_only_user(fixture)->name);
	fixture->bad_op = PROVIDER_PUT_POLICY;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 5000};
	assert_int_equal(engine_renew(fixture->engine, line->lease_id, 2 * HOUR_MS, &err), 0);
	fixture_run(fixture, SECOND_MS);
	fixture_read_as(fixture, &first, "dev", 1, 2 * HOUR_MS, 1000);
	fixture_read_as(fixture, &second, "dev", 1, 2 * HOUR_MS, 1001);
	fixture_read_as(fixture, &later, "dev", 1, 0, 1002);
	fixture_run(fixture, 6 * SECOND_MS);
	assert_non_null(later.lease);
	reader_finish(&first);
	reader_finish(&second);
	reader_finish(&later);
	fixture_free(fixture);
}

static void a_reload_makes_and_ends_what_is_ready(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\""));

	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 0);
	reload(fixture, EC2("\"scope\": \"user\", \"warm\": 3"));
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 3);
	reload(fixture, EC2("\"scope\": \"user\", \"warm\": 1"));
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 1);
	reload(fixture, EC2("\"warm\": 1")); /* for all, from now on */
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(users(fixture), 1);
	lease_unref(read_at_once(fixture, 1000));
	reload(fixture, EC2("\"ttl\": \"1h\", \"warm\": 1"));
	fixture_run(fixture, MINUTE_MS);

	struct lease *lease = read_at_once(fixture, 1000);

	assert_int_equal(lease->slot.ttl_ms, HOUR_MS);
	lease_unref(lease);
	fixture_free(fixture);
}

static void what_is_ready_under_an_old_policy_is_nobody_s(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 1"));

	fixture_run(fixture, MINUTE_MS);

	uint64_t old = fixture_only_user(fixture)->serial;

	reload(fixture, CONFIGURED("s3:Get*", "\"scope\": \"user\", \"warm\": 1"));
	fixture_run(fixture, MINUTE_MS);
	assert_int_not_equal(fixture_only_user(fixture)->serial, old);
	lease_unref(read_at_once(fixture, 1000));
	fixture_free(fixture);
}

static void what_was_revoked_is_made_again(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"warm\": 1"));
	struct dsec_error err;

	fixture_run(fixture, MINUTE_MS);

	struct lease *old = read_at_once(fixture, 0);

	assert_int_equal(engine_revoke(fixture->engine, old->id, &err), 0);
	fixture_run(fixture, MINUTE_MS);

	struct lease *lease = read_at_once(fixture, 0);

	assert_string_not_equal(lease->id, old->id);
	lease_unref(lease);
	lease_unref(old);
	fixture_free(fixture);
}

static void nothing_is_made_ready_when_the_daemon_ends(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 3"));

	fixture_run(fixture, 30); /* some are half made */
	engine_revoke_all(fixture->engine, "unmount");
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_int_equal(users(fixture), 0);
	assert_int_equal(engine_left(fixture->engine).users, 0);
	fixture_free(fixture);
}

static void with_all_ready_the_engine_sleeps(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 3"));

	fixture_run(fixture, 5 * MINUTE_MS);
	assert_true(engine_tick(fixture->engine) - fixture->world.now_at > 5 * MINUTE_MS);
	fixture_free(fixture);
}

static void status_and_metrics_say_how_many_are_ready(void **state)
{
	struct fixture *fixture = fixture_new(EC2("\"scope\": \"user\", \"warm\": 3"));

	fixture_run(fixture, MINUTE_MS);
	lease_unref(read_at_once(fixture, 1000));

	char *status = engine_status_text(fixture->engine, "a", "dev");
	char *metrics = engine_metrics_text(fixture->engine);

	assert_non_null(strstr(status, "2 of 3 kept ready (warm) can be had at once"));
	assert_non_null(strstr(status, "kept ready: nobody has it yet"));
	assert_non_null(strstr(metrics, "\ndsec_leases_ready 2\n"));
	assert_non_null(strstr(metrics, "dsec_reads_total{result=\"warm\"} 1\n"));
	free(status);
	free(metrics);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_reader_of_all_waits_for_nothing),
		cmocka_unit_test(a_warm_lease_is_verified),
		cmocka_unit_test(no_reader_meets_the_rotation),
		cmocka_unit_test(more_than_one_for_all_readers_is_one),
		cmocka_unit_test(each_new_holder_takes_one_and_the_place_is_filled_again),
		cmocka_unit_test(what_nobody_takes_is_replaced_and_removed),
		cmocka_unit_test(a_holder_s_own_ttl_is_not_taken_from_what_is_ready),
		cmocka_unit_test(what_is_being_renewed_is_not_taken),
		cmocka_unit_test(never_more_users_than_max_leases),
		cmocka_unit_test(a_crash_loop_leaves_room_for_readers),
		cmocka_unit_test(a_failure_is_tried_again_ever_less_often_and_refuses_no_reader),
		cmocka_unit_test(who_comes_while_it_is_made_waits_for_that_one),
		cmocka_unit_test(a_token_of_max_rate_is_a_reader_s_first),
		cmocka_unit_test(what_becomes_ready_is_the_first_s_that_waits),
		cmocka_unit_test(what_was_renewed_is_offered_to_who_waits),
		cmocka_unit_test(a_reload_makes_and_ends_what_is_ready),
		cmocka_unit_test(what_is_ready_under_an_old_policy_is_nobody_s),
		cmocka_unit_test(what_was_revoked_is_made_again),
		cmocka_unit_test(nothing_is_made_ready_when_the_daemon_ends),
		cmocka_unit_test(with_all_ready_the_engine_sleeps),
		cmocka_unit_test(status_and_metrics_say_how_many_are_ready),
	};

	return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
