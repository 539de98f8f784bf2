/*
 * child.h: a command that is run for what it prints.
 */
#ifndef DSEC_LEASE_CHILD_H
#define DSEC_LEASE_CHILD_H

#include <sys/types.h>

/* Runs words[0], looked for in PATH, with `output` as its standard output and /dev/null as its
 * standard input and errors; every other descriptor is as its close-on-exec flag says. It has
 * signals as they are by default, none blocked, and a process group of its own: kill(-pid) ends
 * what it has started too. The caller waits for it. 0 or a negative errno. */
int child_spawn(pid_t *ret, char **words, int output);

#endif
