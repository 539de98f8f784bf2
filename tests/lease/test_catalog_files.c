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

#define CASES_MAX 512
#define TEXT_MAX  65536

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

/* A member that is added to the configuration needs an example of its misuse. */
static void every_member_has_a_wrong_example(void **state)
{
	static const char *const members[] = {
		"integrations",
		"type",
		"credentials",
		"source",
		"access_key_id",
		"secret_access_key",
		"secret_access_key_file",
		"session_token",
		"profile",
		"shared_credentials_file",
		"config_file",
		"command",
		"region",
		"endpoint",
		"sts_endpoint",
		"ca_file",
		"path",
		"rate",
		"verify",
		"expiry_in_policy",
		"projects",
		"environment",
		"secrets",
		"dynamic_secrets",
		"access",
		"user",
		"group",
		"mode",
		"allow",
		"uids",
		"gids",
		"units",
		"containers",
		"hide",
		"integration",
		"policy",
		"policy_file",
		"ttl",
		"max_ttl",
		"min_validity",
		"policy_arns",
		"permissions_boundary",
		"tags",
		"scope",
		"warm",
		"max_leases",
		"max_rate",
		"on_rotate",
		"signal",
		"read_timeout",
		"unmount_timeout",
		"api",
		"listen",
		"admin_group",
		"audit",
		"file",
	};
	bool seen[sizeof(members) / sizeof(members[0])] = {false};

	for (const struct CMUnitTest *test = *state; test->name; test++) {
		int result;
		char *text = problems_of(test->name, &result);
		for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
			char in_path[64], at_top[64];
			snprintf(in_path, sizeof(in_path), ".%s: ", members[i]);
			snprintf(at_top, sizeof(at_top), ": %s: ", members[i]);
			seen[i] = seen[i] || strstr(text, in_path) || strstr(text, at_top);
		}
		free(text);
	}
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (!seen[i])
			fail_msg("no file in config/bad is wrong at %s", members[i]);
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
	add_folder(tests, &n, "bad", is_refused);
	add_folder(tests, &n, "good", loads);
	int failed = _cmocka_run_group_tests("catalog files", tests, n, fixture_open_arena,
					     fixture_close_arena);
	for (size_t i = 0; i < n_bad; i++)
		free((char *)bad[i].name);
	for (size_t i = 1; i < n; i++)
		free((char *)tests[i].name);
	return failed;
}
