/*
 * owner.h: whose daemon this is.
 *
 * The user who started it owns what it shows and may order it about; the process that serves may be
 * another user, without privilege (its worker). Where nobody has said otherwise both are the
 * process's own user.
 */
#ifndef DSEC_LEASE_OWNER_H
#define DSEC_LEASE_OWNER_H

#include <stdbool.h>
#include <sys/types.h>

/* Numbers for the workers of root's daemons where no user is made for them. A state folder may have
 * been made by a worker with any of them. */
#define OWNER_WORKER_UID_FIRST 64473u
#define OWNER_WORKER_UIDS      32u

/* At start, while the process has one thread. */
void owner_set(uid_t uid, gid_t gid, uid_t worker_uid);

uid_t owner_uid(void);
gid_t owner_gid(void);

/* May a folder of this user's be the daemon's own? The owner's and its worker's may. */
bool owner_may_have(uid_t uid);

#endif
