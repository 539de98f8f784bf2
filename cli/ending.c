#include <string.h>

#include "cli/daemon_private.h"
#include "cli/log.h"
#include "cli/notify.h"
#include "cli/progress.h"

#define SHOW_MS 500 /* how often the line on the terminal is rewritten */

/* What keeps the daemon: users, and lines of the journal, which are there before their user is (its
 * making may be under way) and after it is gone (the disk is slow). */
static struct engine_left still_left(const struct daemon *daemon)
{
	struct engine_left left = engine_left(daemon->engine);

	if (left.users < left.lines)
		left.users = left.lines;
	if (left.total < left.users)
		left.total = left.users;
	return left;
}

void daemon_end(struct daemon *daemon, const char *reason)
{
	if (daemon->ending)
		return;
	daemon->ending = true;
	daemon->end_at =
		system_clock.boottime_at(&system_clock) + daemon->catalog->unmount_timeout_ms;
	notify_send("STOPPING=1\nSTATUS=revoking all leases");
	/* First the name, so that no reader comes any more; then the engine, which answers those
	 * that wait; then the thread that brings them the answer. */
	int r = door_unmount(daemon->options.door);
	if (r < 0)
		log_line(LOG_ERR, "the keeper does not unmount: %s", strerror(-r));
	engine_revoke_all(daemon->engine, reason);
	daemon->fs = fs_stop(daemon->fs);
	struct engine_left left = still_left(daemon);
	log_line(LOG_INFO, "%s: revoking %zu lease%s", reason, left.users,
		 left.users == 1 ? "" : "s");
}

static void show(struct daemon *daemon, const struct engine_left *left, int64_t now_at)
{
	char text[PROGRESS_TEXT_MAX];

	if (now_at - daemon->shown_at < SHOW_MS)
		return;
	daemon->shown_at = now_at;
	progress_show(left->users, left->total, left->estimate_ms);
	progress_text(text, left->users, left->total, left->estimate_ms);
	notify_send("STATUS=%s", text);
}

bool daemon_ended(struct daemon *daemon, int64_t now_at, int64_t *ret_next_at)
{
	struct engine_left left = still_left(daemon);

	if (left.users == 0) {
		progress_clear();
		log_line(LOG_INFO, "every lease is revoked");
		return true;
	}
	if (daemon->impatient || (!daemon->patient && now_at >= daemon->end_at)) {
		progress_clear();
		log_line(LOG_WARNING, "%s with %zu of %zu leases not revoked",
			 daemon->impatient ? "told to leave" : "out of time", left.users,
			 left.total);
		return true;
	}
	show(daemon, &left, now_at);
	if (*ret_next_at > daemon->shown_at + SHOW_MS)
		*ret_next_at = daemon->shown_at + SHOW_MS;
	if (!daemon->patient && *ret_next_at > daemon->end_at)
		*ret_next_at = daemon->end_at;
	return false;
}
