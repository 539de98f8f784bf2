/*
 * A text with secrets in it leaves nothing behind, and shows itself to nobody while it is written.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lease/scratch.h"
#include "lease/secret.h"
#include "lease/secret_arena.h"
#include "tests/lib/cmocka_skip.h"

#define THREADS 4
#define ROUNDS  2000

static bool is_blank(const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

static void what_was_written_is_not_found_by_the_next(void **state)
{
	static const size_t sizes[] = {1, 4096, 16384, 16385, 100000, 5000000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int again = 0; again < 20; again++) {
			size_t size = sizes[i];
			unsigned char *bytes = scratch_new(&size);
			assert_non_null(bytes);
			assert_true(size >= sizes[i]);
			assert_true(is_blank(bytes, size));
			memset(bytes, 's', size);
			scratch_free(bytes, size);
		}
	scratch_free(NULL, 0);
}

static void it_cannot_be_read_from_outside(void **state)
{
	char byte;
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	if (strcmp(secret_arena_kind(), "memfd_secret") != 0)
		skip_because("there is no memfd_secret(2) here");
	for (size_t wanted = 1; wanted < 1000000; wanted *= 100) {
		size_t size = wanted;
		void *bytes = scratch_new(&size);
		assert_int_equal(pread(memory, &byte, 1, (off_t)(uintptr_t)bytes), -1);
		scratch_free(bytes, size);
	}
	close(memory);
}

static void *write_and_look(void *arg)
{
	unsigned char mark = *(unsigned char *)arg;

	for (int i = 0; i < ROUNDS; i++) {
		size_t sizes[3] = {100, 100, i % 50 == 0 ? 40000 : 100};
		unsigned char *bytes[3];

		for (int j = 0; j < 3; j++) {
			bytes[j] = scratch_new(&sizes[j]);
			if (!bytes[j] || !is_blank(bytes[j], 100))
				return NULL;
			memset(bytes[j], mark, 100);
		}
		for (int j = 0; j < 3; j++) {
			for (int k = 0; k < 100; k++)
				if (bytes[j][k] != mark)
					return NULL;
			scratch_free(bytes[j], sizes[j]);
		}
	}
	return arg;
}

static void no_two_threads_are_given_the_same(void **state)
{
	unsigned char marks[THREADS] = {1, 2, 3, 4};
	pthread_t threads[THREADS];
	void *result;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_look, &marks[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		assert_ptr_equal(result, &marks[i]);
	}
}

static void too_much_is_refused(void **state)
{
	size_t size = SIZE_MAX - 1;

	assert_null(scratch_new(&size));
}

static int begin(void **state)
{
	return secret_arena_init(65536, NULL);
}

static int finish(void **state)
{
	secret_arena_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_not_found_by_the_next),
		cmocka_unit_test(it_cannot_be_read_from_outside),
		cmocka_unit_test(no_two_threads_are_given_the_same),
		cmocka_unit_test(too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, begin, finish);
}
