/*
 * What the program frees is blank, whoever frees it: this one is linked with dsec's free(3), and
 * looks for a text that was in memory and should not be any more.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <sqlite3.h>

#include "tests/lib/cmocka_skip.h"

#define TEXT_SIZE   48
#define CHUNK       (1024ul * 1024)
#define MAPPING_MAX (1ul << 32) /* more is a sanitizer's, which holds no text */

static unsigned attempt;

/* What the search itself needs. Not on the stack, which AddressSanitizer may have elsewhere. */
static char chunk[CHUNK + TEXT_SIZE + 1], *const text = chunk + CHUNK;

static bool is_own(unsigned long from, unsigned long to)
{
	unsigned long first = (unsigned long)chunk, last = (unsigned long)text;

	return (from <= first && first < to) || (from <= last && last < to);
}

/* Made anew for each test, so that what one has left is not found by the next. */
static void write_text(char to[TEXT_SIZE + 1])
{
	for (int i = 0; i < TEXT_SIZE; i++)
		to[i] = (char)('!' + (i * 7 + (int)attempt * 13) % 90);
	to[TEXT_SIZE] = '\0';
}

/* How often the text occurs in a mapping, but for its first half, which malloc writes to. */
static size_t count_in(int memory, unsigned long from, unsigned long to, const char *half)
{
	size_t found = 0;

	/* Overlapping by less than the text, so that each place of it is in one chunk whole. */
	for (unsigned long at = from; at < to; at += CHUNK - (TEXT_SIZE / 2 - 1)) {
		unsigned long left = to - at;
		ssize_t n = pread(memory, chunk, left < CHUNK ? left : CHUNK, (off_t)at);
		for (char *in = chunk;
		     n > 0 && (in = memmem(in, (size_t)(chunk + n - in), half, TEXT_SIZE / 2));
		     in++)
			found++;
	}
	return found;
}

/* "FROM-TO rwxp …" */
static bool writable(char *line, unsigned long *ret_from, unsigned long *ret_to)
{
	char *rest;

	*ret_from = strtoul(line, &rest, 16);
	if (*rest != '-')
		return false;
	*ret_to = strtoul(rest + 1, &rest, 16);
	return rest[0] == ' ' && rest[1] && rest[2] == 'w';
}

/* In all that can be written but the stack. What is the search's own is left out. */
static size_t copies(const char *half)
{
	char line[512];
	unsigned long from, to;
	size_t found = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_non_null(maps);
	assert_true(memory >= 0);
	while (fgets(line, sizeof(line), maps))
		if (writable(line, &from, &to) && to - from < MAPPING_MAX &&
		    !strstr(line, "[stack]") && !is_own(from, to))
			found += count_in(memory, from, to, half);
	fclose(maps);
	close(memory);
	memset(chunk, 0, CHUNK);
	return found;
}

static void assert_gone(size_t before)
{
	write_text(text);
	assert_int_equal(before, 1);
	assert_int_equal(copies(text + TEXT_SIZE / 2), 0);
}

static size_t copies_now(void)
{
	write_text(text);
	return copies(text + TEXT_SIZE / 2);
}

static int begin(void **state)
{
	attempt++;
	return 0;
}

static void freed_block_is_blank(void **state)
{
	char *block = malloc(TEXT_SIZE + 1);

	write_text(block);
	size_t before = copies_now();
	free(block);
	assert_gone(before);
}

static void block_that_moves_leaves_nothing_behind(void **state)
{
	char *block = malloc(TEXT_SIZE + 1), *fence = malloc(64);

	write_text(block);
	size_t before = copies_now();
	block = realloc(block, 200000);
	assert_int_equal(copies_now(), 1);
	block = reallocarray(block, 3, 200000);
	assert_int_equal(copies_now(), 1);
	block = realloc(block, 10);
	assert_non_null(block);
	assert_gone(before);
	free(block);
	free(fence);
}

static void stream_leaves_nothing_behind(void **state)
{
	char name[] = "/tmp/dsec-freed-XXXXXX", *line = NULL;
	size_t size = 0;
	FILE *stream = fdopen(mkstemp(name), "w+");

	assert_non_null(stream);
	unlink(name);
	write_text(text);
	fputs(text, stream);
	size_t before = copies_now();
	rewind(stream);
	assert_int_equal(getline(&line, &size, stream), TEXT_SIZE);
	free(line);
	fclose(stream);
	assert_gone(before);
}

static void database_leaves_nothing_behind(void **state)
{
	sqlite3 *db;
	sqlite3_stmt *statement;

	write_text(text);
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?)", -1, &statement, NULL),
			 SQLITE_OK);
	sqlite3_bind_text(statement, 1, text, -1, SQLITE_TRANSIENT);
	assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
	assert_true(copies_now() >= 1);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	assert_gone(1);
}

static void json_leaves_nothing_behind(void **state)
{
	char *dump;
	json_t *value;

	write_text(text);
	value = json_string(text);
	dump = json_dumps(value, JSON_ENCODE_ANY);
	assert_true(copies_now() >= 1);
	free(dump);
	json_decref(value);
	assert_gone(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(freed_block_is_blank, begin),
		cmocka_unit_test_setup(block_that_moves_leaves_nothing_behind, begin),
		cmocka_unit_test_setup(stream_leaves_nothing_behind, begin),
		cmocka_unit_test_setup(database_leaves_nothing_behind, begin),
		cmocka_unit_test_setup(json_leaves_nothing_behind, begin),
	};

	if (under_valgrind()) {
		puts("1..0 # SKIP valgrind's allocator takes the place of the one that wipes");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
