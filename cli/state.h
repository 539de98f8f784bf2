/*
 * state.h: the state folder in use: one daemon at a time, and which daemon it is.
 */
#ifndef DSEC_CLI_STATE_H
#define DSEC_CLI_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lease/error.h"
#include "lease/identity.h"

struct state {
	char folder[PATH_MAX]; /* its real path */
	char daemon_id[DAEMON_ID_MAX];
	bool fresh; /* no daemon had this id before: no user in IAM can be its own */
};

/* Makes the folder where there is none, takes its lock (the file "lock" in it, which then holds our
 * pid) and gives the lock's descriptor. The lock is the open file's: whoever inherits that holds it
 * too. -EBUSY, with the owner's pid in the message, while another daemon has it; for
 * STATE_DYING_MS it waits for what is left of one whose pid is dead. */
#define STATE_DYING_MS 5000
int state_lock(char ret_folder[PATH_MAX], int *ret_lock_fd, const char *folder,
	       struct dsec_error *err);

/* Finds out the id of the daemon that has a locked folder. */
int state_open(struct state *ret, const char *folder, struct dsec_error *err);

/* Makes the folder and what lies in it the worker's own. What has another owner than dsec could
 * have is left alone, as is what has a second name. */
int state_give(const char *folder, uid_t uid, gid_t gid, struct dsec_error *err);

#endif
