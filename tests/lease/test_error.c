#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lease/error.h"

/* The contract's table. */
static void each_kind_has_its_errno(void **state)
{
	static const struct {
		enum dsec_error_kind kind;
		int number;
	} table[] = {
		{DSEC_ERROR_FAULT, EIO},          {DSEC_ERROR_NOT_CONFIGURED, ENOENT},
		{DSEC_ERROR_NOT_ALLOWED, EACCES}, {DSEC_ERROR_TIMEOUT, ETIMEDOUT},
		{DSEC_ERROR_THROTTLED, EAGAIN},   {DSEC_ERROR_UNREACHABLE, EHOSTUNREACH},
		{DSEC_ERROR_QUOTA, EDQUOT},       {DSEC_ERROR_CREDENTIALS, EKEYREJECTED},
		{DSEC_ERROR_INTERRUPTED, EINTR},  {DSEC_ERROR_NO_SPACE, ENOSPC},
		{DSEC_ERROR_NO_SUCH_ENTITY, EIO}, {DSEC_ERROR_EXISTS, EIO},
		{DSEC_ERROR_CONFLICT, EIO},       {DSEC_ERROR_BUSY, EIO},
		{DSEC_ERROR_DENIED, EIO},         {DSEC_ERROR_INVALID, EIO},
		{DSEC_ERROR_KEY_NOT_READY, EIO},  {DSEC_ERROR_CLOCK_SKEW, EIO},
	};

	assert_int_equal(sizeof(table) / sizeof(table[0]), DSEC_ERROR_CLOCK_SKEW + 1);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(dsec_error_errno(table[i].kind), table[i].number);
		assert_int_equal(dsec_error_set(NULL, table[i].kind, "x"), -table[i].number);
	}
}

static void no_two_kinds_share_a_name(void **state)
{
	for (int i = 0; i <= DSEC_ERROR_CLOCK_SKEW; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(dsec_error_kind_name((enum dsec_error_kind)i),
						dsec_error_kind_name((enum dsec_error_kind)j));
}

static void set_leaves_nothing_of_an_older_error(void **state)
{
	struct dsec_error err = {.ambiguous = true, .code = "Throttling", .request_id = "1234"};

	dsec_error_set(&err, DSEC_ERROR_QUOTA, "%d of %s", 7, "users");
	assert_int_equal(err.kind, DSEC_ERROR_QUOTA);
	assert_false(err.ambiguous);
	assert_string_equal(err.message, "7 of users");
	assert_string_equal(err.code, "");
	assert_string_equal(err.request_id, "");
}

static void wrap_keeps_kind_and_code(void **state)
{
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_DENIED, "not this");
	snprintf(err.code, sizeof(err.code), "%s", "AccessDenied");
	snprintf(err.request_id, sizeof(err.request_id), "%s", "req");
	err.ambiguous = true;
	dsec_error_wrap(&err, "CreateUser for %s", "app/dev");
	dsec_error_wrap(NULL, "nobody");
	assert_string_equal(err.message, "CreateUser for app/dev: not this");
	assert_int_equal(err.kind, DSEC_ERROR_DENIED);
	assert_true(err.ambiguous);
	assert_string_equal(err.code, "AccessDenied");
	assert_string_equal(err.request_id, "req");
}

/* What AWS, a server in its place or a file name says ends up on a terminal and in a log. */
static void text_from_outside_cannot_steer_a_terminal(void **state)
{
	struct dsec_error err;
	char safe[128];

	dsec_error_set(&err, DSEC_ERROR_FAULT, "a\033[2Jb\r\nc\td\177");
	assert_string_equal(err.message, "a\\x1b[2Jb\\x0d\\x0ac\\x09d\\x7f");
	dsec_error_wrap(&err, "\b%s", "front");
	assert_string_equal(err.message, "\\x08front: a\\x1b[2Jb\\x0d\\x0ac\\x09d\\x7f");

	dsec_print_safely(safe, sizeof(safe), "\302\233[2J"); /* CSI as UTF-8 */
	assert_string_equal(safe, "\\xc2\\x9b[2J");
	dsec_print_safely(safe, sizeof(safe), "gr\303\274n \342\202\254 \360\237\224\221");
	assert_string_equal(safe, "gr\303\274n \342\202\254 \360\237\224\221");
}

/* A reader that decodes leniently could make a control of it. */
static void invalid_utf8_is_spelled_out(void **state)
{
	static const char *const table[][2] = {
		{"\377", "\\xff"},
		{"\200", "\\x80"},
		{"\300\200", "\\xc0\\x80"},          /* an overlong NUL */
		{"\301\277", "\\xc1\\xbf"},          /* overlong */
		{"\340\237\277", "\\xe0\\x9f\\xbf"}, /* overlong */
		{"\355\240\200", "\\xed\\xa0\\x80"}, /* a surrogate */
		{"\360\217\277\277", "\\xf0\\x8f\\xbf\\xbf"},
		{"\364\220\200\200", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
		{"\365\200\200\200", "\\xf5\\x80\\x80\\x80"},
		{"\303", "\\xc3"}, /* cut */
		{"\303x", "\\xc3x"},
		{"\342\202", "\\xe2\\x82"},
		{"\360\237\224", "\\xf0\\x9f\\x94"},
		{"\364\217\277\277", "\364\217\277\277"}, /* U+10FFFF is one */
	};
	char safe[64];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		dsec_print_safely(safe, sizeof(safe), table[i][0]);
		assert_string_equal(safe, table[i][1]);
	}
}

static void text_is_cut_between_characters(void **state)
{
	const char *text = "a\342\202\254\033b";
	char safe[16];

	for (size_t size = 1; size <= sizeof(safe); size++) {
		memset(safe, 'X', sizeof(safe));
		dsec_print_safely(safe, size, text);
		const char *wanted = size <= 1   ? ""
				     : size <= 4 ? "a"
				     : size <= 8 ? "a\342\202\254"
				     : size <= 9 ? "a\342\202\254\\x1b"
						 : "a\342\202\254\\x1bb";
		assert_string_equal(safe, wanted);
		for (size_t i = size; i < sizeof(safe); i++)
			assert_int_equal(safe[i], 'X');
	}
	dsec_print_safely(safe, 0, text);
}

static void long_messages_are_cut_and_ended(void **state)
{
	char text[2 * DSEC_ERROR_MESSAGE_MAX];
	struct dsec_error err;

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	dsec_error_set(&err, DSEC_ERROR_FAULT, "%s", text);
	assert_int_equal(strlen(err.message), DSEC_ERROR_MESSAGE_MAX - 1);
	dsec_error_wrap(&err, "front");
	assert_int_equal(strlen(err.message), DSEC_ERROR_MESSAGE_MAX - 1);
	assert_memory_equal(err.message, "front: yyy", 10);
	dsec_error_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.message), DSEC_ERROR_MESSAGE_MAX - 1);
}

/* A cut may fall into a character: its rest is no character any more, and is spelled out. */
static void cut_of_a_format_leaves_valid_utf8(void **state)
{
	char text[2 * DSEC_ERROR_MESSAGE_MAX], again[DSEC_ERROR_MESSAGE_MAX];
	struct dsec_error err;

	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'y', sizeof(text));
		for (size_t at = shift; at + 4 <= sizeof(text) - 1; at += 4)
			memcpy(text + at, "\360\237\224\221", 4);
		text[sizeof(text) - 1] = '\0';
		dsec_error_set(&err, DSEC_ERROR_FAULT, "%s", text);
		dsec_print_safely(again, sizeof(again), err.message);
		assert_string_equal(again, err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_errno),
		cmocka_unit_test(no_two_kinds_share_a_name),
		cmocka_unit_test(set_leaves_nothing_of_an_older_error),
		cmocka_unit_test(wrap_keeps_kind_and_code),
		cmocka_unit_test(text_from_outside_cannot_steer_a_terminal),
		cmocka_unit_test(invalid_utf8_is_spelled_out),
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(long_messages_are_cut_and_ended),
		cmocka_unit_test(cut_of_a_format_leaves_valid_utf8),
	};
	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
