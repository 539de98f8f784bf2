/*
 * who.h: which process asks, as /proc tells it.
 *
 * A number means one process only while that process waits for an answer, so whoever answers looks
 * before it does. Reading /proc takes some microseconds and waits for no disk and no other process.
 * The names are for the audit log: a process is free to run what it likes, and no right follows
 * from what it runs.
 */
#ifndef DSEC_LEASE_WHO_H
#define DSEC_LEASE_WHO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/clock.h"

#define WHO_TEXT_MAX 1024 /* of each text; what is longer is cut */

/* Immutable and reference-counted, for any thread. */
struct who {
	_Atomic unsigned references;
	pid_t pid;          /* of the process, also where one of its threads asked */
	uint64_t start;     /* as in /proc/PID/stat, in ticks */
	int64_t started_ms; /* calendar; 0: unknown */
	char command[16];   /* what the kernel calls it: the beginning of its program's name */
	char *executable;   /* NULL, like the next two: unknown, or not for us to see */
	char *cgroup;       /* from the root that this process sees */
	char *container;    /* as container.h names it, or a unit of systemd; as the cgroup's name
			       says */
};

/* The folder of a process or thread in /proc: it stays that of this one, and leads nowhere once it
 * is gone, whoever gets its number. A descriptor or a negative errno. */
int who_open(pid_t tid);

/* Looks; NULL when it is gone. */
struct who *who_read(int folder_fd, const struct clock *clock);

/* Is it there still, and does it run the same executable? Cheaper than looking again. */
bool who_same(int folder_fd, const struct who *who);

/* The same with an executable that somebody else has seen ("": none); a new one. */
struct who *who_with(const struct who *who, const char *executable);

/* One that may be gone: what somebody else has seen of it. */
struct who *who_known(pid_t pid, uint64_t start, const char *executable, const char *cgroup,
		      const struct clock *clock);

/* All at once; NULL when there is no such process, or its number is 0. */
struct who *who_look(pid_t tid, const struct clock *clock);

/* Does the process with this number and this start go on? One that has ended and that its parent
 * has not waited for does not. */
bool who_lives(pid_t pid, uint64_t start);

struct who *who_ref(struct who *who);   /* NULL-safe */
struct who *who_unref(struct who *who); /* NULL-safe; returns NULL */

/* The container or unit that a cgroup's path names; false: none. */
bool who_container(char to[WHO_TEXT_MAX], const char *cgroup);

#endif
