/*
 * executable.h: what a process runs, as /proc tells those who may look; or as somebody tells who
 * may (cli/enclose.c, through the door). For the audit log: no right follows from it.
 */
#ifndef DSEC_LEASE_EXECUTABLE_H
#define DSEC_LEASE_EXECUTABLE_H

#include <stddef.h>
#include <sys/types.h>

/* The path in `to`, cut where it is longer; 0 or a negative errno. */
typedef int executable_fn(void *arg, pid_t pid, char *to, size_t size);

/* From now on; NULL: /proc. At start, while there is one thread. */
void executable_use(executable_fn *fn, void *arg);

/* On the thread of the engine. */
int executable_of(pid_t pid, char *to, size_t size);

#endif
