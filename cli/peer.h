/*
 * peer.h: which daemon serves a mount, asked of the mount itself.
 */
#ifndef DSEC_CLI_PEER_H
#define DSEC_CLI_PEER_H

#include <limits.h>
#include <sys/types.h>

#include "lease/error.h"

struct options;

#define PEER_TIMEOUT_MS 5000 /* a daemon that does not answer for so long is hanging */

struct peer {
	pid_t pid;    /* the keeper: whom to signal, and whose end is the daemon's */
	pid_t worker; /* who serves at present */
	unsigned restarts;
	char notice[256];     /* what the keeper said last that nobody else was told; "": nothing */
	char memory[256];     /* where its secrets are, and of how many leases; likewise */
	char sandbox[256];    /* what the worker has given up; "": it does not say */
	char state[PATH_MAX]; /* its state folder */
	char config[PATH_MAX]; /* its configuration */
};

/* Reads the attributes of the mount's root. Never waits longer than PEER_TIMEOUT_MS, also when the
 * daemon hangs. Fails with DSEC_ERROR_TIMEOUT, NOT_ALLOWED (another user's mount), or FAULT. */
int peer_look(const char *mountpoint, struct peer *ret, struct dsec_error *err);

/* The same, and a pidfd of the daemon in *ret_pidfd, which is then certain to mean that process and
 * no other that got its number. */
int peer_open(const char *mountpoint, struct peer *ret, int *ret_pidfd, struct dsec_error *err);

/* Sends through a pidfd; EPERM becomes a sentence. */
int peer_signal(int pidfd, const struct peer *peer, int number, struct dsec_error *err);

/* Logs why no daemon can be spoken to at this path, when nothing, a dead dsec or something else is
 * mounted there. Returns 0 when a live dsec is. */
int peer_expect(const char *mountpoint);

/* Tells the daemon something that serves the mountpoint which the command line names, or the
 * default one; logs why not. Returns the command's exit status. */
int peer_tell(const struct options *options,
	      int (*tell)(const char *mountpoint, struct dsec_error *err));

#endif
