/*
 * The allocator calls free() through __wrap_free here, which looks at what is being freed.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/wipe.h"

static void *watched;
static unsigned freed;
static bool was_blank;

void __real_free(void *bytes);
void __wrap_free(void *bytes);

void __wrap_free(void *bytes)
{
	if (bytes && bytes == watched) {
		const unsigned char *at = bytes;

		freed++;
		was_blank = true;
		for (size_t i = 0; i < malloc_usable_size(bytes); i++)
			was_blank = was_blank && at[i] == 0;
	}
	__real_free(bytes);
}

static void watch(void *bytes)
{
	watched = bytes;
	freed = 0;
}

static void what_is_freed_is_blank(void **state)
{
	char *bytes = wipe_malloc(100);

	memset(bytes, 's', 100);
	watch(bytes);
	wipe_free(bytes);
	assert_int_equal(freed, 1);
	assert_true(was_blank);
	wipe_free(NULL);
}

static void what_is_moved_leaves_nothing_behind(void **state)
{
	char *bytes = wipe_strdup("a secret that grows"), *grown;

	watch(bytes);
	grown = wipe_realloc(bytes, 100000);
	assert_int_equal(freed, 1);
	assert_true(was_blank);
	assert_string_equal(grown, "a secret that grows");
	wipe_free(grown);
}

static void what_shrinks_is_blank_beyond_its_end(void **state)
{
	char *bytes = wipe_malloc(1000), *shrunk;

	memset(bytes, 's', 1000);
	shrunk = wipe_realloc(bytes, 10);
	assert_ptr_equal(bytes, shrunk);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(bytes[i], i < 10 ? 's' : 0);
	watch(shrunk);
	assert_null(wipe_realloc(shrunk, 0));
	assert_int_equal(freed, 1);
	assert_true(was_blank);
}

static void it_allocates_as_malloc_does(void **state)
{
	char *bytes = wipe_realloc(NULL, 10);

	assert_non_null(bytes);
	wipe_free(bytes);
	bytes = wipe_calloc(10, 10);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(bytes[i], 0);
	wipe_free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_freed_is_blank),
		cmocka_unit_test(what_is_moved_leaves_nothing_behind),
		cmocka_unit_test(what_shrinks_is_blank_beyond_its_end),
		cmocka_unit_test(it_allocates_as_malloc_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
