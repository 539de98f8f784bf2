#include "text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_ROOM_FIRST 256

static void *must(void *pointer)
{
	if (pointer)
		return pointer;
	fputs("dsec-test-iam: out of memory\n", stderr);
	abort();
}

void *must_alloc(size_t size)
{
	return must(calloc(1, size));
}

void *must_realloc(void *old, size_t size)
{
	return must(realloc(old, size));
}

char *must_strdup(const char *text)
{
	return text ? must(strdup(text)) : NULL;
}

char *must_strndup(const char *text, size_t size)
{
	return must(strndup(text, size));
}

char *must_vprintf(const char *format, va_list args)
{
	char *ret = NULL;

	if (vasprintf(&ret, format, args) < 0)
		ret = NULL;
	return must(ret);
}

char *must_printf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	char *ret = must_vprintf(format, args);
	va_end(args);
	return ret;
}

void text_add_bytes(struct text *text, const void *bytes, size_t size)
{
	if (text->room - text->size < size + 1) {
		size_t room = text->room ? text->room : TEXT_ROOM_FIRST;

		while (room - text->size < size + 1)
			room *= 2;
		text->data = must_realloc(text->data, room);
		text->room = room;
	}
	if (size > 0)
		memcpy(text->data + text->size, bytes, size);
	text->size += size;
	text->data[text->size] = '\0';
}

void text_add(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	_cleanup_free_ char *more = must_vprintf(format, args);
	va_end(args);
	text_add(text, more);
}

void text_add_encoded(struct text *text, const char *bytes, size_t size, bool keep_slash)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if ((c < 0x80 && isalnum(c)) || (c && strchr("-._~", c)) ||
		    (c == '/' && keep_slash))
			text_add_bytes(text, &bytes[i], 1);
		else
			text_printf(text, "%%%02X", c);
	}
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

void text_add_decoded(struct text *text, const char *bytes, size_t size, bool plus_is_space)
{
	for (size_t i = 0; i < size; i++) {
		char c = bytes[i];

		if (c == '%' && size - i > 2 && hex_digit(bytes[i + 1]) >= 0 &&
		    hex_digit(bytes[i + 2]) >= 0) {
			c = (char)(hex_digit(bytes[i + 1]) * 16 + hex_digit(bytes[i + 2]));
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		text_add_bytes(text, &c, 1);
	}
}

const char *text_string(const struct text *text)
{
	return text->data ? text->data : "";
}

char *text_take(struct text *text)
{
	char *ret = text->data ? text->data : must_strdup("");

	*text = (struct text){0};
	return ret;
}

void text_clear(struct text *text)
{
	free(text->data);
	*text = (struct text){0};
}

static bool same(char a, char b, bool ignore_case)
{
	return a == b || (ignore_case && tolower((unsigned char)a) == tolower((unsigned char)b));
}

bool text_matches(const char *pattern, const char *subject, bool ignore_case)
{
	/* Where the last star stood, and what it swallowed so far: going back there alone is
	 * enough, and keeps the work quadratic at worst. */
	const char *star = NULL, *swallowed = NULL;

	while (*subject) {
		if (*pattern == '*') {
			star = pattern++;
			swallowed = subject;
		} else if (*pattern && (*pattern == '?' || same(*pattern, *subject, ignore_case))) {
			pattern++;
			subject++;
		} else if (star) {
			pattern = star + 1;
			subject = ++swallowed;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
