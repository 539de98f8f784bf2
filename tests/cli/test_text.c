/* What the command reads and writes as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_edit.h"
#include "cli/lease_table.h"
#include "cli/lease_watch.h"
#include "cli/names.h"
#include "cli/source.h"
#include "cli/values.h"
#include "cli/words.h"

/* doppler.yaml */

static int parse(struct names *names, const char *text, const char *below, struct dsec_error *err)
{
	return repository_parse(names, text, strlen(text), "doppler.yaml", below, err);
}

static void repository_that_says_nothing_names_nothing(void **state)
{
	static const char *const texts[] = {"",
					    "# nothing\n",
					    "{}",
					    "flags: {}\n",
					    "setup: {}\n",
					    "setup: []\n",
					    "setup:\n  project:\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct names names;
		struct dsec_error err;

		assert_int_equal(parse(&names, texts[i], "", &err), 0);
		assert_string_equal(names.project, "");
		assert_string_equal(names.config, "");
	}
}

static void hostile_repository_is_refused(void **state)
{
	char text[4096] = "setup: {project: ";
	struct names names;
	struct dsec_error err;

	size_t n = strlen(text);
	memset(text + n, 'x', 2000);
	snprintf(text + n + 2000, sizeof(text) - n - 2000, "}\n");
	assert_true(parse(&names, text, "", &err) < 0);
	assert_true(parse(&names, "setup: {project: \"a\\0b\"}\n", "", &err) < 0);
	assert_true(parse(&names, "setup: &a {project: *a}\n", "", &err) < 0);
	assert_true(parse(&names, "a: \xff", "", &err) < 0);
	assert_true(parse(&names, "setup: [[[[[[[[[[[[", "", &err) < 0);
}

static void path_of_a_list_is_not_the_beginning_of_a_name(void **state)
{
	static const char text[] = "setup:\n- {project: a, config: a, path: web}\n"
				   "- {project: b, config: b, path: ./web/api/}\n";
	struct names names;
	struct dsec_error err;

	assert_int_equal(parse(&names, text, "web", &err), 0);
	assert_string_equal(names.project, "a");
	assert_int_equal(parse(&names, text, "web/api/x", &err), 0);
	assert_string_equal(names.project, "b");
	assert_int_equal(parse(&names, text, "website", &err), 0);
	assert_string_equal(names.project, "");
}

/* Adding to a JSON text. */

static char *add(const char *text, const char *const *path, size_t n_path, const char *value)
{
	json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);
	struct dsec_error err;
	char *edited = NULL;

	if (json_edit_add(&edited, text, strlen(text), path, n_path, json, &err) < 0)
		edited = NULL;
	json_decref(json);
	return edited;
}

static void assert_added(const char *text, const char *value, const char *expected)
{
	static const char *const path[] = {"a", "b"};
	char *edited = add(text, path, 2, value);

	assert_non_null(edited);
	assert_string_equal(edited, expected);
	free(edited);
}

static void member_is_added_in_the_style_of_the_text(void **state)
{
	assert_added("{}\n", "1", "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n");
	assert_added("{\"x\":1}", "{\"y\":[]}", "{\"x\":1, \"a\": {\"b\": {\"y\": []}}}");
	assert_added("{\"a\": {\"c\": \"}\\\"{\"}}", "1", "{\"a\": {\"c\": \"}\\\"{\", \"b\": 1}}");
	assert_added("{\n\t\"a\": {\n\t\t\"c\": [\n\t\t\t{}\n\t\t]\n\t}\n}", "{\"y\": {\"z\": 1}}",
		     "{\n\t\"a\": {\n\t\t\"c\": [\n\t\t\t{}\n\t\t],\n\t\t\"b\": {\n\t\t\t\"y\": {\n"
		     "\t\t\t\t\"z\": 1\n\t\t\t}\n\t\t}\n\t}\n}");
	assert_added("{\n    \"a\": {}\n}\n", "\"\\u00e9\"",
		     "{\n    \"a\": {\n        \"b\": \"\xc3\xa9\"\n    }\n}\n");
}

static void member_that_is_there_or_cannot_be_is_refused(void **state)
{
	static const char *const path[] = {"a", "b"};

	assert_null(add("{\"a\": {\"b\": 1}}", path, 2, "2"));
	assert_null(add("{\"a\": 1}", path, 2, "2"));
	assert_null(add("[]", path, 2, "2"));
	assert_null(add("{", path, 2, "2"));
	assert_null(add("{\"a\": {}, \"a\": {}}", path, 2, "2"));
}

/* Leases. */

static void assert_time(int64_t seconds, const char *expected)
{
	char text[LEASE_TIME_MAX];

	lease_time_text(text, seconds);
	assert_string_equal(text, expected);
}

static void time_is_read_at_a_glance(void **state)
{
	assert_time(-1, "-");
	assert_time(0, "0s");
	assert_time(59, "59s");
	assert_time(61, "1m 1s");
	assert_time(1800, "30m");
	assert_time(INT64_C(11525), "3h 12m");
	assert_time(INT64_C(25) * 3600, "1d 1h");
	assert_time(INT64_MAX, "7300d 15h");
}

static void bar_is_full_at_first_and_empty_at_the_end(void **state)
{
	char text[LEASE_BAR_MAX];

	lease_bar_text(text, 1800, 1800);
	assert_string_equal(text, "██████████");
	lease_bar_text(text, 1, 1800);
	assert_string_equal(text, "█░░░░░░░░░");
	lease_bar_text(text, 0, 1800);
	assert_string_equal(text, "░░░░░░░░░░");
	lease_bar_text(text, -5, 0);
	assert_string_equal(text, "░░░░░░░░░░");
	lease_bar_text(text, 3600, 1800);
	assert_string_equal(text, "██████████");
}

static void ends_of_a_lease_are_found_in_its_status(void **state)
{
	static const char text[] =
		"AWS (integration main): 1 active, 1 of at most 100 users\n    user: active\n"
		"      lease 1-2, from 2026-11-29T19:00:00.000Z to 2026-11-29T19:30:00.000Z, at "
		"the "
		"latest 2026-11-30T07:00:00.500Z\n";
	int64_t end, last;

	assert_int_equal(lease_watch_ends(text, "1-2", &end, &last), 0);
	assert_int_equal(last - end, 11 * 3600 + 1800);
	assert_int_equal(lease_watch_ends(text, "1-", &end, &last), -ENOENT);
	assert_int_equal(lease_watch_ends("      lease 1-2, from x", "1-2", &end, &last), -ENOENT);
	assert_int_equal(lease_watch_ends("", "1-2", &end, &last), -ENOENT);
}

/* Words. */

static void ttl_is_read_as_dopplers_command_reads_it(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} cases[] = {
		{NULL, 0},          {"3h", 10800000}, {"1h30m", 5400000}, {"1.5h", 5400000},
		{"10500ms", 10000}, {"0", 0},         {"0s", 0},          {"-5m", 0},
		{"500ms", 0},       {"3", -1},        {"3d", -1},         {"3H", -1},
		{"", -1},           {"9s", -1},       {"99999h", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;
		struct dsec_error err;

		if (source_ttl(&ms, cases[i].text, &err) < 0)
			ms = -1;
		assert_int_equal(ms, cases[i].ms);
	}
}

static void names_of_a_list_are_taken_without_blanks(void **state)
{
	const char *at = " A, B,,C ,";
	char name[VALUES_NAME_MAX];

	assert_string_equal(values_next_name(&at, name), "A");
	assert_string_equal(values_next_name(&at, name), "B");
	assert_string_equal(values_next_name(&at, name), "C");
	assert_null(values_next_name(&at, name));
}

static void overlong_name_of_a_list_is_cut_and_no_more(void **state)
{
	char list[2 * VALUES_NAME_MAX], name[VALUES_NAME_MAX];
	const char *at = list;

	memset(list, 'A', sizeof(list));
	list[sizeof(list) - 1] = '\0';
	assert_int_equal(strlen(values_next_name(&at, name)), VALUES_NAME_MAX - 1);
	assert_null(values_next_name(&at, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repository_that_says_nothing_names_nothing),
		cmocka_unit_test(hostile_repository_is_refused),
		cmocka_unit_test(path_of_a_list_is_not_the_beginning_of_a_name),
		cmocka_unit_test(member_is_added_in_the_style_of_the_text),
		cmocka_unit_test(member_that_is_there_or_cannot_be_is_refused),
		cmocka_unit_test(time_is_read_at_a_glance),
		cmocka_unit_test(bar_is_full_at_first_and_empty_at_the_end),
		cmocka_unit_test(ends_of_a_lease_are_found_in_its_status),
		cmocka_unit_test(ttl_is_read_as_dopplers_command_reads_it),
		cmocka_unit_test(names_of_a_list_are_taken_without_blanks),
		cmocka_unit_test(overlong_name_of_a_list_is_cut_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
