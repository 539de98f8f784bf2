#include "lease/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "lease/alloc.h"
#include "lease/audit_private.h"
#include "lease/who.h"

/* Lines. */

void audit_add(struct audit_entry *entry, json_t *to, const char *name, json_t *value)
{
	if (json_object_set_new(to, name, value) < 0)
		entry->is_incomplete = true;
}

/* Texts come from AWS, from file names and from whoever asks: in the file they are printable. */
void audit_add_text(struct audit_entry *entry, json_t *to, const char *name, const char *text)
{
	char printable[AUDIT_TEXT_MAX];

	if (!text || !*text)
		return;
	dsec_print_safely(printable, sizeof(printable), text);
	audit_add(entry, to, name, json_string(printable));
}

static void add_time(struct audit_entry *entry, json_t *to, const char *name, int64_t calendar_ms)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, calendar_ms);
	audit_add_text(entry, to, name, text);
}

void audit_begin(struct audit_entry *entry, const struct audit *audit, const char *event)
{
	const struct clock *clock = audit->options.clock;

	*entry = (struct audit_entry){.json = json_object()};
	audit_add(entry, entry->json, "n", json_integer(0)); /* audit_log_write knows which */
	add_time(entry, entry->json, "time", clock->calendar_ms(clock));
	audit_add_text(entry, entry->json, "event", event);
}

bool audit_end(struct audit_entry *entry, struct audit *audit)
{
	bool written = !entry->is_incomplete && audit_log_write(audit, entry->json);

	json_decref(entry->json);
	return written;
}

static void add_slot(struct audit_entry *entry, const char *project, const char *config,
		     const char *secret)
{
	audit_add_text(entry, entry->json, "project", project);
	audit_add_text(entry, entry->json, "config", config);
	audit_add_text(entry, entry->json, "secret", secret);
}

void audit_add_lease(struct audit_entry *entry, const struct lease *lease)
{
	add_slot(entry, lease->slot.project, lease->slot.config, lease->slot.secret);
	audit_add_text(entry, entry->json, "lease_id", lease->id);
	audit_add_text(entry, entry->json, "user", lease->user);
	audit_add_text(entry, entry->json, "access_key_id", lease->access_key_id);
	add_time(entry, entry->json, "expires", lease->expires_ms);
}

static void add_record(struct audit_entry *entry, const struct journal_record *record)
{
	add_slot(entry, record->project, record->config, record->secret);
	audit_add_text(entry, entry->json, "lease_id", record->lease_id);
	audit_add_text(entry, entry->json, "user", record->user);
	audit_add_text(entry, entry->json, "access_key_id", record->access_key_id);
}

void audit_add_caller(struct audit_entry *entry, const struct lease_caller *caller)
{
	const struct who *who = caller->who;
	json_t *json = json_object();

	/* Who comes over the network has none. */
	if (caller->uid != (uid_t)-1)
		audit_add(entry, json, "uid", json_integer(caller->uid));
	if (caller->gid != (gid_t)-1)
		audit_add(entry, json, "gid", json_integer(caller->gid));
	if (who) {
		audit_add(entry, json, "pid", json_integer(who->pid));
		if (who->started_ms != 0)
			add_time(entry, json, "started", who->started_ms);
		audit_add_text(entry, json, who->executable ? "executable" : "command",
			       who->executable ? who->executable : who->command);
		audit_add_text(entry, json, "cgroup", who->cgroup);
		audit_add_text(entry, json, "container", who->container);
	} else if (caller->pid > 0) {
		audit_add(entry, json, "pid", json_integer(caller->pid));
	}
	audit_add(entry, entry->json, "caller", json);
}

static void add_error(struct audit_entry *entry, const struct dsec_error *err)
{
	json_t *json = json_object();

	audit_add_text(entry, json, "kind", dsec_error_kind_name(err->kind));
	audit_add_text(entry, json, "message", err->message);
	audit_add_text(entry, json, "code", err->code);
	audit_add_text(entry, json, "request_id", err->request_id);
	audit_add(entry, entry->json, "error", json);
}

/* Events. */

int audit_intended(struct audit *audit, const struct journal_record *record, struct dsec_error *err)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, "intended");
	add_record(&entry, record);
	if (audit_end(&entry, audit) || !audit->options.required)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_NO_SPACE,
			      "no new lease without a line in the audit log (audit.required): %s",
			      audit->problem);
}

void audit_lease(struct audit *audit, enum lease_event event, const struct lease *lease,
		 const char *reason)
{
	static const char *const names[] = {
		[LEASE_ACTIVE] = "active",
		[LEASE_ENDED] = "ended",
		[LEASE_GONE] = "gone",
	};
	struct audit_entry entry;

	/* Before the last line about it; and as late as that, for what is read to its end. */
	if (event == LEASE_GONE)
		audit_readers_end(audit, lease);
	audit_begin(&entry, audit,
		    event == LEASE_ACTIVE && lease->renewed ? "renewed" : names[event]);
	audit_add_lease(&entry, lease);
	audit_add_text(&entry, entry.json, "reason", reason);
	audit_end(&entry, audit);
}

void audit_handed_out(struct audit *audit, const struct lease *lease,
		      const struct lease_caller *caller)
{
	struct audit_entry entry;

	audit_readers_see(audit, lease, caller, 0);
	audit_begin(&entry, audit, "handed_out");
	audit_add_lease(&entry, lease);
	audit_add_text(&entry, entry.json, "token", caller->name);
	audit_add_caller(&entry, caller);
	audit_end(&entry, audit);
}

void audit_read(struct audit *audit, const struct lease *lease, const struct lease_caller *caller,
		uint64_t count)
{
	struct audit_entry entry;

	if (!audit_readers_see(audit, lease, caller, count))
		return;
	audit_begin(&entry, audit, "read");
	audit_add_lease(&entry, lease);
	audit_add_text(&entry, entry.json, "token", caller->name);
	audit_add_caller(&entry, caller);
	audit_end(&entry, audit);
}

void audit_failed(struct audit *audit, const struct lease_slot *slot,
		  const struct lease_caller *caller, const struct dsec_error *err)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, "failed");
	add_slot(&entry, slot->project, slot->config, slot->secret);
	audit_add_text(&entry, entry.json, "token", caller->name);
	audit_add_caller(&entry, caller);
	add_error(&entry, err);
	audit_end(&entry, audit);
}

void audit_revocation_failed(struct audit *audit, const struct journal_record *record,
			     const struct dsec_error *err)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, "revocation_failed");
	add_record(&entry, record);
	audit_add_text(&entry, entry.json, "reason", record->reason);
	add_error(&entry, err);
	audit_end(&entry, audit);
}

void audit_event(struct audit *audit, const char *event, const char *what,
		 const struct lease_caller *caller, const struct dsec_error *err)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, event);
	audit_add_text(&entry, entry.json, "what", what);
	if (caller)
		audit_add_caller(&entry, caller);
	if (err)
		add_error(&entry, err);
	audit_end(&entry, audit);
}

void audit_asked(struct audit *audit, const char *event, const char *token, const char *peer,
		 const struct lease_caller *caller, const struct lease *lease, const char *lease_id)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, event);
	if (lease)
		audit_add_lease(&entry, lease);
	else
		audit_add_text(&entry, entry.json, "lease_id", lease_id);
	audit_add_text(&entry, entry.json, "token", token);
	audit_add_text(&entry, entry.json, "peer", peer);
	audit_add_caller(&entry, caller);
	audit_end(&entry, audit);
}

void audit_refused(struct audit *audit, const char *token, const char *peer,
		   const struct lease_caller *caller, const char *project, const char *config,
		   const char *why)
{
	struct audit_entry entry;
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_NOT_ALLOWED, "%s", why);
	audit_begin(&entry, audit, "refused");
	add_slot(&entry, project, config, NULL);
	audit_add_text(&entry, entry.json, "token", token);
	audit_add_text(&entry, entry.json, "peer", peer);
	audit_add_caller(&entry, caller);
	add_error(&entry, &err);
	audit_end(&entry, audit);
}

/* The log. */

int audit_open(struct audit **ret, const struct audit_options *options, struct dsec_error *err)
{
	struct audit *audit = alloc_zeroed(1, sizeof(*audit));
	uint64_t seed;

	audit->fd = -1;
	audit->options = *options;
	audit->options.file = alloc_copy(options->file);
	audit->options.state_folder = alloc_copy(options->state_folder);
	audit->told_at = options->clock->boottime_at(options->clock);
	options->clock->random_bytes(options->clock, &seed, sizeof(seed));
	audit_readers_init(&audit->readers, seed);
	int r = audit_key_make(&audit->key, options->state_folder, options->clock, err);
	if (r == 0)
		r = audit_log_open(audit, err);
	if (r < 0) {
		audit_close(audit);
		return r;
	}
	audit->opened = true;
	*ret = audit;
	return 0;
}

struct audit *audit_close(struct audit *audit)
{
	if (!audit)
		return NULL;
	if (audit->opened)
		audit_readers_end_all(audit);
	audit_readers_finish(&audit->readers);
	audit_log_close(audit);
	secret_unref(audit->key);
	free((char *)audit->options.file);
	free((char *)audit->options.state_folder);
	free(audit);
	return NULL;
}

int64_t audit_tick(struct audit *audit)
{
	const struct clock *clock = audit->options.clock;

	if (audit->head.number == audit->told)
		return DSEC_NEVER;
	if (clock->boottime_at(clock) >= audit->told_at + AUDIT_HEAD_INTERVAL_MS)
		audit_log_tell_head(audit);
	return audit->head.number == audit->told ? DSEC_NEVER
						 : audit->told_at + AUDIT_HEAD_INTERVAL_MS;
}

unsigned long audit_lost(const struct audit *audit)
{
	return audit->n_lost;
}

bool audit_writable(const struct audit *audit)
{
	return !audit->unwritable;
}

void audit_metrics(const struct audit *audit, FILE *to)
{
	fprintf(to,
		"# HELP dsec_audit_lines_total Lines written to the audit log.\n"
		"# TYPE dsec_audit_lines_total counter\n"
		"dsec_audit_lines_total %" PRIu64 "\n"
		"# HELP dsec_audit_lost_total Lines that could not be written to the audit log.\n"
		"# TYPE dsec_audit_lost_total counter\n"
		"dsec_audit_lost_total %" PRIu64 "\n"
		"# HELP dsec_audit_writable Whether the last line could be written (1) or not "
		"(0).\n"
		"# TYPE dsec_audit_writable gauge\n"
		"dsec_audit_writable %d\n",
		audit->n_lines, audit->n_lost, !audit->unwritable);
}
