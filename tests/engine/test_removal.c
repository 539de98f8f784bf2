#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/alloc.h"
#include "lease/secret.h"
#include "tests/engine/fixture.h"

static void key_and_policy_go_at_the_ttl_then_the_user(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);

	fixture->calls[0] = '\0';
	fixture_run(fixture, lease->expire_at - fixture->world.now_at - 1);
	assert_int_equal(fixture->n_ended, 0);
	fixture_run(fixture, 1);
	assert_int_equal(fixture->n_ended, 1); /* before any call has been answered */
	assert_int_equal(fixture->n_gone, 0);
	fixture_run(fixture, SECOND_MS);
	assert_string_equal(fixture->calls, "ListUsers Remove Remove DeleteUser ");
	assert_string_equal(fixture->last_reason, "expired");
	assert_int_equal(fixture->n_gone, 1);
	assert_null(fixture_only_user(fixture));
	assert_true(list_empty(&fixture->disk.records));
	lease_unref(lease);
}

static void whatever_hangs_on_the_user_is_found_and_removed(void **state)
{
	static const char *const names[ATTACHMENT_KINDS] = {
		"AKIAOTHER", "other", "arn:policy", "group", "", "arn:mfa", "cert", "ssh", "cred",
	};
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct cloud_user *user = fixture_only_user(fixture);

	for (int kind = 0; kind < ATTACHMENT_KINDS; kind++)
		cloud_put(&fixture->cloud, user, (enum provider_attachment)kind, names[kind]);
	fixture_run(fixture, 32 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	lease_unref(lease);
}

static void user_that_somebody_removed_is_gone_too(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	cloud_remove_user(&fixture->cloud, fixture_only_user(fixture));
	fixture_run(fixture, 31 * MINUTE_MS);
	assert_int_equal(fixture->n_gone, 1);
	assert_true(list_empty(&fixture->disk.records));
}

/* IAM may be unreachable for days. */
static void key_of_an_ended_lease_is_wiped_though_its_user_stays(void **state)
{
	struct fixture *fixture = *state;
	size_t before = secret_arena_used();

	lease_unref(fixture_lease(fixture));
	assert_true(secret_arena_used() > before);
	fixture->bad_op = PROVIDER_DELETE_USER;
	fixture->n_bad = 200;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	fixture_run(fixture, 32 * MINUTE_MS);
	assert_non_null(fixture_only_user(fixture));
	assert_int_equal(secret_arena_used(), before);
}

static void removal_is_retried_for_as_long_as_the_user_exists(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture->bad_op = PROVIDER_DELETE_USER;
	fixture->n_bad = 200;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	fixture_run(fixture, 32 * MINUTE_MS);

	char *status = engine_status_text(fixture->engine, "a", "dev");

	assert_non_null(strstr(status, "AccessDenied"));
	assert_non_null(strstr(status, "calls have failed"));
	assert_non_null(strstr(fixture->log, "is still to be removed"));
	free(status);
	assert_non_null(fixture_only_user(fixture));
	fixture_run(fixture, 24 * HOUR_MS);
	assert_null(fixture_only_user(fixture));
}

static bool is_mfa_list(const struct provider_call *call)
{
	return call->attachment == ATTACHMENT_MFA_DEVICE;
}

static void list_that_is_denied_keeps_no_user_alive(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	cloud_put(&fixture->cloud, fixture_only_user(fixture), ATTACHMENT_ACCESS_KEY, "AKIAOTHER");
	fixture->bad_op = PROVIDER_LIST;
	fixture->n_bad = 1000;
	fixture->is_bad = is_mfa_list;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	fixture_run(fixture, 40 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
}

static void user_not_shown_yet_is_looked_for_again(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	struct dsec_error err;

	/* A copy that has not heard of the user says NoSuchEntity to everything. */
	fixture->bad_op = PROVIDER_DELETE_USER;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){
		.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_NO_SUCH_ENTITY};
	assert_int_equal(engine_revoke(fixture->engine, lease->id, &err), 0);
	fixture_run(fixture, 10 * SECOND_MS);
	assert_non_null(fixture_only_user(fixture));
	assert_false(list_empty(&fixture->disk.records));
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_null(fixture_only_user(fixture));
	assert_true(list_empty(&fixture->disk.records));
	lease_unref(lease);
}

static void lost_create_keeps_its_intent_until_a_later_look(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;

	/* The answer is lost, and the effect comes after the reader has gone and all is revoked. */
	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1;
	fixture->bad = (struct cloud_fate){.latency_ms = 5000,
					   .fails = true,
					   .kind = DSEC_ERROR_TIMEOUT,
					   .ambiguous = true,
					   .effect = true,
					   .effect_delay_ms = 35000};
	fixture_read(fixture, &reader);
	fixture_run(fixture, SECOND_MS);
	engine_revoke_all(fixture->engine, "unmount");
	assert_true(reader.answered);
	fixture_run(fixture, 30 * SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_int_equal(engine_left(fixture->engine).users, 1);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
	assert_int_equal(engine_left(fixture->engine).users, 0);
}

static const char managed[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}}, "
	"\"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": {\"AWS_USER\": {\"integration\": "
	"\"aws\", \"policy_arns\": [\"arn:aws:iam::aws:policy/A\"]}}}}}}";

/* Its managed policy was never attached, which IAM's NoSuchEntity does not tell for as long as the
 * user is young: until then the Deny stays, and with it the user. Not for longer: the backoff of
 * its attempts must not go beyond that moment. */
static void half_made_user_goes_as_soon_as_it_is_known_to_have_no_policy(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct fixture *fixture = fixture_new(managed);
		struct reader reader;

		fixture->world.chance = seed;
		fixture->bad_op = PROVIDER_CREATE_KEY;
		fixture->n_bad = 1;
		fixture->bad = (struct cloud_fate){
			.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
		fixture_read(fixture, &reader);
		fixture_run(fixture, SECOND_MS);
		assert_true(reader.answered);
		assert_null(reader.lease);
		fixture_run(fixture, 50 * SECOND_MS);
		assert_int_equal(cloud_count(fixture_only_user(fixture), ATTACHMENT_INLINE_POLICY),
				 1);
		fixture_run(fixture, 12 * SECOND_MS);
		assert_null(fixture_only_user(fixture));
		assert_true(list_empty(&fixture->disk.records));
		fixture_free(fixture);
	}
}

static bool no_user_left(struct fixture *fixture)
{
	return engine_left(fixture->engine).users == 0;
}

static void a_line_that_a_slow_disk_still_holds_is_not_nothing_left(void **state)
{
	struct fixture *fixture = *state;

	lease_unref(fixture_lease(fixture));
	fixture->disk.delay_min_ms = fixture->disk.delay_max_ms = 5 * SECOND_MS;
	engine_revoke_all(fixture->engine, "unmount");
	assert_true(fixture_until(fixture, no_user_left));
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_false(list_empty(&fixture->disk.records));
	assert_int_equal(engine_left(fixture->engine).lines, 1);
	fixture_run(fixture, MINUTE_MS);
	assert_true(list_empty(&fixture->disk.records));
	assert_int_equal(engine_left(fixture->engine).lines, 0);
}

static const char many[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"rate\": 1000, \"credentials\": "
	"{\"source\": \"static\", \"access_key_id\": \"AKIA0000000000000000\", "
	"\"secret_access_key\": \"x\"}}}, \"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": "
	"{\"AWS_USER\": {\"integration\": \"aws\", \"scope\": \"user\", \"max_leases\": 5000, "
	"\"max_rate\": \"5000/s\", \"policy\": {\"Version\": \"2012-10-17\", \"Statement\": "
	"[{\"Effect\": \"Allow\", \"Action\": \"ec2:*\", \"Resource\": \"*\"}]}}}}}}}";

#define MANY 5000

static void answered(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	*(size_t *)arg += err == NULL;
}

static size_t lease_many(struct fixture *fixture)
{
	size_t served = 0;

	for (uid_t uid = 0; uid < MANY; uid++) {
		const struct acquire asked = {.project = "a",
					      .config = "dev",
					      .secrets = 1,
					      .holders = {[SCOPE_USER] = uid + 1}};

		engine_acquire(fixture->engine, &asked, answered, &served);
		if (uid % 10 == 0)
			fixture_run(fixture, 50);
	}
	fixture_run(fixture, 29 * SECOND_MS);
	return served;
}

static void spoil_some(struct fixture *fixture)
{
	size_t i = 0;

	list_each (at, &fixture->cloud.users) {
		struct cloud_user *user = container_of(at, struct cloud_user, link);

		if (i % 20 == 0)
			cloud_remove_user(&fixture->cloud, user);
		else if (i % 20 == 1)
			cloud_put(&fixture->cloud, user, ATTACHMENT_ACCESS_KEY, "AKIAOTHER");
		i++;
	}
}

static bool keys_are_gone(struct fixture *fixture)
{
	return engine_left(fixture->engine).keys == 0;
}

static bool nothing_is_left(struct fixture *fixture)
{
	return engine_left(fixture->engine).users == 0;
}

static void five_thousand_users_are_revoked_whatever_some_answer(void **state)
{
	struct fixture *fixture = *state;

	fixture_restart(fixture, many, false);
	assert_int_equal(lease_many(fixture), MANY);
	spoil_some(fixture);
	fixture->bad_op = PROVIDER_REMOVE;
	fixture->n_bad = MANY / 10;
	fixture->bad = (struct cloud_fate){
		.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_BUSY, .ambiguous = true};
	engine_revoke_all(fixture->engine, "unmount");
	assert_int_equal(engine_left(fixture->engine).total, MANY);
	assert_true(engine_left(fixture->engine).estimate_ms > 0);
	assert_true(fixture_until(fixture, keys_are_gone));
	assert_true(engine_left(fixture->engine).users > MANY * 9 / 10); /* keys first */
	assert_true(fixture_until(fixture, nothing_is_left));
	fixture_run(fixture, SECOND_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
	assert_true(list_empty(&fixture->disk.records));
}

static void nobody_is_leased_to_after_the_end_has_begun(void **state)
{
	struct fixture *fixture = *state;
	struct reader waiting, late;

	fixture_read(fixture, &waiting);
	fixture_run(fixture, 30);
	engine_revoke_all(fixture->engine, "unmount");
	assert_true(waiting.answered);
	assert_null(waiting.lease);
	fixture_read(fixture, &late);
	assert_true(late.answered);
	assert_null(late.lease);
	fixture_run(fixture, 2 * MINUTE_MS);
	assert_int_equal(fixture->cloud.n_users, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_line_that_a_slow_disk_still_holds_is_not_nothing_left),
		TEST(key_and_policy_go_at_the_ttl_then_the_user),
		TEST(whatever_hangs_on_the_user_is_found_and_removed),
		TEST(user_that_somebody_removed_is_gone_too),
		cmocka_unit_test(half_made_user_goes_as_soon_as_it_is_known_to_have_no_policy),
		TEST(key_of_an_ended_lease_is_wiped_though_its_user_stays),
		TEST(removal_is_retried_for_as_long_as_the_user_exists),
		TEST(list_that_is_denied_keeps_no_user_alive),
		TEST(user_not_shown_yet_is_looked_for_again),
		TEST(lost_create_keeps_its_intent_until_a_later_look),
		TEST(five_thousand_users_are_revoked_whatever_some_answer),
		TEST(nobody_is_leased_to_after_the_end_has_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
