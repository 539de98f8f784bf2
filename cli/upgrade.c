#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/peer.h"
#include "lease/clock.h"

#define UPGRADE_TIMEOUT_MS 60000 /* for another worker to serve */
#define LOOK_MS            20    /* how often that is looked at */

static void read_version(const char *mountpoint, char *to, size_t size)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/.dsec/version", mountpoint);
	file_first_line(path, to, size);
}

/* Another worker, and the same keeper. Meanwhile the mount does not answer, but makes who asks
 * wait. */
static int wait_for_another(const char *mountpoint, const struct peer *before,
			    struct dsec_error *err)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	int64_t end_at = system_clock.boottime_at(&system_clock) + UPGRADE_TIMEOUT_MS;
	struct peer now;

	while (system_clock.boottime_at(&system_clock) < end_at) {
		if (peer_look(mountpoint, &now, err) == 0) {
			if (strcmp(now.notice, before->notice) != 0)
				return dsec_error_set(err, DSEC_ERROR_FAULT, "not upgraded: %s",
						      now.notice);
			if (now.worker != before->worker)
				return 0;
		} else if (peer_expect(mountpoint) < 0) {
			return dsec_error_set(err, DSEC_ERROR_FAULT, "the upgrade has failed");
		}
		nanosleep(&pause, NULL);
	}
	return dsec_error_set(err, DSEC_ERROR_TIMEOUT,
			      "no other version serves %s within %d s: see the daemon's log",
			      mountpoint, UPGRADE_TIMEOUT_MS / 1000);
}

static int upgrade(const char *mountpoint, struct dsec_error *err)
{
	_cleanup_fd_ int pidfd = -1;
	char old[64], new[64];
	struct peer peer;

	int r = peer_open(mountpoint, &peer, &pidfd, err);
	if (r < 0)
		return r;
	read_version(mountpoint, old, sizeof(old));
	r = peer_signal(pidfd, &peer, SIGUSR2, err);
	if (r == 0)
		r = wait_for_another(mountpoint, &peer, err);
	if (r < 0)
		return r;
	read_version(mountpoint, new, sizeof(new));
	printf("%s was served by dsec %s, and is now by dsec %s\n", mountpoint, old, new);
	return 0;
}

static int run(const struct options *options)
{
	return peer_tell(options, upgrade);
}

const struct command upgrade_command = {
	.name = "upgrade",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.summary = "have the installed version serve the mount",
	.help = "Has the daemon that serves MOUNTPOINT (root: /run/dsec, others:\n"
		"$XDG_RUNTIME_DIR/dsec) become the version that is installed now in its place,\n"
		"without unmounting: leases, open files and readers that wait live on. Waits "
		"until\n"
		"the new version serves. When it cannot take over, nothing changes.\n"
		"\n"
		"Exit status: 0 when the installed version serves, else 1.\n",
	.run = run,
};
