/*
 * watch.h: when a holder of leases has ended: a process by its pidfd, a container by its cgroup.
 *
 * Belongs to the engine's thread. The kernel tells at once, but for containers of a version 1
 * hierarchy (there it tells of a removed folder alone) and where descriptors are short: those are
 * looked at once a second.
 */
#ifndef DSEC_FS_WATCH_H
#define DSEC_FS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/caller.h"
#include "lease/engine.h"
#include "lease/list.h"

#define WATCH_EVERY_MS 1000 /* of what the kernel does not tell */

struct watches {
	int fd; /* an epoll: readable when watch_collect has something, or the companion is */
	int inotify_fd, timer_fd;
	bool ticking;
	size_t n_polled;
	struct list all;
	struct list ended; /* collected, and not yet told */
};

/* `companion`: another descriptor that makes fd readable. 0 or a negative errno. */
int watches_init(struct watches *watches, int companion);
void watches_finish(struct watches *watches);

/* What has ended is told in two steps, so that what a holder has asked for before its end is heard
 * in between: collect, take all messages, tell. Never waits. */
void watch_collect(struct watches *watches);
typedef void watch_told(void *arg, lease_holder holder);
void watch_tell(struct watches *watches, watch_told *told, void *arg);
bool watch_has_ended(const struct watches *watches); /* something is collected */

/* The process that is watched for this holder, until its end is told. */
bool watch_find(const struct watches *watches, lease_holder holder, struct caller *ret);

/* Begins to watch. What has ended before is collected at once. */
void watch_process(struct watches *watches, lease_holder holder, const struct caller *caller);
void watch_cgroup(struct watches *watches, lease_holder holder, const char *folder, bool unified);
/* A container that is a mount namespace: until the eldest of the process's ancestors in it ends. */
void watch_namespace(struct watches *watches, lease_holder holder, pid_t tid, uint64_t namespace);

#endif
