#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/fixture.h"

static void reload(struct fixture *fixture, const char *json)
{
	struct catalog *catalog = fixture_catalog(json);

	engine_reload(fixture->engine, catalog);
	catalog_unref(catalog);
}

static int64_t policy_end(struct fixture *fixture)
{
	return cloud_thing(fixture_only_user(fixture), ATTACHMENT_INLINE_POLICY, NULL)->deny_ms;
}

/* Renewal. */

static void renewal_moves_journal_policy_and_lease_but_not_the_path(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture), *renewed;
	char path[IAM_PATH_MAX];
	struct dsec_error err;

	snprintf(path, sizeof(path), "%s", fixture_only_user(fixture)->path);
	fixture_run(fixture, 20 * MINUTE_MS);
	assert_int_equal(engine_renew(fixture->engine, lease->id, 60 * MINUTE_MS, &err), 0);
	fixture_run(fixture, 5 * SECOND_MS);
	renewed = fixture_lease(fixture);
	assert_string_equal(renewed->id, lease->id);
	assert_true(renewed->generation > lease->generation);
	assert_in_range(renewed->expire_at - fixture->world.now_at, 59 * MINUTE_MS, 60 * MINUTE_MS);
	assert_in_range(policy_end(fixture) - renewed->expires_ms, 0, 999);
	assert_int_equal(disk_by_user(&fixture->disk, lease->user)->expires_ms,
			 renewed->expires_ms);
	assert_string_equal(fixture_only_user(fixture)->path, path);
	fixture_run(fixture, 30 * MINUTE_MS);
	assert_non_null(fixture_only_user(fixture));
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	lease_unref(lease);
	lease_unref(renewed);
}

static void renewal_ends_at_max_ttl(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct cloud_user *user = fixture_only_user(fixture);
	struct dsec_error err;

	for (int i = 0; i < 30; i++) {
		engine_renew(fixture->engine, lease->id, 11 * HOUR_MS, &err);
		fixture_run(fixture, 20 * MINUTE_MS);
	}
	assert_in_range(policy_end(fixture), user->created_ms + 12 * HOUR_MS - MINUTE_MS,
			user->created_ms + 12 * HOUR_MS);
	fixture_run(fixture, 12 * HOUR_MS);
	assert_null(fixture_only_user(fixture));
	lease_unref(lease);
}

static void policy_never_outlives_what_the_journal_knows(struct fixture *fixture,
							 struct cloud_user *user,
							 enum provider_op op)
{
	const struct journal_record *line = disk_by_user(&fixture->disk, user->name);

	if (op == PROVIDER_PUT_POLICY)
		assert_true(policy_end(fixture) < line->expires_ms + SECOND_MS);
}

static void crash_within_a_renewal_is_safe(void **state)
{
	for (int64_t after = 0; after < 60; after += 2) {
		struct fixture *fixture = fixture_new(fixture_plain);
		struct lease *lease = fixture_lease(fixture);
		struct dsec_error err;

		fixture->watch = policy_never_outlives_what_the_journal_knows;
		assert_int_equal(engine_renew(fixture->engine, lease->id, 60 * MINUTE_MS, &err), 0);
		fixture_run(fixture, after);
		fixture_restart(fixture, fixture_plain, false);
		fixture_run(fixture, 61 * MINUTE_MS);
		assert_int_equal(fixture->cloud.n_users, 0);
		lease_unref(lease);
		fixture_free(fixture);
	}
}

static void renewal_that_the_journal_refuses_changes_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct dsec_error err;

	fixture->disk.full = true;
	assert_int_equal(engine_renew(fixture->engine, lease->id, 60 * MINUTE_MS, &err), 0);
	fixture_run(fixture, 5 * SECOND_MS);
	assert_in_range(policy_end(fixture) - lease->expires_ms, 0, 999);
	assert_non_null(strstr(fixture->log, "is not renewed"));
	fixture->disk.full = false;
	fixture_run(fixture, 30 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	lease_unref(lease);
}

static void what_cannot_be_renewed_says_why(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct dsec_error err;

	assert_true(engine_renew(fixture->engine, "no-such-lease", MINUTE_MS, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_NOT_CONFIGURED);
	assert_true(engine_renew(fixture->engine, lease->id, 1, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_INVALID);
	assert_int_equal(engine_revoke(fixture->engine, lease->id, &err), 0);
	assert_true(engine_renew(fixture->engine, lease->id, MINUTE_MS, &err) < 0);
	lease_unref(lease);
}

static void adopted_lease_can_be_renewed_for_whoever_holds_its_key(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct dsec_error err;

	fixture_restart(fixture, fixture_plain, false);
	assert_int_equal(engine_renew(fixture->engine, lease->id, 60 * MINUTE_MS, &err), 0);
	fixture_run(fixture, 50 * MINUTE_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	assert_int_equal(fixture->n_active, 1); /* its secret is not known: not published */
	fixture_run(fixture, 11 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	lease_unref(lease);
}

static const char other_policy[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}}, "
	"\"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": {\"AWS_USER\": {\"integration\": "
	"\"aws\", \"policy\": {\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": "
	"\"Allow\", \"Action\": \"s3:*\", \"Resource\": \"*\"}]}}}}}}}";
static const char no_secret[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}}, "
	"\"projects\": {\"a\": {\"dev\": {}}}}";
static const char no_integration[] = "{\"integrations\": {}, \"projects\": {\"a\": {\"dev\": {}}}}";

static void lease_that_somebody_holds_is_renewed_up_to_max_ttl(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture), *same;

	fixture->held = true;
	fixture_run(fixture, 11 * HOUR_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	same = fixture_lease(fixture); /* other readers are given it, too */
	assert_string_equal(same->id, lease->id);
	fixture_run(fixture, HOUR_MS + MINUTE_MS);
	assert_null(cloud_user(&fixture->cloud, lease->user));
	lease_unref(lease);
	lease_unref(same);
}

static void lease_that_nobody_holds_ends_at_its_ttl(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_in_range(fixture->n_due, 1, 20);
	assert_int_equal(fixture->cloud.n_users, 0);
}

static void lease_that_is_held_late_is_renewed_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture_run(fixture, 20 * MINUTE_MS); /* nobody held it when it was to be rotated */
	fixture->held = true;
	fixture_run(fixture, 20 * MINUTE_MS);
	assert_non_null(cloud_user(&fixture->cloud, lease->user));
	lease_unref(lease);
}

static void held_lease_of_a_changed_policy_is_not_renewed(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture->held = true;
	reload(fixture, other_policy);
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_null(cloud_user(&fixture->cloud, lease->user));
	lease_unref(lease);
}

/* Revoking. */

static void revoked_lease_is_not_handed_out_again(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture), *next;
	struct dsec_error err;

	assert_int_equal(engine_revoke(fixture->engine, lease->id, &err), 0);
	assert_int_equal(fixture->n_ended, 1);
	assert_string_equal(fixture->last_reason, "revoked");
	next = fixture_lease(fixture);
	assert_string_not_equal(next->id, lease->id);
	assert_true(engine_revoke(fixture->engine, "no-such-lease", &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_NOT_CONFIGURED);
	lease_unref(lease);
	lease_unref(next);
}

/* Reloading. */

static void changed_policy_means_new_leases_for_new_readers(void **state)
{
	struct fixture *fixture = *state;
	struct lease *old = fixture_lease(fixture), *new;

	reload(fixture, other_policy);
	assert_int_equal(fixture->n_ended, 0);
	new = fixture_lease(fixture);
	assert_string_not_equal(old->id, new->id);
	assert_non_null(cloud_user(&fixture->cloud, old->user));
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	lease_unref(old);
	lease_unref(new);
}

static void same_configuration_keeps_the_lease(void **state)
{
	struct fixture *fixture = *state;
	struct lease *old = fixture_lease(fixture), *same;

	reload(fixture, fixture_plain);
	same = fixture_lease(fixture);
	assert_ptr_equal(old, same);
	lease_unref(old);
	lease_unref(same);
}

static void removed_secret_has_its_leases_revoked(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	reload(fixture, no_secret);
	assert_int_equal(fixture->n_ended, 1);
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
}

static void removed_integration_still_removes_its_users(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	reload(fixture, no_integration);
	fixture_run(fixture, MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
	reload(fixture, fixture_plain);
	lease_unref(fixture_lease(fixture));
}

static void waiting_reader_gets_what_is_right_after_the_reload(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture_read(fixture, &reader);
	fixture_run(fixture, 70);
	reload(fixture, other_policy);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_non_null(reader.lease);
	assert_int_equal(fixture->cloud.n_users, 1);

	struct catalog *catalog = fixture_catalog(other_policy);
	size_t index;

	assert_int_equal(reader.lease->fingerprint,
			 config_dynamic(catalog_config(catalog, "a", "dev"), "AWS_USER", &index)
				 ->fingerprint);
	catalog_unref(catalog);
	reader_finish(&reader);
}

static void waiting_reader_of_a_removed_secret_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	fixture_read(fixture, &reader);
	fixture_run(fixture, 70);
	reload(fixture, no_secret);
	assert_true(reader.answered);
	assert_int_equal(reader.err.kind, DSEC_ERROR_NOT_CONFIGURED);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
}

static void suspended_machine_wakes_to_expired_leases(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture), *next;
	struct reader reader;

	fixture->world.now_at += 8 * HOUR_MS;
	fixture_read(fixture, &reader);
	assert_false(reader.answered); /* the old one is dead, tick or no tick */
	fixture_run(fixture, 10 * SECOND_MS);
	next = reader.lease;
	assert_string_not_equal(lease->id, next->id);
	assert_int_equal(fixture->cloud.n_users, 1);
	lease_unref(lease);
	reader_finish(&reader);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(renewal_moves_journal_policy_and_lease_but_not_the_path),
		TEST(renewal_ends_at_max_ttl),
		cmocka_unit_test(crash_within_a_renewal_is_safe),
		TEST(renewal_that_the_journal_refuses_changes_nothing),
		TEST(lease_that_somebody_holds_is_renewed_up_to_max_ttl),
		TEST(lease_that_nobody_holds_ends_at_its_ttl),
		TEST(lease_that_is_held_late_is_renewed_all_the_same),
		TEST(held_lease_of_a_changed_policy_is_not_renewed),
		TEST(what_cannot_be_renewed_says_why),
		TEST(adopted_lease_can_be_renewed_for_whoever_holds_its_key),
		TEST(revoked_lease_is_not_handed_out_again),
		TEST(changed_policy_means_new_leases_for_new_readers),
		TEST(same_configuration_keeps_the_lease),
		TEST(removed_secret_has_its_leases_revoked),
		TEST(removed_integration_still_removes_its_users),
		TEST(waiting_reader_gets_what_is_right_after_the_reload),
		TEST(waiting_reader_of_a_removed_secret_is_told),
		TEST(suspended_machine_wakes_to_expired_leases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
