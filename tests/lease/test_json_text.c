#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lease/json_text.h"

static const char text[] = "\n{\n"
			   "  \"a\": {\"x\": \"}{\\\"\", \"b\": [1, [2, \"]\"], {\"c\": null}]},\n"
			   "  \"\\u0062\\n\": true,\n"
			   "  \"b\": -1.5e3,\n"
			   "  \"b\": 2\n"
			   "}\n";

/* Where it leads is told by what stands there. */
static void assert_leads_to(const struct json_step *steps, size_t n, const char *expected)
{
	size_t offset = json_locate(text, strlen(text), steps, n);

	assert_true(offset + strlen(expected) <= strlen(text));
	assert_memory_equal(text + offset, expected, strlen(expected));
}

#define KEY(name)                                                                                  \
	{                                                                                          \
		.key = (name)                                                                      \
	}
#define ELEMENT(i)                                                                                 \
	{                                                                                          \
		.index = (i)                                                                       \
	}
#define ASSERT_LEADS_TO(expected, ...)                                                             \
	assert_leads_to((const struct json_step[]){__VA_ARGS__},                                   \
			sizeof((const struct json_step[]){__VA_ARGS__}) /                          \
				sizeof(struct json_step),                                          \
			expected)

static void a_path_leads_to_its_member(void **state)
{
	assert_leads_to(NULL, 0, "{\n  \"a\"");
	ASSERT_LEADS_TO("\"a\":", KEY("a"));
	ASSERT_LEADS_TO("\"b\": [", KEY("a"), KEY("b"));
	ASSERT_LEADS_TO("1,", KEY("a"), KEY("b"), ELEMENT(0));
	ASSERT_LEADS_TO("\"]\"]", KEY("a"), KEY("b"), ELEMENT(1), ELEMENT(1));
	ASSERT_LEADS_TO("\"c\": null", KEY("a"), KEY("b"), ELEMENT(2), KEY("c"));
	ASSERT_LEADS_TO("\"b\": -1.5e3", KEY("b"));
}

static void a_name_with_escapes_is_the_name_it_means(void **state)
{
	ASSERT_LEADS_TO("\"\\u0062\\n\"", KEY("b\n"));
}

static void a_path_that_leads_nowhere_ends_where_it_could(void **state)
{
	ASSERT_LEADS_TO("{\n  \"a\"", KEY("nothing"));
	ASSERT_LEADS_TO("\"b\": [", KEY("a"), KEY("b"), ELEMENT(3));
	ASSERT_LEADS_TO("\"b\": [", KEY("a"), KEY("b"), KEY("c"));
	ASSERT_LEADS_TO("\"b\": -1", KEY("b"), KEY("c"));
}

static void a_line_is_counted_from_one(void **state)
{
	assert_int_equal(json_line("", 0, 0), 1);
	assert_int_equal(json_line("a\nb\nc", 5, 0), 1);
	assert_int_equal(json_line("a\nb\nc", 5, 1), 1);
	assert_int_equal(json_line("a\nb\nc", 5, 2), 2);
	assert_int_equal(json_line("a\nb\nc", 5, 100), 3);
}

/* Cut anywhere, in memory of that size alone, so that a step too far is seen by the sanitizer. */
static void a_text_that_is_cut_is_not_read_beyond(void **state)
{
	static const struct json_step steps[] = {KEY("a"), KEY("b"), ELEMENT(2), KEY("c")};
	static const struct json_step escaped[] = {KEY("b\n"), KEY("c")};

	for (size_t n = 0; n <= strlen(text); n++) {
		char *cut = test_malloc(n ? n : 1);
		memcpy(cut, text, n);
		assert_true(json_locate(cut, n, steps, 4) <= n);
		assert_true(json_locate(cut, n, escaped, 2) <= n);
		test_free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_leads_to_its_member),
		cmocka_unit_test(a_name_with_escapes_is_the_name_it_means),
		cmocka_unit_test(a_path_that_leads_nowhere_ends_where_it_could),
		cmocka_unit_test(a_line_is_counted_from_one),
		cmocka_unit_test(a_text_that_is_cut_is_not_read_beyond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
