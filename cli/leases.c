#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "fs/fs.h"
#include "lease/clock.h"
#include "lease/journal.h"

#define LEASES_SIZE_MAX (64u * 1024u * 1024u) /* 5,000 leases are about 4 MiB */

/* Both sources give what .dsec/leases.json holds: {"leases": [{"id": …, "state": …, …}, …]}. */

static json_t *from_mount(const char *mountpoint)
{
	char path[PATH_MAX + 32];
	_cleanup_free_ char *text = NULL;
	json_error_t where;
	size_t n;

	snprintf(path, sizeof(path), "%s/.dsec/leases.json", mountpoint);
	int r = file_read(path, LEASES_SIZE_MAX, &text, &n);
	if (r < 0) {
		log_line(LOG_ERR, "%s: %s", path, strerror(-r));
		return NULL;
	}
	json_t *all = json_loadb(text, n, 0, &where);
	if (!all)
		log_line(LOG_ERR, "%s is not as it should be: %s", path, where.text);
	return all;
}

static json_t *json_time(int64_t ms)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, ms);
	return json_string(text);
}

static void add_record(void *arg, const struct journal_record *record)
{
	json_t *lease = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "id",
		record->lease_id, "state", journal_state_name(record->state), "project",
		record->project, "config", record->config, "secret", record->secret, "integration",
		record->integration, "user", record->user, "arn", record->arn, "policy_name",
		record->policy_name, "access_key_id", record->access_key_id, "start",
		json_time(record->start_ms), "expires", json_time(record->expires_ms), "last_end",
		json_time(record->last_end_ms));

	if (record->reason[0])
		json_object_set_new(lease, "reason", json_string(record->reason));
	json_array_append_new(arg, lease);
}

static json_t *from_journal(const char *given)
{
	char folder[PATH_MAX];
	struct dsec_error err;
	json_t *leases = json_array();

	int r = paths_state(folder, given, &err);
	if (r == 0)
		r = journal_sqlite_read(folder, add_record, leases, &err);
	if (r == -ENOENT) {
		log_line(LOG_ERR, "nothing is mounted, and there is no journal in %s", folder);
	} else if (r < 0) {
		log_error(LOG_ERR, &err, "nothing is mounted, and the journal in %s", folder);
	} else {
		log_line(LOG_WARNING, "nothing is mounted: this is what the journal in %s holds",
			 folder);
		return json_pack("{s:o}", "leases", leases);
	}
	json_decref(leases);
	return NULL;
}

static void print_lease(const json_t *lease)
{
	const char *id = "", *state = "", *project = "", *config = "", *secret = "", *user = "",
		   *expires = "";
	char name[3 * 129 + 2];

	json_unpack((json_t *)lease, "{s?s, s?s, s?s, s?s, s?s, s?s, s?s}", "id", &id, "state",
		    &state, "project", &project, "config", &config, "secret", &secret, "user",
		    &user, "expires", &expires);
	snprintf(name, sizeof(name), "%s/%s/%s", project, config, secret);
	printf("%-36s  %-8s  %-24s  %s  %s\n", id, state, expires, user, name);
}

static int print(const json_t *all, bool as_json)
{
	const json_t *lease;
	size_t i;

	if (as_json) {
		json_dumpf(all, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
		return STATUS_FINE;
	}
	json_array_foreach(json_object_get(all, "leases"), i, lease) print_lease(lease);
	return STATUS_FINE;
}

static int run(const struct options *options)
{
	char mountpoint[PATH_MAX];
	struct dsec_error err;

	if (paths_mountpoint(mountpoint, options->n_operands ? options->operands[0] : NULL, &err) <
	    0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	json_t *all = fs_mount_state(mountpoint) == FS_MOUNT_ALIVE ? from_mount(mountpoint)
								   : from_journal(options->state);
	if (!all)
		return STATUS_FAILED;
	int status = print(all, options->json);
	json_decref(all);
	return status;
}

const struct command leases_command = {
	.name = "leases",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.options = OPTION_STATE | OPTION_JSON,
	.summary = "list the leases",
	.help = "Prints each lease of the daemon that serves MOUNTPOINT (root: /run/dsec, others:\n"
		"$XDG_RUNTIME_DIR/dsec): its id, state, end, IAM user and project/config/secret. "
		"Where\n"
		"no daemon serves it, those that the journal in the state folder holds.\n"
		"\n"
		"Exit status: 0 when they could be read, also when there are none, else 1.\n",
	.run = run,
};
