#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "aws/aws.h"
#include "aws/skew.h"

#define NOW    1645000000000LL
#define MINUTE 60000LL

static void an_unknown_difference_is_none(void **state)
{
	struct skew skew = {0};
	struct dsec_error err;

	assert_int_equal(skew_signing_time(&skew, NOW), NOW);
	assert_int_equal(skew_explains(&skew, NOW, NOW, &err), 0);
	skew_learn(&skew, 0, NOW); /* an answer without a Date */
	assert_false(skew.known);
}

static void seconds_are_left_as_they_are(void **state)
{
	struct skew skew = {0};
	struct dsec_error err;

	skew_learn(&skew, NOW + MINUTE, NOW);
	assert_int_equal(skew_signing_time(&skew, NOW), NOW);
	assert_int_equal(skew_explains(&skew, NOW, NOW, &err), 0);
}

static void minutes_are_mended_both_ways(void **state)
{
	for (int64_t by = -AWS_SKEW_MEND_MAX_MS; by <= AWS_SKEW_MEND_MAX_MS;
	     by += 2 * AWS_SKEW_MEND_MAX_MS) {
		struct skew skew = {0};
		struct dsec_error err;

		skew_learn(&skew, NOW + by, NOW);
		assert_int_equal(skew_signing_time(&skew, NOW + 5), NOW + 5 + by);
		assert_true(skew_explains(&skew, NOW, NOW, &err) < 0);
		assert_int_equal(err.kind, DSEC_ERROR_BUSY);
		/* What was signed right is refused for another reason. */
		assert_int_equal(skew_explains(&skew, NOW + by, NOW, &err), 0);
	}
}

static void more_is_a_broken_clock_and_the_sentence_names_both(void **state)
{
	struct skew skew = {0};
	struct dsec_error err;

	skew_learn(&skew, NOW + AWS_SKEW_MEND_MAX_MS + 1000, NOW);
	assert_int_equal(skew_signing_time(&skew, NOW), NOW);
	assert_true(skew_explains(&skew, NOW, NOW, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_CLOCK_SKEW);
	assert_non_null(strstr(err.message, "2022-02-16T08:26:40.000Z"));
	assert_non_null(strstr(err.message, "2022-02-16T08:41:41.000Z"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_difference_is_none),
		cmocka_unit_test(seconds_are_left_as_they_are),
		cmocka_unit_test(minutes_are_mended_both_ways),
		cmocka_unit_test(more_is_a_broken_clock_and_the_sentence_names_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
