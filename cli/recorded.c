#include "cli/recorded.h"

#include <errno.h>
#include <jansson.h>

#include "lease/clock.h"
#include "lease/journal.h"

static json_t *json_time(int64_t ms)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, ms);
	return json_string(text);
}

static void add(void *arg, const struct journal_record *record)
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

int recorded_leases(char **ret, const char *state_folder, struct dsec_error *err)
{
	json_t *leases = json_array();

	int r = journal_sqlite_read(state_folder, add, leases, err);
	if (r == -ENOENT)
		dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no journal in %s",
			       state_folder);
	json_t *all = json_pack("{s:o}", "leases", leases);
	if (r == 0) {
		*ret = json_dumps(all, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		if (!*ret)
			r = dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
	}
	json_decref(all);
	return r;
}
