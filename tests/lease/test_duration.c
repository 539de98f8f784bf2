#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lease/duration.h"

static void a_duration_means_what_dopplers_client_means(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{"3h", 10800000},
		{"90s", 90000},
		{"30m", 1800000},
		{"1h30m", 5400000},
		{"1.5h", 5400000},
		{"1500ms", 1500},
		{"0", 0},
		{"+0", 0},
		{"-0", 0},
		{"0s", 0},
		{"-0s", 0},
		{"+5m", 300000},
		{".5s", 500},
		{"1.s", 1000},
		{"1m1h", 3660000},
		{"999us", 0},
		{"1000us", 1},
		{"1000\xc2\xb5s", 1},
		{"1000\xce\xbcs", 1},
		{"1999999ns", 1},
		{"0.3333333333333333333333333333333h", 1199999},
		{"8784h", DURATION_MAX_MS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;
		if (duration_parse(cases[i].text, strlen(cases[i].text), &ms) != 0 ||
		    ms != cases[i].ms)
			fail_msg("\"%s\" was read as %lld", cases[i].text, (long long)ms);
	}
}

static void a_mistyped_duration_is_never_guessed(void **state)
{
	static const char *const cases[] = {
		"",       "h",
		"3",      "3d",
		"3H",     "+",
		"-",      ".",
		".s",     " 3s",
		"3 s",    "3s 4",
		"1h3",    "1h-30m",
		"1..5h",  "--1s",
		"0x10s",  "1e3s",
		"3sm",    "\xb5s",
		"1\xb5s", "99999999999999999999x",
		"infs",   "00",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;
		if (duration_parse(cases[i], strlen(cases[i]), &ms) != -EINVAL || ms != -1)
			fail_msg("\"%s\" was read as %lld", cases[i], (long long)ms);
	}
}

static void an_endless_duration_does_not_wrap_round(void **state)
{
	static const char *const cases[] = {
		"-5m",
		"-1ns",
		"8785h",
		"8784h1ms",
		"9223372036854775807s",
		"18446744073709551616ns",
		"99999999999999999999999999h",
		"8784h8784h",
		"5124095h5124095h5124095h5124095h5124095h",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;
		if (duration_parse(cases[i], strlen(cases[i]), &ms) != -ERANGE || ms != -1)
			fail_msg("\"%s\" was read as %lld", cases[i], (long long)ms);
	}
}

static void only_the_given_bytes_are_read(void **state)
{
	int64_t ms;

	assert_int_equal(duration_parse("3hours", 2, &ms), 0);
	assert_int_equal(ms, 10800000);
	assert_int_equal(duration_parse("30s\0s", 5, &ms), -EINVAL);
}

static void what_is_shown_reads_back_the_same(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{0, "0s"},         {5400000, "1h30m"},      {1800000, "30m"},
		{90000, "1m30s"},  {1500, "1.5s"},          {1, "1ms"},
		{250, "250ms"},    {1010, "1.01s"},         {3600001, "1h1ms"},
		{43200000, "12h"}, {3661001, "1h1m1.001s"}, {DURATION_MAX_MS, "8784h"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[DURATION_TEXT_MAX];
		int64_t ms;
		duration_format(text, cases[i].ms);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(duration_parse(text, strlen(text), &ms), 0);
		assert_int_equal(ms, cases[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_duration_means_what_dopplers_client_means),
		cmocka_unit_test(a_mistyped_duration_is_never_guessed),
		cmocka_unit_test(an_endless_duration_does_not_wrap_round),
		cmocka_unit_test(only_the_given_bytes_are_read),
		cmocka_unit_test(what_is_shown_reads_back_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
