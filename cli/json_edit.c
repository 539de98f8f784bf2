#include "cli/json_edit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/json_text.h"

#define UNIT_MAX 16 /* of one step of indentation */

struct edit {
	const char *text;
	size_t n;
	char unit[UNIT_MAX + 1];
	FILE *to;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
	return is_blank(c) || c == '\n' || c == '\r';
}

/* What the first line that is indented begins with: of a text that is indented at all, one step. */
static void find_unit(struct edit *edit)
{
	snprintf(edit->unit, sizeof(edit->unit), "  ");
	for (size_t i = 0; i + 1 < edit->n; i++) {
		size_t from = i + 1, end = from;

		if (edit->text[i] != '\n')
			continue;
		while (end < edit->n && is_blank(edit->text[end]))
			end++;
		if (end == from || end == edit->n || is_space(edit->text[end]))
			continue;
		snprintf(edit->unit, sizeof(edit->unit), "%.*s",
			 (int)(end - from < UNIT_MAX ? end - from : UNIT_MAX), edit->text + from);
		return;
	}
}

/* The offset behind the string that begins at `at`. */
static size_t past_string(const struct edit *edit, size_t at)
{
	for (at++; at < edit->n && edit->text[at] != '"'; at++)
		if (edit->text[at] == '\\')
			at++;
	return at < edit->n ? at + 1 : edit->n;
}

/* The offset of the "}" that ends the object whose "{" is at `at`. */
static size_t end_of_object(const struct edit *edit, size_t at)
{
	size_t depth = 0;

	while (at < edit->n) {
		char c = edit->text[at];

		if (c == '"') {
			at = past_string(edit, at);
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return at;
		at++;
	}
	return edit->n;
}

/* The offset of the "{" of the object that the first n_path members lead to. */
static size_t begin_of_object(const struct edit *edit, const char *const *path, size_t n_path)
{
	struct json_step steps[JSON_EDIT_DEPTH_MAX] = {0};
	size_t at = 0;

	for (size_t i = 0; i < n_path; i++)
		steps[i].key = path[i];
	if (n_path > 0)
		at = past_string(edit, json_locate(edit->text, edit->n, steps, n_path));
	while (at < edit->n && edit->text[at] != '{')
		at++;
	return at;
}

static void indent(const struct edit *edit, size_t depth)
{
	for (size_t i = 0; i < depth; i++)
		fputs(edit->unit, edit->to);
}

/* jansson's own indentation, one blank a step, in ours. */
static void put_value(const struct edit *edit, const json_t *value, size_t depth, bool lines)
{
	char *text = json_dumps(value, (lines ? JSON_INDENT(1) : 0) | JSON_ENCODE_ANY);
	const char *at = text ? text : "null";

	while (*at) {
		size_t n = strcspn(at, "\n");

		fprintf(edit->to, "%.*s", (int)n, at);
		at += n;
		if (*at != '\n')
			continue;
		at++;
		size_t level = strspn(at, " ");
		fputc('\n', edit->to);
		indent(edit, depth + level);
		at += level;
	}
	free(text);
}

static void put_member(const struct edit *edit, const char *key, const json_t *value, size_t depth,
		       bool lines)
{
	json_t *name = json_string(key);

	put_value(edit, name, depth, false);
	fputs(": ", edit->to);
	put_value(edit, value, depth, lines);
	json_decref(name);
}

/* `depth`: of the object that gets the member. */
static void insert(const struct edit *edit, size_t begin, bool empty, const char *key,
		   const json_t *value, size_t depth)
{
	size_t end = end_of_object(edit, begin), last = end;

	while (last > begin + 1 && is_space(edit->text[last - 1]))
		last--;
	bool lines = memchr(edit->text + last, '\n', end - last) != NULL ||
		     (empty && (depth == 0 || memchr(edit->text, '\n', begin)));

	fwrite(edit->text, 1, last, edit->to);
	if (lines) {
		fputs(empty ? "\n" : ",\n", edit->to);
		indent(edit, depth + 1);
	} else if (!empty) {
		fputs(", ", edit->to);
	}
	put_member(edit, key, value, depth + 1, lines);
	if (lines) {
		fputc('\n', edit->to);
		indent(edit, depth);
	}
	fwrite(edit->text + end, 1, edit->n - end, edit->to);
}

static int parse(json_t **ret, const char *text, size_t n, struct dsec_error *err)
{
	json_error_t where;

	*ret = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (!*ret)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "line %d: %s", where.line,
				      json_syntax_message(&where));
	return 0;
}

/* How many of the path's members are there; the last of them is an object, or the root. */
static int follow(const json_t *root, const char *const *path, size_t n_path, size_t *ret_depth,
		  const json_t **ret_object, struct dsec_error *err)
{
	const json_t *at = root;

	for (size_t i = 0; i < n_path; i++) {
		if (!json_is_object(at))
			return dsec_error_set(err, DSEC_ERROR_INVALID, "%s is no object",
					      i > 0 ? path[i - 1] : "the whole");
		const json_t *next = json_object_get(at, path[i]);
		*ret_depth = i;
		*ret_object = at;
		if (!next)
			return 0;
		at = next;
	}
	return dsec_error_set(err, DSEC_ERROR_INVALID, "there is a \"%s\" already",
			      path[n_path - 1]);
}

int json_edit_add(char **ret, const char *text, size_t n, const char *const *path, size_t n_path,
		  const json_t *value, struct dsec_error *err)
{
	struct edit edit = {.text = text, .n = n};
	const json_t *object = NULL;
	json_t *root = NULL;
	size_t depth = 0, size;

	int r = parse(&root, text, n, err);
	if (r == 0)
		r = follow(root, path, n_path, &depth, &object, err);
	if (r < 0) {
		json_decref(root);
		return r;
	}
	json_t *wrapped = json_deep_copy(value);
	for (size_t i = n_path - 1; i > depth; i--)
		wrapped = json_pack("{s:o}", path[i], wrapped);
	edit.to = open_memstream(ret, &size);
	find_unit(&edit);
	insert(&edit, begin_of_object(&edit, path, depth), json_object_size(object) == 0,
	       path[depth], wrapped, depth);
	fclose(edit.to);
	json_decref(wrapped);
	json_decref(root);
	return 0;
}
