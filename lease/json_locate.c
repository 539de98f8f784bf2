#include <stdbool.h>
#include <string.h>

#include "lease/json_text.h"

struct scan {
	const char *text;
	size_t n, at;
};

/* The next byte that is no white space, which is not taken; '\0' at the end. */
static char peek(struct scan *scan)
{
	while (scan->at < scan->n && strchr(" \t\r\n", scan->text[scan->at]) &&
	       scan->text[scan->at])
		scan->at++;
	return (char)(scan->at < scan->n ? scan->text[scan->at] : '\0');
}

static bool take(struct scan *scan, char c)
{
	if (peek(scan) != c || scan->at >= scan->n)
		return false;
	scan->at++;
	return true;
}

/* Goes past a string, from its first quote; tells whether it has escapes. */
static bool skip_string(struct scan *scan)
{
	bool escapes = false;

	for (scan->at++; scan->at < scan->n && scan->text[scan->at] != '"'; scan->at++)
		if (scan->text[scan->at] == '\\') {
			escapes = true;
			scan->at++;
		}
	scan->at = scan->at < scan->n ? scan->at + 1 : scan->n;
	return escapes;
}

static void skip_value(struct scan *scan)
{
	size_t depth = 0;

	do {
		char c = peek(scan);
		if (c == '"') {
			skip_string(scan);
			continue;
		}
		bool closes = c == '}' || c == ']';
		if (depth == 0 && (closes || c == ','))
			return; /* here should have been a value */
		if (c == '{' || c == '[')
			depth++;
		else if (closes)
			depth--;
		if (scan->at < scan->n)
			scan->at++;
		/* A number or word goes on up to what cannot be in it. */
		while (!strchr("{}[]", c) && scan->at < scan->n &&
		       !strchr(",:{}[]\" \t\r\n", scan->text[scan->at]))
			scan->at++;
	} while (depth > 0 && scan->at < scan->n);
}

/* Takes a member's name and says whether it is the one that is looked for. */
static bool take_name(struct scan *scan, const char *key)
{
	size_t from = scan->at;
	bool escapes = skip_string(scan);
	const char *name = scan->text + from;
	size_t n = scan->at - from;

	if (!escapes)
		return n == strlen(key) + 2 && memcmp(name + 1, key, n - 2) == 0;
	json_auto_t *decoded = json_loadb(name, n, JSON_DECODE_ANY, NULL);
	return decoded && strcmp(json_string_value(decoded), key) == 0;
}

/* The steps: true when it could be made; then the scan stands before the value. */

static bool enter_member(struct scan *scan, const char *key, size_t *ret)
{
	if (!take(scan, '{'))
		return false;
	while (peek(scan) == '"') {
		size_t from = scan->at;
		bool found = take_name(scan, key);
		if (!take(scan, ':'))
			return false;
		if (found) {
			*ret = from;
			return true;
		}
		skip_value(scan);
		if (!take(scan, ','))
			return false;
	}
	return false;
}

static bool enter_element(struct scan *scan, size_t index, size_t *ret)
{
	if (!take(scan, '['))
		return false;
	for (; index > 0; index--) {
		skip_value(scan);
		if (!take(scan, ','))
			return false;
	}
	peek(scan);
	*ret = scan->at;
	return true;
}

size_t json_locate(const char *text, size_t n, const struct json_step *steps, size_t n_steps)
{
	struct scan scan = {.text = text, .n = n};

	peek(&scan);
	size_t found = scan.at;
	for (size_t i = 0; i < n_steps; i++) {
		bool entered = steps[i].key ? enter_member(&scan, steps[i].key, &found)
					    : enter_element(&scan, steps[i].index, &found);
		if (!entered)
			break;
	}
	return found;
}

unsigned json_line(const char *text, size_t n, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset && i < n; i++)
		if (text[i] == '\n')
			line++;
	return line;
}
