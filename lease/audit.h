/*
 * audit.h: who was given which lease, and what became of it: one JSON object a line, appended,
 * chained to the line before (audit_chain.h). No secret in it.
 *
 * {"n":7,"time":"2022-02-15T17:04:54.782Z","event":…,"project":…,"config":…,"secret":…,
 *  "lease_id":…,"user":…,"access_key_id":…,"expires":…,"reason":…,"count":…,"token":…,"peer":…,
 *  "caller":{"uid":…,"gid":…,"pid":…,"started":…,"executable":…,"cgroup":…,"container":…},
 *  "error":{"kind":…,"message":…,"code":…,"request_id":…},"mac":…}
 * Members that do not apply are left out. The events:
 *
 *   intended, active, renewed, ended, gone   a lease, from the intent to the removal of its user
 *   handed_out   a reader was given a lease that was made for it, or that it waited for
 *   read         somebody of another uid, executable or container opened a file of the lease for
 *                the first time;  reads: how often each of them did, told when its user is gone
 *   failed       a reader was refused
 *   refused      a request of the API, before it could ask for a lease: it may not, or too often
 *   revocation_failed   a call of a user's removal
 *   token_created, token_revoked, token_used, token_refused, revoke_asked, renew_asked   by the API
 *   started, resumed, stopped, reloaded, reload_failed   the daemon; the last three with who asked
 *                for it, where that is known
 *   continued    the first line of a further file;  removed: an old file, for `keep`
 *   torn, lost, gap   what is wrong with the log: a line that a crash or a full disk cut, lines
 *                that could not be written, lines that were there when the daemon ended last
 *
 * The log belongs to one thread. Another one, of its own, brings it to the disk.
 */
#ifndef DSEC_LEASE_AUDIT_H
#define DSEC_LEASE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lease/clock.h"
#include "lease/engine.h"
#include "lease/error.h"

/* The head is told so long after a line, and then as often as there are new lines. */
#define AUDIT_HEAD_INTERVAL_MS 60000

/* So many readers are remembered as having been named; beyond, the one longest not seen is told how
 * often it read, and is named again when it comes again. */
#define AUDIT_READERS_MAX 8192

struct audit;

struct audit_options {
	const char *file;
	const char *state_folder; /* of the key and the head */
	uint64_t max_size;        /* bytes after which another file is begun */
	unsigned keep;            /* rotated files of its own; older ones are removed */
	bool required;            /* no lease without a line */
	const struct clock *clock;
	/* For the operator and the system's log: heads, and what is wrong. May be NULL. */
	void (*say)(void *arg, int priority, const char *message);
	void *arg;
};

/* Opens the file for appending, 0600 when it makes it, and finds the end of the chain. Where the
 * log is not `required`, a file that cannot be opened is said, counted and tried again; the key and
 * the state folder have to be there in any case. */
int audit_open(struct audit **ret, const struct audit_options *options, struct dsec_error *err);
struct audit *audit_close(struct audit *audit); /* tells the head; NULL-safe */

/* After a rotation by somebody else (logrotate), or a reload: opens the file by its name again. The
 * old one stays in use on failure. */
int audit_reopen(struct audit *audit, const struct audit_options *options, struct dsec_error *err);

/* Does what is due and returns the boottime at which it wants to be called again. */
int64_t audit_tick(struct audit *audit);

/* A lease is about to be made: fails, with the reason, when this line cannot be written and the log
 * is required. */
int audit_intended(struct audit *audit, const struct journal_record *record,
		   struct dsec_error *err);

/* For the engine's observer. A line that cannot be written is counted, not lost in silence:
 * audit_lost says how many. */
void audit_lease(struct audit *audit, enum lease_event event, const struct lease *lease,
		 const char *reason);
void audit_handed_out(struct audit *audit, const struct lease *lease,
		      const struct lease_caller *caller);
void audit_failed(struct audit *audit, const struct lease_slot *slot,
		  const struct lease_caller *caller, const struct dsec_error *err);
void audit_revocation_failed(struct audit *audit, const struct journal_record *record,
			     const struct dsec_error *err);

/* Files of the lease were opened so often. */
void audit_read(struct audit *audit, const struct lease *lease, const struct lease_caller *caller,
		uint64_t count);

/* Something that is about no lease. caller and err may be NULL; `what` is whose or which it is. */
void audit_event(struct audit *audit, const char *event, const char *what,
		 const struct lease_caller *caller, const struct dsec_error *err);

/* What somebody does by the API. `token`: his, or whose it is about; `peer`: where he comes from.
 * lease and lease_id may be NULL. */
void audit_asked(struct audit *audit, const char *event, const char *token, const char *peer,
		 const struct lease_caller *caller, const struct lease *lease,
		 const char *lease_id);

/* What somebody may not do by the API. project and config may be NULL. */
void audit_refused(struct audit *audit, const char *token, const char *peer,
		   const struct lease_caller *caller, const char *project, const char *config,
		   const char *why);

unsigned long audit_lost(const struct audit *audit);
bool audit_writable(const struct audit *audit); /* as far as the last line goes */

/* Counters in Prometheus' text format. */
void audit_metrics(const struct audit *audit, FILE *to);

#endif
