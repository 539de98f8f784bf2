#include "lease/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int number;
	const char *name;
} kinds[] = {
	[DSEC_ERROR_FAULT] = {EIO, "fault"},
	[DSEC_ERROR_NOT_CONFIGURED] = {ENOENT, "not_configured"},
	[DSEC_ERROR_NOT_ALLOWED] = {EACCES, "not_allowed"},
	[DSEC_ERROR_TIMEOUT] = {ETIMEDOUT, "timeout"},
	[DSEC_ERROR_THROTTLED] = {EAGAIN, "throttled"},
	[DSEC_ERROR_UNREACHABLE] = {EHOSTUNREACH, "unreachable"},
	[DSEC_ERROR_QUOTA] = {EDQUOT, "quota"},
	[DSEC_ERROR_CREDENTIALS] = {EKEYREJECTED, "credentials"},
	[DSEC_ERROR_INTERRUPTED] = {EINTR, "interrupted"},
	[DSEC_ERROR_NO_SPACE] = {ENOSPC, "no_space"},
	[DSEC_ERROR_NO_SUCH_ENTITY] = {EIO, "no_such_entity"},
	[DSEC_ERROR_EXISTS] = {EIO, "exists"},
	[DSEC_ERROR_CONFLICT] = {EIO, "conflict"},
	[DSEC_ERROR_BUSY] = {EIO, "busy"},
	[DSEC_ERROR_DENIED] = {EIO, "denied"},
	[DSEC_ERROR_INVALID] = {EIO, "invalid"},
	[DSEC_ERROR_KEY_NOT_READY] = {EIO, "key_not_ready"},
	[DSEC_ERROR_CLOCK_SKEW] = {EIO, "clock_skew"},
};

int dsec_error_errno(enum dsec_error_kind kind)
{
	return kinds[kind].number;
}

const char *dsec_error_kind_name(enum dsec_error_kind kind)
{
	return kinds[kind].name;
}

/* The length of the well-formed UTF-8 character at `text`, or 0 (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF). A terminating NUL is no continuation byte, so nothing is read
 * past it. */
static size_t utf8_length(const unsigned char *text)
{
	size_t n = text[0] < 0x80   ? 1
		   : text[0] < 0xc2 ? 0
		   : text[0] < 0xe0 ? 2
		   : text[0] < 0xf0 ? 3
		   : text[0] < 0xf5 ? 4
				    : 0;
	for (size_t i = 1; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return n;
}

static bool is_control(const unsigned char *text, size_t n)
{
	/* C0, DEL, and C1 as UTF-8 writes it (U+0080 to U+009F): a terminal acts on all of them. */
	return (n == 1 && (text[0] < 0x20 || text[0] == 0x7f)) ||
	       (n == 2 && text[0] == 0xc2 && text[1] < 0xa0);
}

void dsec_print_safely(char *to, unsigned long size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *from = (const unsigned char *)text;
	size_t at = 0;

	if (size == 0)
		return;
	while (*from) {
		size_t n = utf8_length(from);
		if (n > 0 && !is_control(from, n)) {
			if (at + n >= size)
				break;
			memcpy(to + at, from, n);
			at += n;
			from += n;
			continue;
		}
		if (at + 4 >= size)
			break;
		to[at++] = '\\';
		to[at++] = 'x';
		to[at++] = hex[*from >> 4];
		to[at++] = hex[*from & 15];
		from++;
	}
	to[at] = '\0';
}

int dsec_error_set(struct dsec_error *err, enum dsec_error_kind kind, const char *format, ...)
{
	if (err) {
		char raw[DSEC_ERROR_MESSAGE_MAX];
		va_list args;

		va_start(args, format);
		vsnprintf(raw, sizeof(raw), format, args);
		va_end(args);
		*err = (struct dsec_error){.kind = kind};
		dsec_print_safely(err->message, sizeof(err->message), raw);
	}
	return -dsec_error_errno(kind);
}

void dsec_error_wrap(struct dsec_error *err, const char *format, ...)
{
	char front[DSEC_ERROR_MESSAGE_MAX], whole[2 * DSEC_ERROR_MESSAGE_MAX + 2];
	va_list args;

	if (!err)
		return;
	va_start(args, format);
	vsnprintf(front, sizeof(front), format, args);
	va_end(args);
	snprintf(whole, sizeof(whole), "%s: %s", front, err->message);
	dsec_print_safely(err->message, sizeof(err->message), whole);
}
