/*
 * state.h: the state folder in use: one daemon at a time, and which daemon it is.
 */
#ifndef DSEC_CLI_STATE_H
#define DSEC_CLI_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "lease/error.h"
#include "lease/identity.h"

struct state {
	char folder[PATH_MAX]; /* its real path */
	char daemon_id[DAEMON_ID_MAX];
	bool fresh; /* no daemon had this id before: no user in IAM can be its own */
	int lock_fd;
};

/* Makes the folder where there is none, takes its lock (the file "lock" in it, which then holds our
 * pid) and finds out the daemon's id. -EBUSY, with the owner's pid in the message, while another
 * daemon has it. */
int state_open(struct state *ret, const char *folder, struct dsec_error *err);

/* Lets the lock go. */
void state_close(struct state *state);

#endif
