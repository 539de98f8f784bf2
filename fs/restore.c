/*
 * restore.c: the nodes of an earlier process, from its records.
 *
 * A node comes back as what it was, or stale: its attributes can be seen, and whoever has its pages
 * reads them, but opening it answers ESTALE, on which the VFS looks the path up again. It comes
 * back only if its bytes are the same to the last: the kernel may have some of its pages and ask
 * for the others.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/holders.h"
#include "fs/node_private.h"
#include "lease/alloc.h"

/* The tree's entries by inode number. */
struct index {
	const struct entry **entries;
	size_t n;
};

struct restoring {
	struct nodes *nodes;
	struct index index;
};

static void gather(struct index *index, const struct entry *entry)
{
	index->entries[index->n++] = entry;
	for (size_t i = 0; i < entry->n_children; i++)
		gather(index, &entry->children[i]);
}

static int by_ino(const void *a, const void *b)
{
	const struct entry *one = *(const struct entry *const *)a;
	const struct entry *other = *(const struct entry *const *)b;

	return (one->ino > other->ino) - (one->ino < other->ino);
}

static const struct entry *find_entry(const struct index *index, const struct record *record)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (index->entries[middle]->ino < record->entry_ino)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == index->n || index->entries[low]->ino != record->entry_ino ||
	    index->entries[low]->kind != record->entry_kind)
		return NULL;
	/* Numbers are hashes of paths. Two paths with one number: neither is certain. */
	if (low + 1 < index->n && index->entries[low + 1]->ino == record->entry_ino)
		return NULL;
	return index->entries[low];
}

/* Leases. */

/* A set of holders was known to the process that made it; now nobody is it, and only who has the
 * node open already reads it. */
static bool holder_has(lease_holder node, lease_holder lease)
{
	return lease == 0 || lease == node || holders_is_set(node);
}

/* Each in the version that the node was bound to; NULL where it is gone, or not for this holder. */
static struct lease *find_version(const struct nodes *nodes, const struct record_found *found,
				  size_t i, const struct dynamic_secret *secret)
{
	const struct record_binding *binding = &found->bindings[i];
	const struct held *held = leases_find(&nodes->leases, binding->lease_id);
	const struct lease *lease = held ? held->lease : NULL;

	if (!lease || !lease->secret_access_key || strcmp(lease->slot.secret, secret->name) != 0 ||
	    !holder_has(found->record.holder, lease->slot.holder))
		return NULL;
	if (lease->generation == binding->generation)
		return lease_ref(lease);
	return lease_version(lease, binding->generation, binding->expires_ms);
}

static bool find_leases(const struct nodes *nodes, const struct record_found *found,
			const struct entry *entry, struct lease *ret[CATALOG_DYNAMICS_MAX])
{
	size_t n = 0;

	if (found->record.n_bindings != (uint32_t)__builtin_popcountll(entry->secrets))
		return false;
	for (uint64_t left = entry->secrets; left; left &= left - 1, n++) {
		ret[n] = find_version(nodes, found, n,
				      &entry->config->dynamics[__builtin_ctzll(left)]);
		if (!ret[n])
			return false;
	}
	return true;
}

static bool bind(struct nodes *nodes, struct node *node, const struct record_found *found)
{
	struct lease *leases[CATALOG_DYNAMICS_MAX] = {0};
	bool fine = find_leases(nodes, found, node->entry, leases);

	if (fine) {
		node_bind_to(nodes, node, (const struct lease *const *)leases);
		fine = node->error == 0 && node->size == found->record.size &&
		       node->content == found->record.content;
	}
	for (size_t i = 0; i < CATALOG_DYNAMICS_MAX; i++)
		lease_unref(leases[i]);
	return fine;
}

/* Nodes. */

/* Has it leases, of whoever had them? */
static bool leases_for_it(const struct entry *entry, const struct record *record)
{
	return entry->secrets != 0 &&
	       (record->fresh || (entry->scopes != 0) == (record->holder != 0));
}

/* Does the entry mean what it meant? With its bytes, where it has any of its own. */
static bool same(struct nodes *nodes, struct node *node, const struct record_found *found)
{
	const struct record *record = &found->record;
	const struct entry *entry = node->entry;

	switch (node->kind) {
	case NODE_FOLDER:
		return entry_is_folder(entry) && found->name[0];
	case NODE_STATIC:
		return !entry_is_folder(entry) && entry->secrets == 0 &&
		       entry->content == record->content && entry->size == record->size;
	case NODE_UNLEASED:
	case NODE_EMPTY:
		return leases_for_it(entry, record);
	case NODE_LEASED:
		return leases_for_it(entry, record) && bind(nodes, node, found);
	case NODE_REPORT: /* a long text was in its page cache, or nowhere */
		return entry_is_report(entry) && record->text_n == record->size && node->text;
	case NODE_PROBE:
		return false;
	}
	return false;
}

static void enter_key(struct nodes *nodes, struct node *node)
{
	const struct lease *leases[CATALOG_DYNAMICS_MAX];
	struct node_key key = {
		.kind = node->kind,
		.entry = node->entry,
		.folder = node->folder,
		.name = node->name,
		.ttl_ms = node->ttl_ms,
		.holder = node->holder,
		.leases = leases,
		.text = node->text,
	};

	for (size_t i = 0; i < node->n_bindings; i++)
		leases[i] = node->bindings[i].lease;
	/* Of two (one was bound while its name led to the other already) either will do. */
	if (node->kind != NODE_EMPTY && !nodes_find_key(nodes, &key))
		node_enter_key(nodes, node, &key);
	if (node->kind == NODE_FOLDER && strcmp(node->name, node->entry->name) != 0)
		node_enter_variant(nodes, node);
}

static void show_as_recorded(struct node *node, const struct record *record)
{
	node->mode = record->mode;
	node->uid = record->uid;
	node->gid = record->gid;
	node->size = record->size;
	node->time_ms = record->time_ms;
	node->error = record->error;
	node->content = record->content;
}

static void restore(void *arg, const struct record_found *found)
{
	const struct restoring *restoring = arg;
	struct nodes *nodes = restoring->nodes;
	const struct record *record = &found->record;

	/* Not one of ours: an id that no node has leads nowhere. */
	if (record->kind >= NODE_PROBE || nodes_find(nodes, found->node)) {
		records_erase(&nodes->records, found->at);
		return;
	}

	const struct entry *entry = find_entry(&restoring->index, record);
	struct node *node = node_new(nodes, found->node, (enum node_kind)record->kind, entry);

	node->record = found->at;
	node->lookups = found->lookups;
	node->stored = found->stored;
	node->was_open = true; /* as far as anybody knows */
	node->ino = record->ino;
	node->folder = record->folder;
	node->ttl_ms = record->ttl_ms;
	node->holder = record->holder;
	node->fresh = record->fresh;
	node->opener = record->opener;
	node->name = record->name_n > 0 ? alloc_copy(found->name) : NULL;
	if (record->text_n > 0 && strlen(found->text) == record->size)
		node->text = alloc_copy(found->text); /* its readers go by the size */
	if (entry && !found->stale && same(nodes, node, found)) {
		node->size = record->size;
		node->time_ms = record->time_ms;
		node->error = record->error;
		node->content = record->content;
		enter_key(nodes, node);
		if (node->kind == NODE_FOLDER) /* the configuration may be another by now */
			node_renew_listing(nodes, node);
		return;
	}
	node_unbind(node);
	node->entry = NULL;
	show_as_recorded(node, record);
	node->stale = true;
	records_set_stale(&nodes->records, node->record);
}

static void reopen(void *arg, uint64_t id)
{
	struct nodes *nodes = arg;
	struct node *node = nodes_find(nodes, id);

	if (!node)
		return; /* it had no room for a record */
	node->opens++;
}

static void settle_all(struct nodes *nodes)
{
	list_each (at, &nodes->all) {
		struct node *node = container_of(at, struct node, in_nodes);

		if (node->stale && node->opens == 0)
			node_invalidate(nodes, node);
		node_settle(nodes, node);
	}
}

void nodes_restore(struct nodes *nodes)
{
	struct restoring restoring = {.nodes = nodes};

	restoring.index.entries =
		alloc_zeroed(tree_entries(nodes->tree), sizeof(const struct entry *));
	gather(&restoring.index, tree_root(nodes->tree));
	qsort(restoring.index.entries, restoring.index.n, sizeof(const struct entry *), by_ino);
	records_begin(&nodes->records, nodes->shared, restore, &restoring);
	free(restoring.index.entries);
	handles_begin(&nodes->handles, nodes->shared, reopen, nodes);
	/* The root has no record. */
	if (shared_resumed(nodes->shared))
		node_renew_listing(nodes, nodes_find(nodes, NODE_ROOT));
	settle_all(nodes);
}
