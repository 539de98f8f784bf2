/*
 * keeper.h: the process that a mount belongs to: it mounts, holds what must survive, and starts the
 * process that serves again when that dies.
 *
 * It holds /dev/fuse (so that the mount lives and requests wait in the kernel while nobody serves),
 * the memory of shared.h, and memory for secrets that it never maps. It knows neither configuration
 * nor secret, reads nothing but signals and its door (door.h), and does what is asked there for a
 * worker that has no privilege. One thread, one poll loop.
 */
#ifndef DSEC_FS_KEEPER_H
#define DSEC_FS_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/door.h"

#define KEEPER_WORDS_MAX 16 /* of the worker's command line */

/* The worker's descriptors. */
#define KEEPER_DOOR_FD   3
#define KEEPER_SHARED_FD 4
#define KEEPER_SECRET_FD 5
#define KEEPER_LOCK_FD   6
#define KEEPER_FDS_END   7

/* What it holds; and what it is told that takes over from another keeper, by exec. */
struct keeper_state {
	int fuse_fd; /* -1: not mounted yet, or not any more */
	int shared_fd, secret_fd, lock_fd;
	int door_fd;  /* of the worker that serves; -1: none */
	pid_t worker; /* 0: none */
	unsigned restarts;
	bool made_folder, unmounted, patient;
};

struct keeper_options {
	struct keeper_state state;
	/* The words of the worker's command line, whose program is ours, and behind which comes one
	 * more: how many workers there were before. The second are for all that come after one has
	 * served. */
	char *const *worker, *const *next_worker;
	struct door_rights rights; /* its mount, unmount and ready are called by the keeper */
	/* What is to be done before the process ends, when the worker could not do it: it died too
	 * often, or while it ended. */
	void (*lost)(void *arg);
	/* Execs the new version with this state. Returns when that failed, with why. */
	void (*upgrade)(void *arg, const struct keeper_state *state, char *why, size_t size);
};

/* How often a worker may die by itself within KEEPER_DEATHS_MS before it is given up. One that was
 * killed from outside (SIGKILL) is not counted. */
#define KEEPER_DEATHS_MAX 8
#define KEEPER_DEATHS_MS  60000
/* It is started at once after the first death of such a row, then after so long, doubled each time.
 */
#define KEEPER_BACKOFF_MS     50
#define KEEPER_BACKOFF_CAP_MS 5000
/* So many in a row may be killed before they serve, and the next one is started at once. */
#define KEEPER_UNSERVED_FREE 5

/* Blocks the signals that it takes, and gives the descriptor that they come from: to be called
 * before anything else is started. Or a negative errno. */
int keeper_take_signals(struct dsec_error *err);

/* Descriptors that no worker has served from. 0 or a negative errno with err set; lock_fd stays the
 * caller's to set. */
int keeper_state_new(struct keeper_state *ret, struct dsec_error *err);

/* Keeps until the worker has ended in order, and returns the status to exit with: the worker's, or
 * 1. Nothing is mounted then. */
int keeper_run(int signal_fd, const struct keeper_options *options);

/* Moves a descriptor out of the way of the worker's numbers. */
int keeper_move_fd(int fd);

#endif
