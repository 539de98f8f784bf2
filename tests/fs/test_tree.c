#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/path.h"
#include "fs/tree.h"
#include "tests/fs/sample.h"

#define ARENA_SIZE (1024ul * 1024)

static struct tree *grow(const char *region)
{
	struct catalog *catalog = sample_catalog(region);
	struct tree *tree;

	assert_int_equal(tree_new(&tree, catalog, "1.2", 0, NULL), 0);
	catalog_unref(catalog);
	return tree;
}

static const struct entry *find(const struct tree *tree, const char *config, const char *file)
{
	return entry_child(entry_child(entry_child(tree_root(tree), "app"), config), file);
}

static void a_format_has_the_name_of_the_format(void **state)
{
	struct tree *tree = grow("eu");

	for (int format = 0; format < FORMATS; format++) {
		char name[32];
		snprintf(name, sizeof(name), ".%s",
			 download_format_name((enum download_format)format));
		const struct entry *entry = find(tree, "dev", name);
		assert_non_null(entry);
		assert_int_equal(entry->kind, ENTRY_FORMAT);
		assert_int_equal(entry->format, format);
	}
	tree_unref(tree);
}

static void a_file_needs_the_leases_of_what_is_in_it(void **state)
{
	struct tree *tree = grow("eu");
	const struct entry *aws = find(tree, "two", ".aws");

	assert_int_equal(find(tree, "two", ".json")->secrets, 3);
	assert_int_equal(find(tree, "two", "AWS_ONE_ARN")->secrets, 1);
	assert_int_equal(find(tree, "two", "AWS_TWO_ARN")->secrets, 2);
	assert_int_equal(entry_child(entry_child(aws, "AWS_TWO"), "credentials")->secrets, 2);
	assert_int_equal(find(tree, "two", "DOPPLER_CONFIG")->secrets, 0);
	assert_int_equal(find(tree, "plain", ".json")->secrets, 0);
	assert_true(find(tree, "own", ".json")->scopes);
	assert_false(find(tree, "dev", ".json")->scopes);
	tree_unref(tree);
}

static void an_unleased_file_says_its_true_size(void **state)
{
	struct tree *tree = grow("eu-central");

	assert_int_equal(find(tree, "dev", "REGION")->size, strlen("eu-central"));
	assert_int_equal(find(tree, "dev", "DOPPLER_PROJECT")->size, strlen("app"));
	assert_int_equal(entry_child(entry_child(tree_root(tree), ".dsec"), "version")->size,
			 strlen("1.2\n"));
	tree_unref(tree);
}

static void equal_bytes_are_known_across_a_reload(void **state)
{
	struct tree *old = grow("eu"), *same = grow("eu"), *other = grow("us");
	uint64_t content = find(old, "dev", "REGION")->content;

	assert_int_equal(find(same, "dev", "REGION")->content, content);
	assert_int_not_equal(find(other, "dev", "REGION")->content, content);
	assert_int_equal(find(other, "plain", ".json")->content,
			 find(old, "plain", ".json")->content);
	assert_int_equal(find(other, "dev", "REGION")->ino, find(old, "dev", "REGION")->ino);
	tree_unref(old);
	tree_unref(same);
	tree_unref(other);
}

static void options_are_read_or_do_not_exist(void **state)
{
	static const struct {
		const char *name, *config;
		int64_t ttl_ms;
		bool fresh;
	} good[] = {
		{"dev", "dev", 7},
		{"dev@fresh", "dev", 0, true},
		{"dev@fresh,3h", "dev", 10800000, true},
		{"dev@3h,fresh", "dev", 10800000, true},
		{"dev@3h", "dev", 10800000},
		{"dev@1h30m", "dev", 5400000},
		{"dev@10s", "dev", 10000},
		{"d.e-v_@90s", "d.e-v_", 90000},
	};
	static const char *const bad[] = {
		"",
		"@",
		"@3h",
		"dev@",
		"dev@9s",
		"dev@9999ms",
		"dev@3d",
		"dev@3h,",
		"dev@,3h",
		"dev@3h,3h",
		"dev@3h@3h",
		"dev@-3h",
		"dev@0",
		"dev@3h ",
		"dev@fresher",
		"dev@fres",
		"dev@fresh,fresh",
		"dev@fresh,",
		"dev@1h,new",
		"dev@\xff",
		"dev@9999999h",
		"dev@00000000000000000000000000000000000000000000000000000000000000001h",
	};
	char config[CATALOG_NAME_MAX + 1], longest[CATALOG_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct path_options options = {.ttl_ms = 7};
		assert_int_equal(path_parse(good[i].name, config, &options), 0);
		assert_string_equal(config, good[i].config);
		assert_int_equal(options.ttl_ms, good[i].ttl_ms);
		assert_int_equal(options.fresh, good[i].fresh);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct path_options options = {.ttl_ms = 7};
		assert_int_equal(path_parse(bad[i], config, &options), -ENOENT);
		assert_int_equal(options.ttl_ms, 7);
	}

	struct path_options options;
	memset(longest, 'a', sizeof(longest));
	longest[CATALOG_NAME_MAX + 1] = '\0';
	assert_int_equal(path_parse(longest, config, &options), -ENOENT);
	longest[CATALOG_NAME_MAX] = '\0';
	assert_int_equal(path_parse(longest, config, &options), 0);
}

static int open_arena(void **state)
{
	return secret_arena_init(ARENA_SIZE, NULL);
}

static int close_arena(void **state)
{
	secret_arena_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_format_has_the_name_of_the_format),
		cmocka_unit_test(a_file_needs_the_leases_of_what_is_in_it),
		cmocka_unit_test(an_unleased_file_says_its_true_size),
		cmocka_unit_test(equal_bytes_are_known_across_a_reload),
		cmocka_unit_test(options_are_read_or_do_not_exist),
	};

	return cmocka_run_group_tests(tests, open_arena, close_arena);
}
