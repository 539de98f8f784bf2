/*
 * holders.h: which holders a caller is: its user, its container, its process, as numbers that mean
 * one holder only in the life of the mount.
 *
 * Belongs to the file thread. A holder that has only looked is forgotten when others come; one that
 * may have leases is watched by the engine's thread (watch.h), which says when it has ended.
 */
#ifndef DSEC_FS_HOLDERS_H
#define DSEC_FS_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/caller.h"
#include "fs/cgroup.h"
#include "fs/queue.h"
#include "fs/shared.h"
#include "lease/engine.h"
#include "lease/list.h"
#include "lease/table.h"

/* How many are remembered that have only looked. */
#define HOLDERS_IDLE_MAX 4096

/* How many may be watched at a time: each process costs a descriptor. */
#define HOLDERS_WATCHED_MAX SHARED_HOLDERS_MAX

struct holders {
	struct shared *shared;
	uint32_t *free_slots; /* of shared->holders, below holders_used */
	size_t n_free_slots, free_slots_size;
	struct table by_key, by_number;
	struct list idle;    /* the one longest not looked up first */
	struct list watched; /* whose end will be told */
	size_t n_idle, n_watched;
	struct cgroup_mounts mounts;
	struct queue *outbox;
};

struct holder;

/* A caller as the owner of leases. */
struct viewer {
	lease_holder holders[SCOPES]; /* as struct acquire has them */
	/* Which nodes are its own, of a file whose secrets have these scopes: 0 where all readers
	 * share them; HOLDER_NOBODY where it cannot be known who it is. */
	lease_holder node;
	struct holder *container, *process; /* NULL where no scope asks for it */
	int error;                          /* 0, or the errno of opening such a file */
	const char *reason;                 /* of the error: a sentence */
};

#define HOLDER_NOBODY UINT64_MAX

/* The shared memory stays the caller's. */
void holders_init(struct holders *holders, struct shared *shared, struct queue *outbox);
/* Those of an earlier process are watched again, before anything is asked for them. */
void holders_restore(struct holders *holders);
void holders_finish(struct holders *holders);

/* Bit i of scopes: there is a secret of that scope. tid: of the thread whose request is unanswered.
 */
void holders_view(struct holders *holders, unsigned scopes, uid_t uid, pid_t tid,
		  struct viewer *ret);

/* Before the viewer is given a lease: its end will be told. 0 or a positive errno, with a reason.
 */
int holders_watch(struct holders *holders, struct viewer *viewer, pid_t tid);

/* Whom a lease is charged to that the caller makes necessary, for free(): what goes on when its
 * process or its container is started again. That is where its cgroup says so and root owns what is
 * above it: a container, a pod, a unit; else its user. */
char *holders_payer(const struct holders *holders, uid_t uid, pid_t tid);

/* Is it one that a watch was asked for, and whose end has not been told? */
bool holders_known(const struct holders *holders, lease_holder number);

/* Several holders in one: of nodes alone, never of leases. */
bool holders_is_set(lease_holder number);

/* The engine's thread has seen its end. */
void holders_ended(struct holders *holders, lease_holder number);

#endif
