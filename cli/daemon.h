/*
 * daemon.h: what serves a mount: the filesystem, the engine, the journal and AWS, wired together
 * and driven by one loop on the calling thread.
 *
 * It is the worker of a keeper, which tells it of signals: TERM and INT end it (all leases are
 * revoked, for up to unmount_timeout; a second one leaves at once), USR1 lifts that time limit,
 * before or while it ends, HUP reads the configuration again. A umount by anybody ends it like
 * TERM.
 */
#ifndef DSEC_CLI_DAEMON_H
#define DSEC_CLI_DAEMON_H

#include "cli/sandbox.h"
#include "cli/state.h"
#include "fs/door.h"
#include "fs/shared.h"
#include "lease/catalog.h"
#include "lease/error.h"

struct daemon_options {
	const char *config_file;   /* absolute, as all paths here */
	const char *mountpoint;    /* exists, with nothing mounted there */
	const struct state *state; /* open; stays the caller's */
	/* The keeper's, and what it holds for this process and the next; they outlive the daemon.
	 */
	struct door *door;
	struct shared *shared;
	struct sandbox *sandbox; /* prepared (enclose.h); stays the caller's */
	pid_t keeper_pid;
	unsigned restarts; /* how many workers there were before */
	bool background;   /* let go of the terminal once it serves */
};

struct daemon;

/* Opens everything, has it mounted, closes itself in, and serves. Takes a reference to the catalog.
 * err has no message where the keeper has said why. */
int daemon_start(struct daemon **ret, const struct daemon_options *options, struct catalog *catalog,
		 struct dsec_error *err);

/* Serves until it is told to end, and ends: unmounted, everything revoked as far as the time
 * allows, what is left told. Returns STATUS_FINE when nothing is left, else STATUS_FAILED. Frees
 * the daemon. */
int daemon_run(struct daemon *daemon);

/* What the keeper says, from door_dispatch. */
void daemon_order(struct daemon *daemon, const struct door_message *order);

#endif
