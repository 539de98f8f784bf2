/*
 * give.h: a file's bytes for one who asks by another way than the mount (fs_give).
 *
 * Belongs to the engine's thread. Only whose the leases of a container are is asked of the file
 * thread, which knows the holders: who reads the mount from that container shares them.
 */
#ifndef DSEC_FS_GIVE_H
#define DSEC_FS_GIVE_H

#include <stdint.h>

#include "fs/fs.h"
#include "fs/message.h"
#include "fs/queue.h"
#include "fs/tree.h"
#include "lease/list.h"

struct gives {
	struct list all;
	uint64_t last;
	struct queue *inbox; /* the file thread's */
};

void gives_init(struct gives *gives, struct queue *inbox);
void gives_finish(struct gives *gives); /* who waits is told so */

uint64_t give_begin(struct gives *gives, struct engine *engine, struct tree *tree, const char *path,
		    const struct lease_caller *caller, fs_given *given, void *arg);
/* `tree`: the current one. */
void give_viewed(struct gives *gives, const struct tree *tree, const struct message *message);
void give_abandon(struct gives *gives, uint64_t number);

#endif
