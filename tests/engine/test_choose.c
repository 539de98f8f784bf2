#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lease/engine.h"

#define MINUTE INT64_C(60000)

/* A lease of 30 minutes that is to be rotated after 15. */
static struct lease lease_from(const char *id, int64_t start_at)
{
	struct lease lease = {
		.start_at = start_at,
		.rotate_at = start_at + 15 * MINUTE,
		.expire_at = start_at + 30 * MINUTE,
	};

	snprintf(lease.id, sizeof(lease.id), "%s", id);
	return lease;
}

static void newest_with_enough_life_is_chosen(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 10 * MINUTE);
	const struct lease *both[] = {&old, &new};
	const struct lease *turned[] = {&new, &old};

	assert_ptr_equal(lease_choose(both, 2, NULL, 0, 11 * MINUTE, NULL), &new);
	assert_ptr_equal(lease_choose(turned, 2, NULL, 0, 11 * MINUTE, NULL), &new);
	assert_ptr_equal(lease_choose(both, 1, NULL, 0, 14 * MINUTE, NULL), &old);
}

static void none_is_chosen_when_too_little_is_left(void **state)
{
	const struct lease old = lease_from("old", 0);
	const struct lease *one[] = {&old};
	int64_t until;

	assert_null(lease_choose(one, 1, NULL, 0, 15 * MINUTE, &until));
	assert_int_equal(until, 15 * MINUTE);
	assert_null(lease_choose(NULL, 0, NULL, 0, 0, NULL));
}

static void a_pair_of_reads_is_not_split_by_a_rotation(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 15 * MINUTE);
	const struct lease *both[] = {&old, &new};
	int64_t first_at = 15 * MINUTE - 1000, second_at = 15 * MINUTE + 2000, until;

	assert_ptr_equal(lease_choose(both, 1, NULL, 0, first_at, NULL), &old);
	assert_ptr_equal(lease_choose(both, 2, &old, first_at, second_at, &until), &old);
	assert_int_equal(until, second_at);
	assert_ptr_equal(lease_choose(both, 2, NULL, 0, second_at, NULL), &new);
}

static void an_old_read_does_not_bind(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 5 * MINUTE);
	const struct lease *both[] = {&old, &new};
	int64_t read_at = 6 * MINUTE;

	assert_ptr_equal(lease_choose(both, 2, &old, read_at, read_at + LEASE_STICKY_MS, NULL),
			 &old);
	assert_ptr_equal(lease_choose(both, 2, &old, read_at, read_at + LEASE_STICKY_MS + 1, NULL),
			 &new);
}

static void a_poller_cannot_hold_a_lease_for_ever(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 15 * MINUTE);
	const struct lease *both[] = {&old, &new};

	for (int64_t every = 1; every < LEASE_STICKY_MS; every *= 3) {
		int64_t at = 14 * MINUTE;

		while (lease_choose(both, 2, &old, at - every, at, NULL) == &old)
			at += every;
		assert_true(at <= old.rotate_at + LEASE_STICKY_GRACE_MS);
	}
}

static void the_window_is_whole_at_first_and_shrinks_to_nothing(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 15 * MINUTE);
	const struct lease *both[] = {&old, &new};
	int64_t whole_until = old.rotate_at + LEASE_STICKY_GRACE_MS / 6;
	int64_t half_at = old.rotate_at + LEASE_STICKY_GRACE_MS * 7 / 12;

	assert_ptr_equal(
		lease_choose(both, 2, &old, whole_until - LEASE_STICKY_MS, whole_until, NULL),
		&old);
	assert_ptr_equal(lease_choose(both, 2, &old, half_at - 5000, half_at, NULL), &old);
	assert_ptr_equal(lease_choose(both, 2, &old, half_at - 5001, half_at, NULL), &new);
}

static void a_revoked_lease_does_not_stick(void **state)
{
	const struct lease gone = lease_from("gone", 0), new = lease_from("new", 1000);
	const struct lease *one[] = {&new};

	assert_ptr_equal(lease_choose(one, 1, &gone, 2000, 3000, NULL), &new);
}

static void a_renewed_version_takes_the_old_ones_place(void **state)
{
	const struct lease read = lease_from("same", 0);
	struct lease renewed = read;
	const struct lease *one[] = {&renewed};

	renewed.generation = 7;
	renewed.rotate_at += MINUTE;
	renewed.expire_at += MINUTE;
	assert_ptr_equal(lease_choose(one, 1, &read, 1000, 2000, NULL), &renewed);
}

static void a_dead_lease_is_never_chosen(void **state)
{
	const struct lease old = lease_from("old", 0);
	const struct lease *one[] = {&old};

	assert_null(lease_choose(one, 1, &old, old.expire_at - 1, old.expire_at, NULL));
}

static void the_kernel_may_keep_an_answer_only_while_it_is_everybodys(void **state)
{
	const struct lease old = lease_from("old", 0), new = lease_from("new", 10 * MINUTE);
	const struct lease *both[] = {&old, &new};
	int64_t until;

	lease_choose(both, 1, NULL, 0, MINUTE, &until);
	assert_int_equal(until, old.rotate_at);
	lease_choose(both, 2, NULL, 0, 11 * MINUTE, &until); /* somebody may stick to the old one */
	assert_int_equal(until, 11 * MINUTE);
	lease_choose(both, 2, NULL, 0, 17 * MINUTE, &until); /* nobody can any more */
	assert_int_equal(until, new.rotate_at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(newest_with_enough_life_is_chosen),
		cmocka_unit_test(none_is_chosen_when_too_little_is_left),
		cmocka_unit_test(a_pair_of_reads_is_not_split_by_a_rotation),
		cmocka_unit_test(an_old_read_does_not_bind),
		cmocka_unit_test(a_poller_cannot_hold_a_lease_for_ever),
		cmocka_unit_test(the_window_is_whole_at_first_and_shrinks_to_nothing),
		cmocka_unit_test(a_revoked_lease_does_not_stick),
		cmocka_unit_test(a_renewed_version_takes_the_old_ones_place),
		cmocka_unit_test(a_dead_lease_is_never_chosen),
		cmocka_unit_test(the_kernel_may_keep_an_answer_only_while_it_is_everybodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
