/*
 * audit.h: who was given which lease, and what became of it: one JSON object a line, appended. No
 * secret in it.
 *
 * {"time":"2022-02-15T17:04:54.782Z","event":"active|ended|gone|handed_out|failed|revocation_failed","project":…,"config":…,"secret":…,"lease_id":…,"user":…,"access_key_id":…,
 *  "expires":…,"reason":…,"caller":{"uid":…,"gid":…,"pid":…,"executable":…,"cgroup":…},"error":{"kind":…,"message":…,"code":…,"request_id":…}}
 * Members that do not apply are left out.
 */
#ifndef DSEC_LEASE_AUDIT_H
#define DSEC_LEASE_AUDIT_H

#include "lease/clock.h"
#include "lease/engine.h"
#include "lease/error.h"

struct audit;

/* Opens the file for appending, 0600 when it makes it. */
int audit_open(struct audit **ret, const char *file, const struct clock *clock,
	       struct dsec_error *err);
struct audit *audit_close(struct audit *audit); /* NULL-safe */

/* Opens the file by its name again: after a rotation (logrotate) or a reload. The old one stays in
 * use on failure. */
int audit_reopen(struct audit *audit, const char *file, struct dsec_error *err);

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
unsigned long audit_lost(const struct audit *audit);

#endif
