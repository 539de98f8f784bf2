#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/alloc.h"
#include "lease/identity.h"
#include "tests/engine/fixture.h"

static void live_lease_is_adopted_until_its_ttl(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture_run(fixture, 5 * MINUTE_MS);
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, lease->expire_at - fixture->world.now_at - SECOND_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
	assert_int_equal(fixture->n_ended, 1);
	assert_int_equal(fixture->n_gone, 1);
	lease_unref(lease);
}

static void adopted_lease_is_not_handed_out_and_counts(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);

	fixture_restart(fixture, fixture_plain, false);

	struct lease *second = fixture_lease(fixture);

	assert_string_not_equal(first->user, second->user);
	assert_int_equal(fixture->cloud.n_users, 2);
	assert_int_equal(engine_left(fixture->engine).users, 2);
	lease_unref(first);
	lease_unref(second);
}

static void kept_lease_is_handed_out_as_before(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);

	fixture_run(fixture, MINUTE_MS);
	fixture->kept = first;
	fixture_restart(fixture, fixture_plain, false);

	struct lease *second = fixture_lease(fixture);

	assert_string_equal(first->user, second->user);
	assert_int_equal(first->generation, second->generation);
	assert_int_equal(first->rotate_at, second->rotate_at);
	assert_ptr_equal(first->secret_access_key, second->secret_access_key);
	assert_int_equal(fixture->cloud.n_users, 1);
	/* Also when AWS's clock is learnt, and the users are listed. */
	fixture_run(fixture, first->expire_at - fixture->world.now_at - SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 1);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(fixture->n_ended, 1);
	lease_unref(first);
	lease_unref(second);
}

static void kept_lease_of_a_changed_policy_has_no_new_readers(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);
	char *json = alloc_copy(fixture_plain), *action = strstr(json, "ec2:");

	assert_non_null(action);
	action[0] = 's';
	action[1] = 'q';
	action[2] = 's';
	fixture->kept = first;
	fixture_restart(fixture, json, false);

	struct lease *second = fixture_lease(fixture);

	assert_string_not_equal(first->user, second->user);
	assert_true(second->generation > first->generation);
	assert_int_equal(fixture->cloud.n_users, 2);
	lease_unref(first);
	lease_unref(second);
	free(json);
}

static void kept_lease_whose_renewal_was_cut_off_ends_at_the_end_that_was_told(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);
	struct dsec_error err;

	fixture->bad_op = PROVIDER_PUT_POLICY;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 60 * SECOND_MS};
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_int_equal(engine_renew(fixture->engine, first->id, first->slot.ttl_ms, &err), 0);
	fixture_run(fixture, 5 * SECOND_MS); /* the journal has the new end */
	fixture->kept = first;
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, first->expire_at - fixture->world.now_at - SECOND_MS);
	assert_non_null(cloud_user(&fixture->cloud, first->user));
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	lease_unref(first);
}

static void kept_lease_is_renewed_with_its_secret(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = fixture_lease(fixture);

	fixture->kept = first;
	fixture->held = true;
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, first->expire_at - fixture->world.now_at + MINUTE_MS);

	struct lease *second = fixture_lease(fixture);

	assert_string_equal(first->user, second->user);
	assert_true(second->generation > first->generation);
	assert_true(second->expires_ms > first->expires_ms);
	assert_int_equal(fixture->cloud.n_users, 1);
	lease_unref(first);
	lease_unref(second);
}

static void adopted_lease_ends_by_awss_clock_not_by_the_local_one(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture_crash(fixture);
	fixture->world.local_ms -= 10 * MINUTE_MS;
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, lease->expire_at - fixture->world.now_at - SECOND_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	fixture_run(fixture, 10 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	lease_unref(lease);
}

static void expired_while_no_daemon_ran_is_removed_at_once(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture_crash(fixture);
	fixture_run(fixture, 60 * MINUTE_MS);
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, 5 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_true(list_empty(&fixture->disk.records));
}

static void unmount_after_a_restart_does_not_wait_for_calls_that_were_all_answered(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, SECOND_MS);
	engine_revoke_all(fixture->engine, "unmount");
	fixture_run(fixture, SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(engine_left(fixture->engine).users, 0);
	assert_true(list_empty(&fixture->disk.records));
}

/* It is told by the journal, also where the user was made by another attempt: its effect may come
 * when that user is removed. */
static void create_user_that_a_dead_daemon_lost_makes_no_user_that_is_forgotten(void **state)
{
	struct fixture *fixture = *state;

	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 20,
					   .fails = true,
					   .kind = DSEC_ERROR_UNREACHABLE,
					   .ambiguous = true,
					   .effect = true,
					   .effect_delay_ms = 30 * SECOND_MS};
	lease_unref(fixture_lease(fixture));
	fixture_restart(fixture, fixture_plain, false);
	engine_revoke_all(fixture->engine, "unmount");
	fixture_run(fixture, 5 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(engine_left(fixture->engine).users, 1);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(engine_left(fixture->engine).users, 0);
}

/* The daemon dies so many milliseconds after the reader came, for each of them up to the lease. */
static void crash_at_any_step_leaks_nothing(void **state)
{
	for (int64_t after = 0; after < 600; after += 3) {
		struct fixture *fixture = fixture_new(fixture_plain);
		struct reader reader;

		fixture_run(fixture, SECOND_MS);
		fixture_read(fixture, &reader);
		fixture_run(fixture, after);
		reader_finish(&reader);
		fixture_restart(fixture, fixture_plain, false);

		struct lease *lease = fixture_lease(fixture);

		lease_unref(lease);
		fixture_run(fixture, 40 * MINUTE_MS);
		assert_int_equal(fixture->cloud.n_users, 0);
		assert_true(list_empty(&fixture->disk.records));
		fixture_free(fixture);
	}
}

static void readers_are_served_while_iam_cannot_be_listed(void **state)
{
	struct fixture *fixture = *state;

	fixture->bad_op = PROVIDER_LIST_USERS;
	fixture->n_bad = 1000000;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	fixture_restart(fixture, fixture_plain, false);
	lease_unref(fixture_lease(fixture));

	char *status = engine_status_text(fixture->engine, "a", "dev");

	assert_non_null(strstr(status, "cannot be listed"));
	free(status);
}

static void make_stray(struct fixture *fixture, const char *name, int64_t life_ms)
{
	char path[IAM_PATH_MAX];

	identity_user_path(path, "/doppler/", FIXTURE_DAEMON,
			   world_cloud_ms(&fixture->world) + life_ms);
	cloud_make_user(&fixture->cloud, name, path);
}

static void unknown_user_under_our_path_is_removed_at_its_paths_end(void **state)
{
	struct fixture *fixture = *state;

	make_stray(fixture, "Doppler-Dynamic-AAAAAAAAAAAAA", 20 * MINUTE_MS);
	make_stray(fixture, "Doppler-Dynamic-BBBBBBBBBBBBB", -20 * MINUTE_MS);
	make_stray(fixture, "somebody-else", -20 * MINUTE_MS);
	fixture->cloud.empty_pages = true;
	fixture->cloud.page = 1;
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_null(cloud_user(&fixture->cloud, "Doppler-Dynamic-BBBBBBBBBBBBB"));
	assert_non_null(cloud_user(&fixture->cloud, "Doppler-Dynamic-AAAAAAAAAAAAA"));
	assert_int_equal(engine_left(fixture->engine).users, 1);
	fixture_run(fixture, 20 * MINUTE_MS);
	assert_null(cloud_user(&fixture->cloud, "Doppler-Dynamic-AAAAAAAAAAAAA"));
	assert_non_null(cloud_user(&fixture->cloud, "somebody-else"));
	assert_non_null(strstr(fixture->log, "somebody-else"));
}

static void user_of_another_daemon_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	char path[IAM_PATH_MAX];

	identity_user_path(path, "/doppler/", "fedcba9876543210",
			   world_cloud_ms(&fixture->world) - 60 * MINUTE_MS);
	cloud_make_user(&fixture->cloud, "Doppler-Dynamic-CCCCCCCCCCCCC", path);
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, 10 * MINUTE_MS);
	engine_revoke_all(fixture->engine, "unmount");
	fixture_run(fixture, 10 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 1);
}

static void lost_journal_is_rebuilt_from_iam(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture_crash(fixture);
	disk_damage(&fixture->disk);
	fixture_restart(fixture, fixture_plain, true);
	assert_int_equal(engine_left(fixture->engine).users, 1); /* nobody knows, so not 0 */
	fixture_run(fixture, 5 * SECOND_MS);
	assert_non_null(disk_by_user(&fixture->disk, lease->user));
	assert_int_equal(engine_left(fixture->engine).users, 1);
	engine_revoke_all(fixture->engine, "unmount");
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
	lease_unref(lease);
}

static void journalled_user_not_in_iam_is_forgotten_only_after_a_second_look(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture_run(fixture, MINUTE_MS);
	fixture_crash(fixture);
	cloud_remove_user(&fixture->cloud, fixture_only_user(fixture));
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, 30 * SECOND_MS);
	assert_false(list_empty(&fixture->disk.records));
	fixture_run(fixture, 3 * MINUTE_MS);
	assert_true(list_empty(&fixture->disk.records));
	assert_int_equal(engine_left(fixture->engine).users, 0);
}

static void list_that_does_not_show_the_newest_forgets_no_live_lease(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease;

	lease = fixture_lease(fixture);
	fixture->cloud.consistency_ms = 15 * SECOND_MS;
	fixture_restart(fixture, fixture_plain, false);
	fixture_run(fixture, 5 * MINUTE_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	assert_non_null(disk_by_user(&fixture->disk, lease->user));
	lease_unref(lease);
}

static void record_of_an_unknown_integration_is_kept_and_told(void **state)
{
	static const char other[] =
		"{\"integrations\": {\"other\": {\"type\": \"aws-iam\", \"credentials\": "
		"{\"source\": \"static\", \"access_key_id\": \"AKIA0000000000000000\", "
		"\"secret_access_key\": \"x\"}}}, \"projects\": {\"a\": {\"dev\": {}}}}";
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture_restart(fixture, other, false);
	fixture_run(fixture, 60 * MINUTE_MS);
	assert_false(list_empty(&fixture->disk.records));

	struct catalog *back = fixture_catalog(fixture_plain);

	engine_reload(fixture->engine, back);
	catalog_unref(back);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(live_lease_is_adopted_until_its_ttl),
		TEST(adopted_lease_is_not_handed_out_and_counts),
		TEST(kept_lease_is_handed_out_as_before),
		TEST(kept_lease_of_a_changed_policy_has_no_new_readers),
		TEST(kept_lease_whose_renewal_was_cut_off_ends_at_the_end_that_was_told),
		TEST(kept_lease_is_renewed_with_its_secret),
		TEST(adopted_lease_ends_by_awss_clock_not_by_the_local_one),
		TEST(expired_while_no_daemon_ran_is_removed_at_once),
		TEST(unmount_after_a_restart_does_not_wait_for_calls_that_were_all_answered),
		TEST(create_user_that_a_dead_daemon_lost_makes_no_user_that_is_forgotten),
		cmocka_unit_test(crash_at_any_step_leaks_nothing),
		TEST(readers_are_served_while_iam_cannot_be_listed),
		TEST(unknown_user_under_our_path_is_removed_at_its_paths_end),
		TEST(user_of_another_daemon_is_left_alone),
		TEST(lost_journal_is_rebuilt_from_iam),
		TEST(journalled_user_not_in_iam_is_forgotten_only_after_a_second_look),
		TEST(list_that_does_not_show_the_newest_forgets_no_live_lease),
		TEST(record_of_an_unknown_integration_is_kept_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
