/*
 * text.h: strings that grow, and allocation that does not fail.
 *
 * The local IAM is a program for tests: out of memory it says so and aborts, which a test sees,
 * instead of carrying error paths that no test would ever walk.
 */
#ifndef DSEC_TESTS_IAM_TEXT_H
#define DSEC_TESTS_IAM_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *must_alloc(size_t size); /* zeroed; for free() */
void *must_realloc(void *old, size_t size);
char *must_strdup(const char *text); /* NULL gives NULL */
char *must_strndup(const char *text, size_t size);
char *must_vprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
char *must_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void free_pointer(void *pointer)
{
	free(*(void **)pointer);
}
#define _cleanup_free_ __attribute__((cleanup(free_pointer)))

/* Zero-initialised is empty. `data` is NUL-terminated once anything was added; use text_string().
 */
struct text {
	char *data;
	size_t size, room;
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t size);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As %XX all but RFC 3986's unreserved characters, and but '/' where `keep_slash`. */
void text_add_encoded(struct text *text, const char *bytes, size_t size, bool keep_slash);
/* Undoes it in place of `size` bytes: %XX, and '+' as a space where `plus_is_space`. */
void text_add_decoded(struct text *text, const char *bytes, size_t size, bool plus_is_space);
const char *text_string(const struct text *text); /* never NULL */
char *text_take(struct text *text);               /* for free(), never NULL; leaves it empty */
void text_clear(struct text *text);
#define _cleanup_text_ __attribute__((cleanup(text_clear)))

/* `pattern` with * (any bytes) and ? (any one byte) against the whole of `subject`. */
bool text_matches(const char *pattern, const char *subject, bool ignore_case);

#endif
