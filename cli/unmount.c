#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/file.h"
#include "cli/left.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "cli/progress.h"
#include "fs/fs.h"
#include "lease/clock.h"

#define LOOK_MS            500   /* how often the journal is counted */
#define MARGIN_MS          15000 /* what a daemon may take beyond its unmount_timeout */
#define UNMOUNT_TIMEOUT_MS 60000 /* dsec.json's default, where the file cannot be read */

/* Waits until the daemon has ended, and shows what its journal says meanwhile. 0 or -ETIMEDOUT. */
static int watch(int pidfd, const char *state_folder, int64_t end_at)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	int64_t begin_at = system_clock.boottime_at(&system_clock);
	ssize_t total = left_count(state_folder, NULL);

	while (poll(&ended, 1, LOOK_MS) != 1) {
		int64_t now_at = system_clock.boottime_at(&system_clock);

		if (now_at >= end_at) {
			progress_clear();
			return -ETIMEDOUT;
		}
		ssize_t left = left_count(state_folder, NULL);
		if (left > total)
			total = left;
		if (left <= 0)
			continue;
		int64_t estimate_ms = left < total ? (now_at - begin_at) / (total - left) * left
						   : PROGRESS_UNKNOWN;
		progress_show((size_t)left, (size_t)total, estimate_ms);
	}
	progress_clear();
	return 0;
}

/* Both are for what the daemon itself will do; where the file has become unreadable, it goes on
 * with what it has read, and the defaults are the best guess. */
static struct catalog *daemon_catalog(const struct peer *peer, int64_t *ret_timeout_ms)
{
	struct catalog *catalog = NULL;

	if (access(peer->config, R_OK) == 0)
		catalog = configuration_load(peer->config);
	*ret_timeout_ms = catalog ? catalog->unmount_timeout_ms : UNMOUNT_TIMEOUT_MS;
	return catalog;
}

static int report(const char *mountpoint, const char *state_folder, const struct catalog *catalog)
{
	ssize_t left = left_report(state_folder, catalog, false);

	if (left != 0)
		return STATUS_FAILED;
	printf("%s is unmounted, and no lease is left\n", mountpoint);
	return STATUS_FINE;
}

/* As unmount(). */
static int end_daemon(const char *mountpoint, bool wait, struct dsec_error *err)
{
	_cleanup_catalog_ struct catalog *catalog = NULL;
	_cleanup_fd_ int pidfd = -1;
	struct peer peer;
	int64_t timeout_ms;

	int r = peer_open(mountpoint, &peer, &pidfd, err);
	if (r < 0)
		return r;
	catalog = daemon_catalog(&peer, &timeout_ms);
	int64_t end_at = wait ? DSEC_NEVER
			      : system_clock.boottime_at(&system_clock) + timeout_ms + MARGIN_MS;
	if (wait)
		r = peer_signal(pidfd, &peer, SIGUSR1, err);
	if (r == 0)
		r = peer_signal(pidfd, &peer, SIGTERM, err);
	if (r < 0)
		return r;
	if (watch(pidfd, peer.state, end_at) < 0)
		return dsec_error_set(
			err, DSEC_ERROR_TIMEOUT,
			"the daemon (pid %d) has not ended within its unmount_timeout",
			(int)peer.pid);
	/* It was killed while it ended, or it could not unmount: its mount is ours to remove. */
	r = fs_mount_state(mountpoint) == FS_MOUNT_STALE ? fs_unmount(mountpoint, err) : 0;
	if (r < 0) {
		left_report(peer.state, catalog, false);
		return r;
	}
	return report(mountpoint, peer.state, catalog);
}

/* Nobody is there to revoke anything: the mount goes, and what is left is told. Which state folder
 * the dead daemon used cannot be asked any more. */
static int detach_stale(const char *mountpoint, const struct options *options,
			struct dsec_error *err)
{
	char state_folder[PATH_MAX];

	int r = paths_state(state_folder, options->state, err);
	if (r == 0)
		r = fs_unmount(mountpoint, err);
	if (r < 0)
		return r;
	log_line(LOG_WARNING, "the daemon that served %s was dead already", mountpoint);
	return report(mountpoint, state_folder, NULL);
}

/* STATUS_…, what is to be said being said; or a negative errno, with err set. */
static int unmount(const char *mountpoint, const struct options *options, struct dsec_error *err)
{
	if (fs_mount_state(mountpoint) == FS_MOUNT_STALE)
		return detach_stale(mountpoint, options, err);
	if (peer_expect(mountpoint) < 0)
		return STATUS_FAILED;
	return end_daemon(mountpoint, options->wait, err);
}

static int run(const struct options *options)
{
	char mountpoint[PATH_MAX];
	struct dsec_error err;

	int r = paths_mountpoint(mountpoint, options->n_operands ? options->operands[0] : NULL,
				 &err);
	if (r == 0)
		r = unmount(mountpoint, options, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return r;
}

const struct command unmount_command = {
	.name = "unmount",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.options = OPTION_STATE | OPTION_WAIT,
	.summary = "revoke every lease and end the mount",
	.help = "Tells the daemon that serves MOUNTPOINT (root: /run/dsec, others:\n"
		"$XDG_RUNTIME_DIR/dsec) to end, and stays until it has: it unmounts, revokes "
		"every\n"
		"lease for up to unmount_timeout, and says what is left. --state names the state\n"
		"folder of a daemon that is dead already.\n"
		"\n"
		"Exit status: 0 when nothing is left, else 1.\n",
	.run = run,
};
