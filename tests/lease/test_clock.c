#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "lease/clock.h"

/* 2022-02-15T17:04:54.782Z, the time in Doppler's own documentation. */
#define DOPPLER_MS INT64_C(1644944694782)

static void iso_form_is_dopplers(void **state)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, DOPPLER_MS);
	assert_string_equal(text, "2022-02-15T17:04:54.782Z");
	clock_iso(text, 0);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	clock_iso(text, INT64_C(951782400005)); /* a leap day of a year that 100 divides */
	assert_string_equal(text, "2000-02-29T00:00:00.005Z");
}

static void time_before_the_epoch_is_not_mirrored(void **state)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, -1);
	assert_string_equal(text, "1969-12-31T23:59:59.999Z");
	clock_iso(text, -1000);
	assert_string_equal(text, "1969-12-31T23:59:59.000Z");
	clock_compact(text, -1500);
	assert_string_equal(text, "19691231T235959Z");
}

/* A user's last end, read back from its path, must not lie before the true one. */
static void compact_form_is_never_early(void **state)
{
	char text[CLOCK_COMPACT_MAX];
	int64_t back;

	clock_compact(text, DOPPLER_MS);
	assert_string_equal(text, "20220215T170455Z");
	for (int64_t ms = DOPPLER_MS - 2000; ms < DOPPLER_MS + 2000; ms++) {
		clock_compact(text, ms);
		assert_int_equal(clock_parse_compact(text, &back), 0);
		assert_true(back >= ms);
		assert_true(back - ms < 1000);
	}
}

static void compact_form_comes_back(void **state)
{
	char text[CLOCK_COMPACT_MAX];
	int64_t back;

	/* Steps of some 11 days over 60 years. */
	for (int64_t ms = 0; ms < INT64_C(1893456000000); ms += INT64_C(987654000)) {
		clock_compact(text, ms);
		assert_int_equal(clock_parse_compact(text, &back), 0);
		assert_int_equal(back, ms);
	}
	assert_int_equal(clock_parse_compact("20240229T235959Z", &back), 0);
	assert_int_equal(clock_parse_compact("99991231T235959Z", &back), 0);
}

/* What a sweep takes for an end decides over a user. */
static void what_is_not_exactly_a_time_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		"20220215",
		"20220215T170454",
		"20220215T170454ZZ",
		"20220215T170454z",
		"20220215 170454Z",
		"20220215T170454+",
		"2022021５T1704Z", /* a digit, but not an ASCII one */
		"+0220215T170454Z",
		" 0220215T170454Z",
		"-0010215T170454Z",
		"20220015T170454Z",
		"20221315T170454Z",
		"20220200T170454Z",
		"20220230T170454Z",
		"20230229T170454Z",
		"20220215T240000Z",
		"20220215T176054Z",
		"20220215T170460Z",
		"202202 5T170454Z",
		"2022-2-5T170454Z",
		"0x220215T170454Z",
	};
	int64_t back = 42;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (clock_parse_compact(wrong[i], &back) != -EINVAL)
			fail_msg("'%s' was read as a time", wrong[i]);
		assert_int_equal(back, 42);
	}
}

/* Whoever formats DSEC_NEVER gets a late time, and no garbage. */
static void times_beyond_the_year_9999_stay_times(void **state)
{
	static const int64_t far[] = {INT64_C(253402300800000), INT64_C(1) << 60, INT64_MAX,
				      INT64_MIN, -INT64_C(62167219200001)};
	char iso[CLOCK_ISO_MAX], compact[CLOCK_COMPACT_MAX];
	int64_t back;

	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		memset(iso, 'x', sizeof(iso));
		memset(compact, 'x', sizeof(compact));
		clock_iso(iso, far[i]);
		clock_compact(compact, far[i]);
		assert_int_equal(strnlen(iso, sizeof(iso)), CLOCK_ISO_MAX - 1);
		assert_int_equal(clock_parse_compact(compact, &back), 0);
		assert_true(far[i] < 0 ? back >= far[i] : back == INT64_C(253402300799000));
	}
}

static void boottime_runs_forward(void **state)
{
	int64_t before = system_clock.boottime_at(&system_clock);
	int64_t after = system_clock.boottime_at(&system_clock);

	assert_true(before > 0);
	assert_true(after >= before);
	assert_true(after - before < 60000);
	assert_true(system_clock.calendar_ms(&system_clock) > INT64_C(1700000000000));
}

static void random_bytes_fill_all_and_differ(void **state)
{
	unsigned char bytes[4][600];

	memset(bytes, 0, sizeof(bytes));
	for (size_t i = 0; i < 4; i++)
		system_clock.random_bytes(&system_clock, bytes[i], sizeof(bytes[i]));
	for (size_t at = 0; at + 8 <= sizeof(bytes[0]); at += 8) {
		/* Eight zeroes in a row: once in 2^64 tries. */
		assert_true(memcmp(bytes[0] + at, "\0\0\0\0\0\0\0", 8) != 0);
		assert_true(memcmp(bytes[0] + at, bytes[1] + at, 8) != 0);
	}
	assert_true(memcmp(bytes[2], bytes[3], sizeof(bytes[2])) != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iso_form_is_dopplers),
		cmocka_unit_test(time_before_the_epoch_is_not_mirrored),
		cmocka_unit_test(compact_form_is_never_early),
		cmocka_unit_test(compact_form_comes_back),
		cmocka_unit_test(what_is_not_exactly_a_time_is_refused),
		cmocka_unit_test(times_beyond_the_year_9999_stay_times),
		cmocka_unit_test(boottime_runs_forward),
		cmocka_unit_test(random_bytes_fill_all_and_differ),
	};
	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
