/*
 * fresh.c: CONFIG@fresh: a lease for this open file alone, revoked when its last descriptor is
 * closed.
 *
 * Each look at the name makes a node of its own, so that no two openers share one: what the kernel
 * has cached of a name is never used for another caller (entry timeout 0). Only a name that leads
 * to the same node (/proc/PID/fd/N, a bind mount of the file) opens it again; then they share the
 * lease, if they are the same user.
 *
 * Whether an opener has its answer is known for sure: an OPEN is either answered and RELEASEd, or
 * interrupted.
 */
#include <errno.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

void fresh_look_up(struct files *files, fuse_req_t req, const struct node *folder,
		   const struct entry *entry)
{
	struct node_key key = {
		.kind = NODE_UNLEASED,
		.entry = entry,
		.ttl_ms = node_file_ttl(entry, folder->ttl_ms),
		.holder = lease_holder_of(HOLDER_OPEN, shared_take_holder(files->shared)),
		.fresh = true,
	};

	reply_entry(files, req, nodes_get(&files->nodes, &key), 0);
}

int fresh_may_open(const struct files *files, struct node *node, uid_t uid, struct viewer *ret)
{
	bool taken = node->opens > 0 || !list_empty(&node->waiters);

	/* Without the store the VFS would have to look the name up again, and find another node. */
	if (files->first_open != FS_FIRST_OPEN_STORE && !files->probing)
		return EOPNOTSUPP;
	if (taken && node->opener != uid)
		return EACCES;
	node->opener = uid;
	*ret = (struct viewer){0};
	for (int scope = 0; scope < SCOPES; scope++)
		ret->holders[scope] = node->holder;
	return 0;
}

void fresh_end(struct files *files, struct node *node, const char *how)
{
	struct message *message = message_new(MESSAGE_LET_GO, 0);

	message->holders[0] = node->holder;
	message->text = alloc_copy(how);
	message_send(&files->outbox, message);
	/* Nobody may open it before the engine has heard of it. */
	node->stale = true;
	records_set_stale(&files->nodes.records, node->record);
}
