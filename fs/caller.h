/*
 * caller.h: who is the process that asks, as /proc tells it: the one place that looks.
 *
 * The kernel gives the number of a thread. While its request is unanswered it can neither end nor
 * can its number become another's, so whoever answers looks before it does. Reading these files of
 * /proc takes some microseconds and waits for no disk, no lock of ours and no other process, so the
 * file thread may do it.
 */
#ifndef DSEC_FS_CALLER_H
#define DSEC_FS_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process in the life of the machine: its number may be used again, with another start. */
struct caller {
	pid_t pid;      /* of the process, also where one of its threads asks */
	uint64_t start; /* in clock ticks since the machine's */
};

#define CALLER_CGROUPS_MAX 8192 /* of the text of /proc/PID/cgroup */

/* All: 0, or a negative errno. A tid of 0 is a thread in a pid namespace that is not below ours:
 * -ESRCH. */
int caller_process(pid_t tid, struct caller *ret);
int caller_cgroups(pid_t tid, char to[CALLER_CGROUPS_MAX]);

/* The number of its mount namespace; -EACCES where we have no right to look. */
int caller_mount_namespace(pid_t tid, uint64_t *ret);

/* The oldest of its ancestors, itself included, that is in this mount namespace: as long as it
 * lives, so does what runs there. */
int caller_eldest(pid_t tid, uint64_t namespace, struct caller *ret);

/* Has the process this group, supplementary groups included? */
bool caller_has_group(pid_t tid, gid_t gid);

#endif
