/*
 * bridge_private.h: what the files of the engine's thread's side share.
 */
#ifndef DSEC_FS_BRIDGE_PRIVATE_H
#define DSEC_FS_BRIDGE_PRIVATE_H

#include <pthread.h>

#include "fs/fs_private.h"
#include "fs/give.h"
#include "fs/watch.h"

struct fs {
	struct files files; /* the file thread's, but for its queues and its session's descriptor */
	pthread_t thread;
	struct shared *own_shared; /* NULL: it is another's */
	char *mountpoint;
	bool running, started, ended;
	bool resumed; /* it waits for fs_resume, or has had it */
	int start_error;
	const struct clock *clock;
	char *version;
	struct tree *tree;     /* the current one */
	struct engine *engine; /* NULL before the first fs_dispatch */
	struct list early;     /* what was asked before that */
	struct table pending;  /* by their number */
	struct list all_pending;
	struct watches watches;
	struct gives gives;
	enum fs_first_open first_open;
	uint64_t n_counted; /* of files.n_cached: the engine knows of them */
	void (*opened)(void *arg, const struct lease *lease, const struct lease_caller *caller,
		       uint64_t count);
	void *opened_arg;
};

/* bridge.c */

/* Does what the file thread has asked for by now. */
void bridge_take_messages(struct fs *fs);

/* Of what the stopped thread still had to say only who has read what is of use. */
void bridge_take_last_opened(struct fs *fs);

void bridge_free_early(struct fs *fs); /* what fs->early holds, unasked */

/* bridge_acquire.c */

/* The answer goes to the file thread, at once or later. */
void bridge_acquire(struct fs *fs, const struct message *message);
void bridge_abandon(struct fs *fs, const struct message *message); /* nobody waits for it */
void bridge_abandon_all(struct fs *fs);

#endif
