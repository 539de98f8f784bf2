#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/audited.h"
#include "cli/command.h"
#include "cli/log.h"
#include "lease/alloc.h"
#include "lease/audit_chain.h"
#include "lease/audit_files.h"
#include "lease/clock.h"
#include "lease/duration.h"

/* What is asked for; NULL: all. */
struct question {
	const char *user, *lease;
	char since[CLOCK_ISO_MAX]; /* times of one form are in order as texts are */
	bool json;
};

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool matches(const struct question *question, const json_t *line)
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

static void make_printable(json_t *value)
{
	const char *key;
	json_t *at;

	json_object_foreach(value, key, at)
	{
		char printable[AUDIT_LINE_MAX];

		if (json_is_object(at)) {
			make_printable(at);
		} else if (json_is_string(at)) {
			dsec_print_safely(printable, sizeof(printable), json_string_value(at));
			json_string_set(at, printable);
		}
	}
}

static size_t search_file(FILE *file, const struct question *question, struct audit_line *text)
{
	size_t found = 0;

	while (audit_line_read(file, text)) {
		json_t *line = json_loadb(text->text, text->n, 0, NULL);

		if (json_is_object(line) && matches(question, line)) {
			found++;
			if (question->json)
				puts(text->text);
			else {
				make_printable(line);
				print_line(line);
			}
		}
		json_decref(line);
	}
	return found;
}

static size_t search(const struct audit_files *files, const struct question *question)
{
	struct audit_line *text = alloc_zeroed(1, sizeof(*text));
	size_t found = 0;

	for (size_t i = 0; i < files->n; i++) {
		FILE *file = fopen(files->paths[i], "re");

		if (!file) {
			log_line(LOG_ERR, "cannot read %s", files->paths[i]);
			continue;
		}
		found += search_file(file, question, text);
		fclose(file);
	}
	free(text);
	return found;
}

/* "90m" ago, or a time as the log has it, or its beginning: "2022-02-15". */
static bool read_since(char to[CLOCK_ISO_MAX], const char *text)
{
	static const char form[] = "0000-00-00T00:00:00.000Z";
	int64_t ms;

	if (duration_parse(text, strlen(text), &ms) == 0) {
		clock_iso(to, system_clock.calendar_ms(&system_clock) - ms);
		return true;
	}
	size_t n = strlen(text);
	if (n < strlen("2022-02-15") || n >= CLOCK_ISO_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9'
				   : text[i] != form[i] && !(text[i] == 'Z' && !text[i + 1]))
			return false;
	snprintf(to, CLOCK_ISO_MAX, "%.*s", (int)strcspn(text, "Z"), text);
	return true;
}

static int run(const struct options *options)
{
	struct question question = {.lease = options->lease, .json = options->json};
	struct audit_files files;
	struct dsec_error err;

	if (options->user) {
		const char *slash = strrchr(options->user, '/'); /* of an ARN */
		question.user = slash ? slash + 1 : options->user;
	}
	if (options->since && !read_since(question.since, options->since)) {
		log_line(LOG_ERR,
			 "\"%s\" is no time: say how long ago (90m, 24h), or when "
			 "(2022-02-15, 2022-02-15T17:04:54Z)",
			 options->since);
		return STATUS_USAGE;
	}
	if (audited_files(&files, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	size_t found = search(&files, &question);
	audited_tell_compressed(&files);
	audit_files_finish(&files);
	if (found == 0)
		log_line(LOG_NOTICE, "no line of the audit log is about that");
	return found > 0 ? STATUS_FINE : STATUS_FAILED;
}

const struct command audit_command = {
	.name = "audit",
	.operands = "[FILE…]",
	.operands_max = OPERANDS_MAX,
	.options = OPTION_CONFIG | OPTION_AUDIT | OPTION_JSON,
	.summary = "who held which lease",
	.help = "Prints what the audit log says, its rotated files included: time, event,\n"
		"project/config/secret, IAM user, access key id, lease, who (uid, process,\n"
		"executable, container), and why or how often; separated by tabs. With --user or\n"
		"--lease only what is about that one: who held it, from when to when.\n"
		"\n"
		"The log is audit.file of the configuration, or the FILEs.\n"
		"\n"
		"Exit status: 0, or 1 when nothing was found.\n",
	.run = run,
};
