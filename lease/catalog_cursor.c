#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"
#include "lease/duration.h"
#include "lease/json_text.h"

#define PATH_DEPTH_MAX  16 /* deeper than any place that the readers look at */
#define KNOWN_NAME_MAX  32 /* longer than any member's name; longer ones resemble nothing */
#define FILE_CHECK_MAX  (4ul * 1024 * 1024)
#define KNOWN_SHOWN_MAX 300 /* characters of the list of known members */

/* Problems. */

#define MESSAGE_MAX sizeof(((struct catalog_problem *)NULL)->message)

static size_t path_steps(const struct cursor *at, struct json_step steps[PATH_DEPTH_MAX])
{
	size_t n = 0;

	for (const struct cursor *c = at; c->up && n < PATH_DEPTH_MAX; c = c->up)
		n++;
	for (size_t i = n; i > 0; i--, at = at->up)
		steps[i - 1] = (struct json_step){.key = at->key, .index = at->index};
	return n;
}

static void path_text(char *to, size_t size, const struct json_step *steps, size_t n)
{
	char raw[2 * sizeof(((struct catalog_problem *)NULL)->path)] = "";
	size_t at = 0;

	for (size_t i = 0; i < n && at < sizeof(raw); i++) {
		const char *dot = i > 0 ? "." : "";
		at += (size_t)(steps[i].key ? snprintf(raw + at, sizeof(raw) - at, "%s%s", dot,
						       steps[i].key)
					    : snprintf(raw + at, sizeof(raw) - at, "[%zu]",
						       steps[i].index));
	}
	dsec_print_safely(to, size, raw);
}

static void remove_problem(struct reader *reader, size_t i)
{
	struct catalog_problems *problems = reader->problems;
	size_t behind = --problems->n - i;

	memmove(&problems->at[i], &problems->at[i + 1], behind * sizeof(problems->at[0]));
	memmove(&reader->offsets[i], &reader->offsets[i + 1], behind * sizeof(reader->offsets[0]));
}

/* Where the list is full, a mistake takes the place of the last warning, and all else is only
 * counted, so that a file of mistakes costs no more than this many searches through it. */
static bool make_room(struct reader *reader, bool warning)
{
	struct catalog_problems *problems = reader->problems;

	if (problems->n < CATALOG_PROBLEMS_MAX)
		return true;
	problems->more++;
	for (size_t i = problems->n; i > 0 && !warning; i--)
		if (problems->at[i - 1].warning) {
			remove_problem(reader, i - 1);
			return true;
		}
	return false;
}

static void add_problem(const struct cursor *at, bool warning, const char *message)
{
	struct reader *reader = at->reader;
	struct catalog_problems *problems = reader->problems;
	struct json_step steps[PATH_DEPTH_MAX];
	size_t n_steps = path_steps(at, steps), i;

	reader->refused = reader->refused || !warning;
	if (!make_room(reader, warning))
		return;
	size_t offset = json_locate(reader->text, reader->n, steps, n_steps);
	for (i = problems->n; i > 0 && reader->offsets[i - 1] > offset; i--) {
		problems->at[i] = problems->at[i - 1];
		reader->offsets[i] = reader->offsets[i - 1];
	}
	problems->n++;
	reader->offsets[i] = offset;

	struct catalog_problem *problem = &problems->at[i];
	problem->line = json_line(reader->text, reader->n, offset);
	problem->warning = warning;
	path_text(problem->path, sizeof(problem->path), steps, n_steps);
	dsec_print_safely(problem->message, sizeof(problem->message), message);
}

void cursor_refuse(const struct cursor *at, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	add_problem(at, false, message);
}

void cursor_warn(const struct cursor *at, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	add_problem(at, true, message);
}

/* Going down. */

static struct cursor member(const struct cursor *object, const char *key, json_t *value)
{
	return (struct cursor){.reader = object->reader, .up = object, .key = key, .value = value};
}

bool cursor_next(const struct cursor *object, void **iter, struct cursor *ret)
{
	*iter = *iter ? json_object_iter_next(object->value, *iter)
		      : json_object_iter(object->value);
	if (!*iter)
		return false;
	*ret = member(object, json_object_iter_key(*iter), json_object_iter_value(*iter));
	return true;
}

bool cursor_element(const struct cursor *list, size_t index, struct cursor *ret)
{
	json_t *value = json_array_get(list->value, index);

	if (!value)
		return false;
	*ret = (struct cursor){.reader = list->reader, .up = list, .index = index, .value = value};
	return true;
}

bool cursor_member(const struct cursor *object, const char *key, struct cursor *ret)
{
	json_t *value = json_object_get(object->value, key);

	if (!value)
		return false;
	*ret = member(object, key, value);
	return true;
}

/* Types. */

static bool is_type(const struct cursor *at, bool is, const char *type, const char *example)
{
	if (!is)
		cursor_refuse(at, "is %s; it has to be %s such as %s", json_type_name(at->value),
			      type, example);
	return is;
}

bool cursor_is_object(const struct cursor *at, const char *example)
{
	return is_type(at, json_is_object(at->value), "an object", example);
}

bool cursor_object(const struct cursor *object, const char *key, const char *example,
		   struct cursor *ret)
{
	return cursor_member(object, key, ret) && cursor_is_object(ret, example);
}

bool cursor_list(const struct cursor *object, const char *key, const char *example,
		 struct cursor *ret)
{
	return cursor_member(object, key, ret) &&
	       is_type(ret, json_is_array(ret->value), "a list", example);
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f ||
		    ((unsigned char)*text == 0xc2 && (unsigned char)text[1] < 0xa0))
			return true;
	return false;
}

const char *cursor_text(const struct cursor *at, const char *example)
{
	if (!is_type(at, json_is_string(at->value), "a string", example))
		return NULL;
	const char *text = json_string_value(at->value);
	if (*text && !has_control(text))
		return text;
	cursor_refuse(at, "%s; it has to be a string such as %s",
		      *text ? "has a control character" : "is empty", example);
	return NULL;
}

const char *cursor_string(const struct cursor *object, const char *key, const char *example,
			  struct cursor *ret)
{
	return cursor_member(object, key, ret) ? cursor_text(ret, example) : NULL;
}

void cursor_bool(const struct cursor *object, const char *key, bool *ret)
{
	struct cursor at;

	if (!cursor_member(object, key, &at))
		return;
	if (json_is_boolean(at.value))
		*ret = json_is_true(at.value);
	else
		cursor_refuse(&at, "is %s; it has to be true or false", json_type_name(at.value));
}

void cursor_integer(const struct cursor *object, const char *key, unsigned min, unsigned max,
		    unsigned *ret)
{
	struct cursor at;

	if (!cursor_member(object, key, &at))
		return;
	json_int_t value = json_integer_value(at.value);
	if (!json_is_number(at.value))
		cursor_refuse(&at, "is %s; it has to be a whole number from %u to %u",
			      json_type_name(at.value), min, max);
	else if (!json_is_integer(at.value) || value < min || value > max)
		cursor_refuse(&at, "has to be a whole number from %u to %u", min, max);
	else
		*ret = (unsigned)value;
}

bool cursor_duration(const struct cursor *object, const char *key, const char *example,
		     int64_t *ret, struct cursor *ret_at)
{
	const char *text = cursor_string(object, key, example, ret_at);

	if (!text)
		return false;
	switch (duration_parse(text, strlen(text), ret)) {
	case 0:
		return true;
	case -ERANGE:
		cursor_refuse(ret_at, "\"%.64s\" is %s", text,
			      *text == '-' ? "below 0" : "longer than a year");
		return false;
	default:
		cursor_refuse(ret_at,
			      "\"%.64s\" is no duration; one looks like %s, with the units h, m, "
			      "s and ms",
			      text, example);
		return false;
	}
}

/* Members. */

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein's distance, with one row of the table. */
static size_t distance(const char *a, const char *b)
{
	size_t row[KNOWN_NAME_MAX + 1], n = strlen(b);

	for (size_t i = 0; i <= n; i++)
		row[i] = i;
	for (; *a; a++) {
		size_t diagonal = row[0]++;
		for (size_t i = 1; i <= n; i++) {
			size_t above = row[i];
			row[i] = least(diagonal + (*a != b[i - 1]), above + 1, row[i - 1] + 1);
			diagonal = above;
		}
	}
	return row[n];
}

const char *catalog_nearest(const char *name, const char *const *known)
{
	const char *found = NULL;
	size_t n = strlen(name), best = n < 3 ? 1 : n / 3 + 1;

	if (n >= KNOWN_NAME_MAX)
		return NULL;
	for (; *known; known++) {
		size_t d = strlen(*known) < KNOWN_NAME_MAX ? distance(name, *known) : SIZE_MAX;
		if (d < best) {
			best = d;
			found = *known;
		}
	}
	return found;
}

static void refuse_unknown(const struct cursor *at, const char *const *known)
{
	const char *meant = catalog_nearest(at->key, known);
	char list[KNOWN_SHOWN_MAX] = "";
	size_t n = 0;

	if (meant) {
		cursor_refuse(at, "unknown member \"%.64s\"; did you mean \"%s\"?", at->key, meant);
		return;
	}
	for (size_t i = 0; known[i] && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", known[i]);
	cursor_refuse(at, "unknown member \"%.64s\"; known here are %s", at->key, list);
}

void cursor_known(const struct cursor *object, const char *const *known)
{
	struct cursor at;
	void *iter = NULL;

	while (cursor_next(object, &iter, &at)) {
		const char *const *name = known;
		while (*name && strcmp(*name, at.key) != 0)
			name++;
		if (!*name)
			refuse_unknown(&at, known);
	}
}

void cursor_need(const struct cursor *object, const char *key, const char *what)
{
	if (!json_object_get(object->value, key))
		cursor_refuse(object, "member \"%s\" is missing: %s", key, what);
}

/* Files. */

/* Can it be read, with something in it? With `private`, by its owner alone? */
static void check_file(const struct cursor *at, const char *path, bool private)
{
	const struct catalog_system *system = at->reader->system;
	char *bytes;
	size_t n;
	int r = system->read_file(system, path, FILE_CHECK_MAX, private, &bytes, &n);

	if (r == -EPERM)
		cursor_refuse(at, "others than the file's owner may read it: chmod 600");
	else if (r == -EFBIG)
		cursor_refuse(at, "the file is longer than 4 MiB");
	else if (r < 0)
		cursor_refuse(at, "the file cannot be read: %s", strerror(-r));
	if (r < 0)
		return;
	bool blank = true;
	for (size_t i = 0; i < n && blank; i++)
		blank = strchr(" \t\r\n", bytes[i]) != NULL;
	secret_wipe(bytes, n);
	free(bytes);
	if (blank)
		cursor_refuse(at, "the file is empty");
}

const char *cursor_file_name(const struct cursor *object, const char *key, const char *example,
			     bool private)
{
	struct cursor at;
	const char *name = cursor_string(object, key, example, &at);

	if (!name)
		return NULL;
	const char *path = reader_path(at.reader, name);
	check_file(&at, path, private);
	return path;
}
