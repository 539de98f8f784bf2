#include "cli/audit_lines.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/printable.h"
#include "lease/alloc.h"
#include "lease/audit_files.h"

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool matches(const struct audit_question *question, const json_t *line)
{
	if (question->user && strcmp(member(line, "user"), question->user) != 0)
		return false;
	if (question->lease && strcmp(member(line, "lease_id"), question->lease) != 0)
		return false;
	return strcmp(member(line, "time"), question->since) >= 0;
}

static void print_caller(const json_t *caller)
{
	const char *const texts[] = {
		json_object_get(caller, "executable") ? member(caller, "executable")
						      : member(caller, "command"),
		json_object_get(caller, "container") ? member(caller, "container")
						     : member(caller, "cgroup")};

	if (!caller)
		return;
	if (json_object_get(caller, "uid"))
		printf("uid %" JSON_INTEGER_FORMAT ", gid %" JSON_INTEGER_FORMAT,
		       json_integer_value(json_object_get(caller, "uid")),
		       json_integer_value(json_object_get(caller, "gid")));
	if (json_object_get(caller, "pid"))
		printf(", pid %" JSON_INTEGER_FORMAT,
		       json_integer_value(json_object_get(caller, "pid")));
	if (*member(caller, "started"))
		printf(" of %s", member(caller, "started"));
	for (size_t i = 0; i < 2; i++)
		if (*texts[i])
			printf(", %s", texts[i]);
}

static void print_rest(const json_t *line)
{
	const json_t *error = json_object_get(line, "error");

	if (*member(line, "reason"))
		printf("%s", member(line, "reason"));
	if (*member(line, "what"))
		printf("%s", member(line, "what"));
	if (*member(line, "peer"))
		printf("%s from %s", member(line, "token"), member(line, "peer"));
	if (json_object_get(line, "count"))
		printf("%" JSON_INTEGER_FORMAT " times",
		       json_integer_value(json_object_get(line, "count")));
	if (error)
		printf("%s%s", *member(line, "reason") || *member(line, "what") ? ": " : "",
		       member(error, "message"));
}

/* Whoever could write the log could put anything into it: what is printed is printable. */
static void print_line(const json_t *line)
{
	printf("%s\t%s\t", member(line, "time"), member(line, "event"));
	if (*member(line, "project"))
		printf("%s/%s/%s", member(line, "project"), member(line, "config"),
		       member(line, "secret"));
	printf("\t%s\t%s\t%s\t", member(line, "user"), member(line, "access_key_id"),
	       member(line, "lease_id"));
	print_caller(json_object_get(line, "caller"));
	putchar('\t');
	print_rest(line);
	putchar('\n');
}

size_t audit_lines_print(FILE *from, const struct audit_question *question)
{
	struct audit_line *text = alloc_zeroed(1, sizeof(*text));
	size_t found = 0;

	while (audit_line_read(from, text)) {
		json_t *line = json_loadb(text->text, text->n, 0, NULL);

		if (json_is_object(line) && matches(question, line)) {
			found++;
			if (question->json)
				puts(text->text);
			else {
				printable_json(line);
				print_line(line);
			}
		}
		json_decref(line);
	}
	free(text);
	return found;
}
