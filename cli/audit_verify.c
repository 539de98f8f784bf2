#include "lease/audit_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/audited.h"
#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/log.h"
#include "cli/paths.h"

static bool is_head(const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	return n >= AUDIT_HEAD_DIGITS_MIN && n < AUDIT_HEX_MAX && !text[n];
}

static void print_verdict(const struct audit_verdict *verdict)
{
	char hex[AUDIT_HEX_MAX];

	audit_hex(hex, verdict->head.mac);
	if (verdict->n_torn > 0)
		printf("%" PRIu64 " fragments of a crash or a full disk, which the log accounts "
		       "for\n",
		       verdict->n_torn);
	if (verdict->good)
		printf("%" PRIu64 " lines as they were written, number %" PRIu64 " to %" PRIu64
		       ", head %s\n",
		       verdict->lines, verdict->first, verdict->head.number, hex);
	else if (verdict->line > 0)
		log_line(LOG_ERR, "%s:%" PRIu64 ": %s", verdict->file, verdict->line,
			 verdict->problem);
	else
		log_line(LOG_ERR, "%s", verdict->problem);
}

static int verify(struct audit_verdict *ret, const struct options *options, struct dsec_error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	struct audit_files files = {0};
	struct audit_head kept = {0};
	char state[PATH_MAX], config[PATH_MAX];

	int r = paths_state(state, options->state, err);
	if (r == 0)
		r = paths_config(config, options->config, err);
	if (r == 0)
		r = configuration_prepare(config, err);
	if (r == 0)
		r = audit_key_load(&key, state, err);
	/* Before the lines, which a daemon goes on to write. Somebody's choice of files may be old
	 * ones. */
	if (r == 0 && options->n_operands == 0)
		r = audit_head_load(&kept, state, err);
	if (r == 0)
		r = audited_files(&files, options, err);
	if (r == 0)
		r = audit_verify(ret, &files, key, &kept, options->head, err);
	if (r == 0)
		audited_tell_compressed(&files);
	audit_files_finish(&files);
	return r;
}

static int run(const struct options *options)
{
	struct audit_verdict verdict = {0};
	struct dsec_error err;

	if (options->head && !is_head(options->head)) {
		log_line(LOG_ERR,
			 "\"%s\" is no head: at least the first %d of its hexadecimal digits, as "
			 "the system's log has them",
			 options->head, AUDIT_HEAD_DIGITS_MIN);
		return STATUS_USAGE;
	}
	if (verify(&verdict, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	print_verdict(&verdict);
	return verdict.good ? STATUS_FINE : STATUS_FAILED;
}

const struct command audit_verify_command = {
	.name = "audit verify",
	.operands = "[FILE…]",
	.operands_max = OPERANDS_MAX,
	.options = OPTION_CONFIG | OPTION_STATE | OPTION_HEAD,
	.summary = "is the audit log what was written?",
	.help = "Finds the first line of the audit log that was changed, cut out or put in. It "
		"needs\n"
		"the key in the state folder, and sees with the head that is kept there whether "
		"the\n"
		"end was cut off. With --head the log must also hold the line that had this head: "
		"the\n"
		"heads in the system's log hold also against whoever could read the key.\n"
		"\n"
		"Exit status: 0 when the log is what was written, else 1.\n",
	.run = run,
};
