/*
 * opener.h: how files that the configuration names are opened: by open(2), or by whoever does it
 * for a process that may not (cli/worker.c, through the door).
 */
#ifndef DSEC_LEASE_OPENER_H
#define DSEC_LEASE_OPENER_H

enum opener_how {
	OPENER_READ,
	OPENER_APPEND, /* read and append; made with mode 0600 where there is none */
};

/* A descriptor, close-on-exec, or a negative errno. */
typedef int opener_fn(void *arg, const char *path, enum opener_how how);

/* From now on, on all threads; NULL: open(2). At start, while there is one. */
void opener_set(opener_fn *fn, void *arg);

/* Never waits for what a file that is no regular one might wait for. */
int opener_open(const char *path, enum opener_how how);

#endif
