/*
 * state.h: the state folder: one daemon at a time, and which daemon it is.
 *
 * Files in it: lock (locked while a daemon lives, its pid in it), salt (random, makes the daemon's
 * id), journal.db and its companions.
 */
#ifndef DSEC_CLI_STATE_H
#define DSEC_CLI_STATE_H

#include <limits.h>

#include "lease/error.h"
#include "lease/identity.h"

struct state {
	char folder[PATH_MAX]; /* its real path */
	char daemon_id[DAEMON_ID_MAX];
	int lock_fd;
};

/* Makes the folder where there is none (0700, with the folders above it), takes its lock and finds
 * out the daemon's id. -EBUSY, with the owner's pid in the message, while another daemon has it. */
int state_open(struct state *ret, const char *folder, struct dsec_error *err);

/* Lets the lock go. */
void state_close(struct state *state);

#endif
