#include <stdio.h>
#include <string.h>

#include "cli/audit_lines.h"
#include "cli/audited.h"
#include "cli/command.h"
#include "cli/log.h"
#include "lease/audit_files.h"
#include "lease/clock.h"
#include "lease/duration.h"

static size_t search(const struct audit_files *files, const struct audit_question *question)
{
	size_t found = 0;

	for (size_t i = 0; i < files->n; i++) {
		FILE *file = fopen(files->paths[i], "re");

		if (!file) {
			log_line(LOG_ERR, "cannot read %s", files->paths[i]);
			continue;
		}
		found += audit_lines_print(file, question);
		fclose(file);
	}
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
	struct audit_question question = {.lease = options->lease, .json = options->json};
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
