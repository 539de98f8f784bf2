/*
 * observing.c: what the engine, the filesystem and the API have to say, to those who want to hear
 * it: the ledger, the filesystem, the API, the audit log.
 */
#include <unistd.h>

#include "cli/daemon_private.h"
#include "cli/log.h"

/* The ledger first: a reader that has the lease is to have it from the next worker too. */
static void enter_ledger(struct daemon *daemon, enum lease_event event, const struct lease *lease)
{
	if (event == LEASE_ENDED) {
		ledger_leave(daemon->ledger, lease->id);
		return;
	}
	if (event != LEASE_ACTIVE || ledger_enter(daemon->ledger, lease) || daemon->ledger_full)
		return;
	daemon->ledger_full = true;
	log_line(LOG_WARNING,
		 "more than %d leases live: should dsec's worker die, the secrets of the others "
		 "die with it",
		 LEDGER_MAX);
}

static void on_lease(void *arg, enum lease_event event, const struct lease *lease,
		     const char *reason)
{
	struct daemon *daemon = arg;

	enter_ledger(daemon, event, lease);
	if (daemon->fs)
		fs_lease(daemon->fs, event, lease);
	/* What goes on was told when it began. */
	if (daemon->audit && !(daemon->resuming && event == LEASE_ACTIVE))
		audit_lease(daemon->audit, event, lease, reason);
	if (daemon->api)
		api_lease(daemon->api, event, lease);
}

/* Of another user's process the worker sees no executable: the keeper does. The process waits, or
 * it is seen whether it is still the same. A reference. */
struct lease_caller daemon_complete(const struct daemon *daemon, const struct lease_caller *caller)
{
	struct lease_caller whole = *caller;
	struct door_who seen;
	int pidfd;

	if (!caller->who || caller->who->executable ||
	    door_who(daemon->options.door, caller->who->pid, &seen, &pidfd) < 0) {
		who_ref(whole.who);
		return whole;
	}
	close(pidfd);
	if (seen.start_time == caller->who->start)
		whole.who = who_with(caller->who, seen.executable);
	else
		who_ref(whole.who);
	return whole;
}

static int on_intended(void *arg, const struct journal_record *record, struct dsec_error *err)
{
	struct daemon *daemon = arg;

	return daemon->audit ? audit_intended(daemon->audit, record, err) : 0;
}

void daemon_opened(void *arg, const struct lease *lease, const struct lease_caller *caller,
		   uint64_t count)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = daemon_complete(daemon, caller);
	audit_read(daemon->audit, lease, &whole, count);
	who_unref(whole.who);
}

/* What comes of a file is counted when it is opened. */
static void on_reused(void *arg, const struct lease *lease, const struct lease_caller *caller)
{
	daemon_opened(arg, lease, caller, 0);
}

void daemon_asked(void *arg, const struct api_token_event *event)
{
	static const char *const names[] = {
		[API_TOKEN_CREATED] = "token_created", [API_TOKEN_REVOKED] = "token_revoked",
		[API_TOKEN_USED] = "token_used",       [API_TOKEN_REFUSED] = "token_refused",
		[API_LEASE_REVOKE] = "revoke_asked",   [API_LEASE_RENEW] = "renew_asked",
	};
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = daemon_complete(daemon, event->caller);
	if (event->what == API_REFUSED)
		audit_refused(daemon->audit, event->token_id, event->peer, &whole, event->project,
			      event->config, event->why);
	else
		audit_asked(daemon->audit, names[event->what], event->token_id, event->peer, &whole,
			    event->lease, event->lease_id);
	who_unref(whole.who);
}

static void on_metrics(void *arg, FILE *to)
{
	struct daemon *daemon = arg;

	if (daemon->audit)
		audit_metrics(daemon->audit, to);
}

static void on_failed(void *arg, const struct lease_slot *slot, const struct lease_caller *caller,
		      const struct dsec_error *err)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = daemon_complete(daemon, caller);
	audit_failed(daemon->audit, slot, &whole, err);
	who_unref(whole.who);
}

static void on_handed_out(void *arg, const struct lease *lease, const struct lease_caller *caller)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = daemon_complete(daemon, caller);
	audit_handed_out(daemon->audit, lease, &whole);
	who_unref(whole.who);
}

static void on_revocation_failed(void *arg, const struct journal_record *record,
				 const struct dsec_error *err)
{
	struct daemon *daemon = arg;

	if (daemon->audit)
		audit_revocation_failed(daemon->audit, record, err);
}

static void on_due(void *arg, const struct lease *lease)
{
	struct daemon *daemon = arg;

	if (daemon->fs)
		fs_due(daemon->fs, lease);
}

static void on_rotated(void *arg, const struct lease *lease, const char *reason)
{
	struct daemon *daemon = arg;

	if (daemon->fs)
		fs_rotated(daemon->fs, lease);
	if (!daemon->ending)
		rotations_add(daemon->rotations, daemon->catalog, lease, daemon->fs);
}

static void on_log(void *arg, int priority, const char *message)
{
	log_line(priority, "%s", message);
}

struct engine_observer daemon_observer(struct daemon *daemon)
{
	return (struct engine_observer){
		.intended = on_intended,
		.lease = on_lease,
		.failed = on_failed,
		.handed_out = on_handed_out,
		.reused = on_reused,
		.revocation_failed = on_revocation_failed,
		.due = on_due,
		.rotated = on_rotated,
		.metrics = on_metrics,
		.log = on_log,
		.arg = daemon,
	};
}
