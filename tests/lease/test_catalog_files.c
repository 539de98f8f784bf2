/*
 * test_catalog_files.c: each configuration in config/bad gives exactly the text beside it, each in
 * config/good loads, with the warnings beside it if there are any. A case is two files; one whose
 * name begins with "public-" is read as a file that others than its owner may read. The secrets in
 * all of them begin with "hunter2" or "wJalr", and no text may show these.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lease/catalog_fixture.h"

#define CASES_MAX   512
#define MEMBERS_MAX 128
#define TEXT_MAX    65536

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, TEXT_MAX);

	assert_non_null(text);
	if (file) {
		size_t n = fread(text, 1, TEXT_MAX - 1, file);
		assert_true(n < TEXT_MAX - 1);
		fclose(file);
	}
	return text;
}

/* Loads config/NAME.json and returns the text of its problems. */
static char *problems_of(const char *name, int *ret_result)
{
	static struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog = NULL;
	char path[512], *text = calloc(1, TEXT_MAX);

	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/%s.json", CONFIG_FOLDER, name);
	char *json = read_whole(path);
	fixture_system(&system);
	*ret_result = catalog_parse(&catalog, json, strlen(json), "/etc/dsec/dsec.json",
				    strstr(name, "/public-") == NULL, &system, &problems);
	assert_int_equal(*ret_result == 0, catalog != NULL);
	free(json);
	catalog_unref(catalog);

	size_t n = 0;
	for (size_t i = 0; i < problems.n; i++) {
		catalog_problem_text(&problems.at[i], "dsec.json", text + n, TEXT_MAX - n - 1);
		n += strlen(text + n);
		text[n++] = '\n';
	}
	if (problems.more > 0)
		snprintf(text + n, TEXT_MAX - n, "and %zu more\n", problems.more);
	return text;
}

static void check(const char *name, int expected_result)
{
	char path[512];
	int result;

	snprintf(path, sizeof(path), "%s/%s.txt", CONFIG_FOLDER, name);
	char *expected = read_whole(path), *text = problems_of(name, &result);
	bool same = result == expected_result && strcmp(text, expected) == 0;
	bool leaks = strstr(text, "hunter2") || strstr(text, "wJalr");
	/* cmocka's own messages are cut. */
	if (!same)
		fprintf(stderr, "%s.json gives %d and\n%s\nand not\n%s\n", name, result, text,
			expected);
	free(text);
	free(expected);
	assert_true(same);
	assert_false(leaks);
}

static void is_refused(void **state)
{
	check(*state, -EINVAL);
}

static void loads(void **state)
{
	check(*state, 0);
}

/* The members that a configuration can have, as the reader itself tells them: one object of each
 * kind, with a member in it that none has. */
static const char every_object[] =
	"{\"?\": 0, \"api\": {\"?\": 0}, \"audit\": {\"?\": 0},"
	" \"integrations\": {"
	"  \"a\": {\"?\": 0, \"credentials\": {\"source\": \"static\", \"?\": 0}},"
	"  \"b\": {\"credentials\": {\"source\": \"environment\", \"?\": 0}},"
	"  \"c\": {\"credentials\": {\"source\": \"profile\", \"?\": 0}},"
	"  \"d\": {\"credentials\": {\"source\": \"process\", \"?\": 0}}},"
	" \"projects\": {\"p\": {\"c\": {\"?\": 0, \"access\": {\"?\": 0, \"allow\": {\"?\": 0}},"
	"  \"dynamic_secrets\": {\"S\": {\"?\": 0, \"on_rotate\": {\"?\": 0}}}}}}}";
#define N_OBJECTS 13

struct members {
	char name[MEMBERS_MAX][64];
	size_t n;
};

static bool has_member(const struct members *members, const char *name)
{
	for (size_t i = 0; i < members->n; i++)
		if (strcmp(members->name[i], name) == 0)
			return true;
	return false;
}

static void add_member(struct members *members, const char *name, size_t n)
{
	char copy[sizeof(members->name[0])];

	assert_true(n < sizeof(copy));
	snprintf(copy, sizeof(copy), "%.*s", (int)n, name);
	if (has_member(members, copy))
		return;
	assert_true(members->n < MEMBERS_MAX);
	memcpy(members->name[members->n++], copy, sizeof(copy));
}

static struct members members_of_the_reader(void)
{
	static const char before[] = "known here are ";
	static struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog = NULL;
	struct members members = {.n = 0};
	size_t n_objects = 0;

	fixture_system(&system);
	assert_int_equal(catalog_parse(&catalog, every_object, strlen(every_object), "dsec.json",
				       true, &system, &problems),
			 -EINVAL);
	for (size_t i = 0; i < problems.n; i++) {
		const char *at = strstr(problems.at[i].message, before);
		if (!at)
			continue;
		n_objects++;
		for (at += strlen(before); *at; at += strspn(at, ", ")) {
			size_t n = strcspn(at, ",");
			add_member(&members, at, n);
			at += n;
		}
	}
	assert_int_equal(n_objects, N_OBJECTS);
	return members;
}

static void every_member_has_a_wrong_example(void **state)
{
	struct members members = members_of_the_reader();
	bool seen[MEMBERS_MAX] = {false};

	for (const struct CMUnitTest *test = *state; test->name; test++) {
		int result;
		char *text = problems_of(test->name, &result);
		for (size_t i = 0; i < members.n; i++) {
			char in_path[80], at_top[80];
			snprintf(in_path, sizeof(in_path), ".%s: ", members.name[i]);
			snprintf(at_top, sizeof(at_top), ": %s: ", members.name[i]);
			seen[i] = seen[i] || strstr(text, in_path) || strstr(text, at_top);
		}
		free(text);
	}
	for (size_t i = 0; i < members.n; i++)
		if (!seen[i])
			fail_msg("no file in config/bad is wrong at %s", members.name[i]);
}

/* Members stand in bold in it, and so does nothing else that looks like one, but for other pages,
 * whose names a section follows. */
static void manual_knows_every_member_and_no_other(void **state)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
	struct members members = members_of_the_reader(), described = {.n = 0};
	char *manual = read_whole(CONFIG_FOLDER "/../../../man/dsec.json.5.scd");

	for (const char *at = strchr(manual, '*'); at; at = strchr(at, '*')) {
		size_t n = strspn(++at, letters);
		if (n > 0 && at[n] == '*' && at[n + 1] != '(')
			add_member(&described, at, n);
		at += n;
	}
	free(manual);
	for (size_t i = 0; i < members.n; i++)
		if (!has_member(&described, members.name[i]))
			fail_msg("dsec.json(5) does not describe %s", members.name[i]);
	for (size_t i = 0; i < described.n; i++)
		if (!has_member(&members, described.name[i]))
			fail_msg("dsec.json(5) describes %s, which is no member",
				 described.name[i]);
}

static int compare_tests(const void *a, const void *b)
{
	return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

/* One test a file in the folder; the list's end is a test without a name. */
static void add_folder(struct CMUnitTest *tests, size_t *n, const char *folder,
		       CMUnitTestFunction test)
{
	char path[512];
	struct dirent *entry;
	size_t first = *n;

	snprintf(path, sizeof(path), "%s/%s", CONFIG_FOLDER, folder);
	DIR *dir = opendir(path);
	if (!dir)
		abort();
	while ((entry = readdir(dir))) {
		char *name, *end = strstr(entry->d_name, ".json");
		if (!end || *n + 2 >= CASES_MAX)
			continue;
		if (asprintf(&name, "%s/%.*s", folder, (int)(end - entry->d_name), entry->d_name) <
		    0)
			abort();
		tests[(*n)++] = (struct CMUnitTest){name, test, NULL, NULL, name};
	}
	closedir(dir);
	qsort(tests + first, *n - first, sizeof(*tests), compare_tests);
}

int main(void)
{
	static struct CMUnitTest bad[CASES_MAX], tests[CASES_MAX];
	size_t n_bad = 0, n = 0;

	add_folder(bad, &n_bad, "bad", is_refused);
	tests[n++] = (struct CMUnitTest){"every_member_has_a_wrong_example",
					 every_member_has_a_wrong_example, NULL, NULL, bad};
	tests[n++] = (struct CMUnitTest){"manual_knows_every_member_and_no_other",
					 manual_knows_every_member_and_no_other, NULL, NULL, NULL};
	size_t n_named = n;
	add_folder(tests, &n, "bad", is_refused);
	add_folder(tests, &n, "good", loads);
	int failed = _cmocka_run_group_tests("catalog files", tests, n, fixture_open_arena,
					     fixture_close_arena);
	for (size_t i = 0; i < n_bad; i++)
		free((char *)bad[i].name);
	for (size_t i = n_named; i < n; i++)
		free((char *)tests[i].name);
	return failed;
}
