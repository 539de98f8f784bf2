#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/fixture.h"

static void lease_comes_with_user_policy_and_key(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct cloud_user *user = fixture_only_user(fixture);
	const struct journal_record *line = disk_by_user(&fixture->disk, lease->user);

	assert_non_null(user);
	assert_string_equal(user->name, lease->user);
	assert_string_equal(user->arn, lease->arn);
	assert_ptr_equal(strstr(user->path, FIXTURE_PATH), user->path);
	assert_non_null(cloud_thing(user, ATTACHMENT_ACCESS_KEY, lease->access_key_id));
	assert_non_null(cloud_thing(user, ATTACHMENT_INLINE_POLICY, lease->policy_name));
	assert_int_equal(lease->expires_ms - lease->start_ms, 30 * MINUTE_MS);
	assert_int_equal(line->state, JOURNAL_ACTIVE);
	assert_string_equal(line->access_key_id, lease->access_key_id);
	assert_int_equal(fixture->n_active, 1);
	assert_int_equal(fixture->n_handed_out, 1);
	lease_unref(lease);
}

static void no_user_without_a_durable_intent(struct fixture *fixture, struct cloud_user *user,
					     enum provider_op op)
{
	const struct journal_record *line = disk_by_user(&fixture->disk, user->name);

	assert_non_null(line);
	assert_string_equal(line->path, user->path);
}

static void user_is_made_only_when_the_intent_is_durable(void **state)
{
	struct fixture *fixture = *state;

	fixture->disk.delay_min_ms = fixture->disk.delay_max_ms = 3 * SECOND_MS;
	fixture->watch = no_user_without_a_durable_intent;
	lease_unref(fixture_lease(fixture));
}

static void full_disk_makes_no_user_and_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture->disk.full = true;
	fixture_read(fixture, &reader);
	fixture_run(fixture, SECOND_MS);
	assert_true(reader.answered);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NO_SPACE);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 0);
}

static void full_disk_endangers_no_old_lease(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture->disk.full = true;
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	fixture->disk.full = false;
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_true(list_empty(&fixture->disk.records));
}

static void fifty_first_readers_make_one_user(void **state)
{
	struct fixture *fixture = *state;
	struct reader readers[50];

	for (size_t i = 0; i < 50; i++)
		fixture_read(fixture, &readers[i]);
	fixture_run(fixture, 10 * SECOND_MS);
	for (size_t i = 0; i < 50; i++) {
		assert_non_null(readers[i].lease);
		assert_ptr_equal(readers[i].lease, readers[0].lease);
	}
	for (size_t i = 0; i < 50; i++)
		reader_finish(&readers[i]);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 1);
}

static void next_reader_gets_the_cached_lease_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct reader reader;

	fixture_read(fixture, &reader);
	assert_true(reader.answered);
	assert_ptr_equal(reader.lease, lease);
	assert_int_equal(fixture->n_handed_out, 1);
	reader_finish(&reader);
	lease_unref(lease);
}

static void lease_with_too_little_life_is_not_handed_out(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);

	fixture_run(fixture, 16 * MINUTE_MS); /* less than 15 minutes are left */

	struct lease *second = fixture_lease(fixture);

	assert_string_not_equal(first->id, second->id);
	assert_int_equal(fixture->cloud.n_users, 2);
	fixture_run(fixture, 15 * MINUTE_MS);
	assert_null(cloud_user(&fixture->cloud, first->user));
	assert_non_null(cloud_user(&fixture->cloud, second->user));
	lease_unref(first);
	lease_unref(second);
}

static void lost_answer_of_create_user_adopts_our_name(void **state)
{
	struct fixture *fixture = *state;

	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 50,
					   .fails = true,
					   .kind = DSEC_ERROR_UNREACHABLE,
					   .ambiguous = true,
					   .effect = true};

	struct lease *lease = fixture_lease(fixture);

	assert_int_equal(fixture->cloud.n_users, 1);
	assert_string_equal(fixture_only_user(fixture)->arn, lease->arn);
	lease_unref(lease);
}

static void taken_name_is_left_to_its_owner(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;
	char name[IAM_USER_NAME_MAX];

	/* Somebody makes the very user whose name the intent has just chosen. */
	fixture->disk.delay_min_ms = fixture->disk.delay_max_ms = SECOND_MS;
	fixture_read(fixture, &reader);

	struct disk *disk = &fixture->disk;

	while (list_empty(&disk->records))
		fixture_run(fixture, 1);
	snprintf(name, sizeof(name), "%s",
		 list_first(&disk->records, struct disk_record, link)->record.user);
	cloud_make_user(&fixture->cloud, name, "/somebody/");
	fixture_run(fixture, 10 * SECOND_MS);
	assert_non_null(reader.lease);
	assert_string_not_equal(reader.lease->user, name);
	engine_revoke_all(fixture->engine, "test");
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_non_null(cloud_user(&fixture->cloud, name));
	assert_int_equal(fixture->cloud.n_users, 1);
	assert_true(list_empty(&disk->records));
	reader_finish(&reader);
}

static void another_name_that_cannot_be_recorded_is_not_used(void **state)
{
	struct fixture *fixture = *state;
	struct disk *disk = &fixture->disk;
	struct reader reader;

	disk->delay_min_ms = disk->delay_max_ms = SECOND_MS;
	fixture->intents_refused_from = 2;
	fixture_read(fixture, &reader);
	while (list_empty(&disk->records))
		fixture_run(fixture, 1);
	cloud_make_user(&fixture->cloud,
			list_first(&disk->records, struct disk_record, link)->record.user,
			"/somebody/");
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->n_intended, 2);
	assert_true(reader.answered);
	assert_null(reader.lease);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NO_SPACE);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 1);
	assert_int_equal(fixture->cloud.n_users, 1);
	assert_true(list_empty(&disk->records));
	/* When it can be, all is as it was. */
	fixture->intents_refused_from = 0;
	lease_unref(fixture_lease(fixture));
}

static void lost_key_is_discarded_before_another_is_made(void **state)
{
	struct fixture *fixture = *state;

	fixture->bad_op = PROVIDER_CREATE_KEY;
	fixture->n_bad = 2;
	fixture->bad = (struct cloud_fate){.latency_ms = 50,
					   .fails = true,
					   .kind = DSEC_ERROR_BUSY,
					   .ambiguous = true,
					   .effect = true};

	struct lease *lease = fixture_lease(fixture);
	struct cloud_user *user = fixture_only_user(fixture);

	assert_int_equal(cloud_count(user, ATTACHMENT_ACCESS_KEY), 1);
	assert_non_null(cloud_thing(user, ATTACHMENT_ACCESS_KEY, lease->access_key_id));
	lease_unref(lease);
}

static void young_user_not_shown_yet_is_asked_again(void **state)
{
	struct fixture *fixture = *state;

	fixture->cloud.consistency_ms = 4 * SECOND_MS;
	lease_unref(fixture_lease(fixture));
	assert_int_equal(fixture->cloud.n_users, 1);
}

static void key_is_handed_out_only_after_three_acceptances_in_a_row(void **state)
{
	struct fixture *fixture = *state;

	fixture->cloud.consistency_ms = 10 * SECOND_MS;

	struct lease *lease = fixture_lease(fixture);
	const struct cloud_thing *key = cloud_thing(fixture_only_user(fixture),
						    ATTACHMENT_ACCESS_KEY, lease->access_key_id);

	assert_int_equal(key->n_verified, 3);
	lease_unref(lease);
}

static void key_that_is_slow_to_work_is_kept_for_the_next_reader(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture->bad_op = PROVIDER_VERIFY_KEY;
	fixture->n_bad = 1000;
	fixture->bad = (struct cloud_fate){
		.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_KEY_NOT_READY};
	fixture_read(fixture, &reader);
	fixture_run(fixture, 30 * SECOND_MS);
	assert_true(reader.answered);
	assert_int_equal(reader.err.kind, DSEC_ERROR_TIMEOUT);
	assert_non_null(strstr(reader.err.code, "InvalidClientTokenId"));
	assert_true(reader.err.request_id[0] != '\0');
	fixture->n_bad = 0;
	fixture_run(fixture, 5 * SECOND_MS);
	fixture_read(fixture, &reader);
	assert_true(reader.answered);
	assert_non_null(reader.lease);
	assert_int_equal(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 1);
	reader_finish(&reader);
}

static void refused_credentials_answer_all_at_once_and_crash_loops_are_held(void **state)
{
	struct fixture *fixture = *state;
	struct reader readers[3], late;

	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1000;
	fixture->bad = (struct cloud_fate){
		.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_CREDENTIALS};
	for (size_t i = 0; i < 3; i++)
		fixture_read(fixture, &readers[i]);
	fixture_run(fixture, SECOND_MS / 2);
	for (size_t i = 0; i < 3; i++) {
		assert_true(readers[i].answered);
		assert_int_equal(readers[i].err.kind, DSEC_ERROR_CREDENTIALS);
	}
	fixture_read(fixture, &late);
	assert_true(late.answered);
	assert_int_equal(late.err.kind, DSEC_ERROR_CREDENTIALS);

	for (int i = 0; i < 600; i++) { /* a minute of a reader that never gives up */
		fixture_read(fixture, &late);
		fixture_run(fixture, SECOND_MS / 10);
	}
	assert_in_range(fixture->cloud.n_calls[PROVIDER_CREATE_USER], 3, 10);
	assert_true(list_empty(&fixture->disk.records));
}

static void deadline_names_what_kept_the_reader_waiting(void **state)
{
	static const enum dsec_error_kind kinds[][2] = {
		{DSEC_ERROR_THROTTLED, DSEC_ERROR_THROTTLED},
		{DSEC_ERROR_UNREACHABLE, DSEC_ERROR_UNREACHABLE},
		{DSEC_ERROR_BUSY, DSEC_ERROR_TIMEOUT},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 3; i++) {
		struct reader reader;

		fixture->bad_op = PROVIDER_CREATE_USER;
		fixture->n_bad = 100000;
		fixture->bad =
			(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = kinds[i][0]};

		int64_t asked_at = fixture->world.now_at;

		fixture_read(fixture, &reader);
		fixture_run(fixture, 31 * SECOND_MS);
		assert_true(reader.answered);
		assert_int_equal(reader.at - asked_at, 30 * SECOND_MS);
		assert_int_equal(reader.err.kind, kinds[i][1]);
		fixture_run(fixture, 10 * MINUTE_MS);
	}
}

static void interrupted_reader_is_not_answered_and_the_lease_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader, next;

	fixture_read(fixture, &reader);
	fixture_run(fixture, 5);
	engine_abandon(fixture->engine, reader.ticket);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_false(reader.answered);
	fixture_read(fixture, &next);
	assert_non_null(next.lease);
	reader_finish(&next);
}

/* There is no moment at which an Allow is in force and its Deny is missing. */
static void no_allow_without_deny(struct fixture *fixture, struct cloud_user *user,
				  enum provider_op op)
{
	bool allows = false, denies = false;

	list_each (at, &user->things) {
		const struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		if (thing->until_at != DSEC_NEVER)
			continue;
		allows |= thing->allows;
		denies |= thing->denies;
		if (thing->denies)
			assert_true(thing->deny_ms <= user->created_ms + 12 * HOUR_MS);
	}
	assert_true(denies || !allows);
}

static const char with_managed[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}}, "
	"\"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": {\"AWS_USER\": {\"integration\": "
	"\"aws\", \"policy_arns\": [\"arn:aws:iam::aws:policy/ReadOnlyAccess\", "
	"\"arn:aws:iam::aws:policy/IAMReadOnlyAccess\"]}}}}}}";

static void managed_policies_are_never_without_the_deny(void **state)
{
	struct fixture *fixture = *state;

	fixture_restart(fixture, with_managed, false);
	fixture->watch = no_allow_without_deny;

	struct lease *lease = fixture_lease(fixture);

	assert_int_equal(cloud_count(fixture_only_user(fixture), ATTACHMENT_MANAGED_POLICY), 2);
	lease_unref(lease);
	fixture_run(fixture, 40 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
}

static void local_clock_that_is_ahead_makes_no_longer_lease(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture_crash(fixture);
	fixture->world.local_ms += 14 * MINUTE_MS;
	fixture->watch = no_allow_without_deny;
	fixture_restart(fixture, fixture_plain, false);
	fixture_read_as(fixture, &reader, "dev", 1, 12 * HOUR_MS, 0);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_non_null(reader.lease);
	assert_true(reader.lease->expires_ms <=
		    fixture_only_user(fixture)->created_ms + 12 * HOUR_MS);
	assert_true(reader.lease->expires_ms >=
		    fixture_only_user(fixture)->created_ms + 12 * HOUR_MS - MINUTE_MS);
	reader_finish(&reader);
}

static void local_clock_that_is_behind_makes_no_dead_lease(void **state)
{
	struct fixture *fixture = *state;

	fixture_crash(fixture);
	fixture->world.local_ms -= 14 * MINUTE_MS;
	fixture_restart(fixture, fixture_plain, false);

	struct lease *lease = fixture_lease(fixture);

	assert_in_range(lease->expires_ms - world_cloud_ms(&fixture->world), 29 * MINUTE_MS,
			30 * MINUTE_MS);
	lease_unref(lease);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(lease_comes_with_user_policy_and_key),
		TEST(user_is_made_only_when_the_intent_is_durable),
		TEST(full_disk_makes_no_user_and_says_so),
		TEST(full_disk_endangers_no_old_lease),
		TEST(fifty_first_readers_make_one_user),
		TEST(next_reader_gets_the_cached_lease_at_once),
		TEST(lease_with_too_little_life_is_not_handed_out),
		TEST(lost_answer_of_create_user_adopts_our_name),
		TEST(taken_name_is_left_to_its_owner),
		TEST(another_name_that_cannot_be_recorded_is_not_used),
		TEST(lost_key_is_discarded_before_another_is_made),
		TEST(young_user_not_shown_yet_is_asked_again),
		TEST(key_is_handed_out_only_after_three_acceptances_in_a_row),
		TEST(key_that_is_slow_to_work_is_kept_for_the_next_reader),
		TEST(refused_credentials_answer_all_at_once_and_crash_loops_are_held),
		TEST(deadline_names_what_kept_the_reader_waiting),
		TEST(interrupted_reader_is_not_answered_and_the_lease_is_kept),
		TEST(managed_policies_are_never_without_the_deny),
		TEST(local_clock_that_is_ahead_makes_no_longer_lease),
		TEST(local_clock_that_is_behind_makes_no_dead_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
