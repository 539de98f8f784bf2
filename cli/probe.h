/*
 * probe.h: which daemon serves a mount, asked of the mount itself.
 */
#ifndef DSEC_CLI_PROBE_H
#define DSEC_CLI_PROBE_H

#include <limits.h>
#include <sys/types.h>

#include "lease/error.h"

#define PROBE_TIMEOUT_MS 5000 /* a daemon that does not answer for so long is hanging */

struct probe {
	pid_t pid;
	char state[PATH_MAX];  /* its state folder */
	char config[PATH_MAX]; /* its configuration */
};

/* Reads the attributes of the mount's root. Never waits longer than PROBE_TIMEOUT_MS, also when the
 * daemon hangs. Fails with DSEC_ERROR_TIMEOUT, NOT_ALLOWED (another user's mount), or FAULT. */
int probe_mount(const char *mountpoint, struct probe *ret, struct dsec_error *err);

/* The same, and a pidfd of the daemon in *ret_pidfd, which is then certain to mean that process and
 * no other that got its number. */
int probe_daemon(const char *mountpoint, struct probe *ret, int *ret_pidfd, struct dsec_error *err);

/* Sends through a pidfd; EPERM becomes a sentence. */
int probe_signal(int pidfd, const struct probe *probe, int number, struct dsec_error *err);

/* Logs why no daemon can be spoken to at this path, when nothing, a dead dsec or something else is
 * mounted there. Returns 0 when a live dsec is. */
int probe_expect_alive(const char *mountpoint);

#endif
