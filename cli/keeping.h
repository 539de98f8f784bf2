/*
 * keeping.h: the keeper's life: what fs/keeper.h needs to know of dsec's folders, files and words.
 */
#ifndef DSEC_CLI_KEEPING_H
#define DSEC_CLI_KEEPING_H

#include <limits.h>

/* Absolute, all of them. */
struct places {
	char config[PATH_MAX], state[PATH_MAX], mountpoint[PATH_MAX];
};

/* Locks the state folder and keeps the mount until its end. ready_fd: for background_ready; -1 in
 * the foreground. Returns STATUS_…, of how it ended. */
int keeping_run(const struct places *places, int ready_fd);

/* What the worker is told of where its messages go. */
#define KEEPING_FOREGROUND "foreground" /* to stderr */
#define KEEPING_BACKGROUND "background" /* to stderr until it serves, then to syslog */
#define KEEPING_SYSLOG     "syslog"

#endif
