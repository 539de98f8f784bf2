/*
 * daemon.h: what serves a mount: the filesystem, the engine, the journal and AWS, wired together
 * and driven by one loop on the calling thread.
 *
 * Signals: TERM and INT end it (all leases are revoked, for up to unmount_timeout; a second one
 * leaves at once), USR1 lifts that time limit, before or while it ends, HUP reads the configuration
 * again. A umount by anybody ends it like TERM.
 */
#ifndef DSEC_CLI_DAEMON_H
#define DSEC_CLI_DAEMON_H

#include "cli/state.h"
#include "lease/catalog.h"
#include "lease/error.h"

struct daemon_options {
	const char *config_file;   /* absolute, as all paths here */
	const char *mountpoint;    /* exists, with nothing mounted there */
	const struct state *state; /* open; stays the caller's */
	int ready_fd;              /* for background_ready; -1 in the foreground. Taken over */
};

struct daemon;

/* Opens everything, blocks the signals above, mounts, and serves. Takes a reference to the catalog.
 * On failure nothing stays mounted. */
int daemon_start(struct daemon **ret, const struct daemon_options *options, struct catalog *catalog,
		 struct dsec_error *err);

/* Serves until it is told to end, and ends: unmounted, everything revoked as far as the time
 * allows, what is left told. Returns STATUS_FINE when nothing is left, else STATUS_FAILED. Frees
 * the daemon. */
int daemon_run(struct daemon *daemon);

#endif
