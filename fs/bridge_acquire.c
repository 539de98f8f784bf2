/*
 * bridge_acquire.c: what the file thread's readers ask the engine for, and its answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/bridge_private.h"
#include "lease/alloc.h"

/* An engine_acquire whose answer is to come. */
struct pending {
	struct table_node by_acquire;
	struct list in_all;
	struct fs *fs;
	uint64_t acquire, node, ticket;
	bool calling, answered;
};

static bool same_acquire(const struct table_node *node, const void *acquire)
{
	return container_of(node, struct pending, by_acquire)->acquire ==
	       *(const uint64_t *)acquire;
}

static struct pending *find_pending(const struct fs *fs, uint64_t acquire)
{
	uint64_t hash = table_hash(&fs->pending, &acquire, sizeof(acquire));
	struct table_node *node = table_find(&fs->pending, hash, same_acquire, &acquire);

	return node ? container_of(node, struct pending, by_acquire) : NULL;
}

static void pending_free(struct pending *pending)
{
	table_remove(&pending->fs->pending, &pending->by_acquire);
	list_remove(&pending->in_all);
	free(pending);
}

static void answer(const struct pending *pending, const struct lease *const *leases, size_t n,
		   int error)
{
	struct message *message = message_new(MESSAGE_ACQUIRED, n);

	message->acquire = pending->acquire;
	message->node = pending->node;
	message->error = error;
	for (size_t i = 0; i < n; i++)
		message->leases[i] = lease_ref(leases[i]);
	message_send(&pending->fs->files.inbox, message);
}

static void acquired(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct pending *pending = arg;

	if (err)
		answer(pending, NULL, 0, dsec_error_errno(err->kind));
	else
		answer(pending, leases, n, 0);
	pending->answered = true;
	if (!pending->calling)
		pending_free(pending);
}

void bridge_acquire(struct fs *fs, const struct message *message)
{
	const struct entry *entry = message->entry;
	struct acquire request = {
		.project = entry->config->project,
		.config = entry->config->name,
		.secrets = entry->secrets,
		.ttl_ms = message->ttl_ms,
		.caller = message->caller,
		.payer = message->text,
	};
	memcpy(request.holders, message->holders, sizeof(request.holders));

	struct pending *pending = alloc_zeroed(1, sizeof(*pending));

	pending->fs = fs;
	pending->acquire = message->acquire;
	pending->node = message->node;
	list_init(&pending->in_all);
	list_append(&fs->all_pending, &pending->in_all);
	table_insert(&fs->pending, &pending->by_acquire,
		     table_hash(&fs->pending, &pending->acquire, sizeof(pending->acquire)));
	/* The bits are those of a catalog that the engine may not have any more. */
	if (message->tree != fs->tree) {
		answer(pending, NULL, 0, ESTALE);
		pending_free(pending);
		return;
	}
	pending->calling = true;
	pending->ticket = engine_acquire(fs->engine, &request, acquired, pending);
	pending->calling = false;
	if (pending->answered)
		pending_free(pending);
}

void bridge_abandon(struct fs *fs, const struct message *message)
{
	struct pending *pending = find_pending(fs, message->acquire);

	if (pending) {
		engine_abandon(fs->engine, pending->ticket);
		pending_free(pending);
	} else if (message->holders[SCOPE_SHARED]) {
		/* Its answer is on the way, and nobody is there to take it. */
		engine_end_holder(fs->engine, message->holders[SCOPE_SHARED], "not handed out");
	}
}

void bridge_abandon_all(struct fs *fs)
{
	list_each (at, &fs->all_pending) {
		struct pending *pending = container_of(at, struct pending, in_all);

		engine_abandon(fs->engine, pending->ticket);
		pending_free(pending);
	}
}
