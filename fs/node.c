#include "fs/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/message.h"
#include "fs/node_private.h"
#include "lease/alloc.h"

/* The table. */

static bool same_id(const struct table_node *at, const void *id)
{
	return container_of(at, struct node, by_id)->id == *(const uint64_t *)id;
}

struct node *nodes_find(const struct nodes *nodes, uint64_t id)
{
	struct table_node *at =
		table_find(&nodes->by_id, table_hash(&nodes->by_id, &id, sizeof(id)), same_id, &id);

	return at ? container_of(at, struct node, by_id) : NULL;
}

uint64_t nodes_take_id(struct nodes *nodes)
{
	return atomic_fetch_add(&nodes->shared->last_node, 1) + 1;
}

void node_show_entry(struct node *node)
{
	node->mode = node->entry->mode;
	node->uid = node->entry->uid;
	node->gid = node->entry->gid;
}

struct node *node_new(struct nodes *nodes, uint64_t id, enum node_kind kind,
		      const struct entry *entry)
{
	struct node *node = alloc_zeroed(1, sizeof(*node));

	node->id = id;
	node->kind = kind;
	node->entry = entry;
	node->time_ms = tree_loaded_ms(nodes->tree);
	if (entry)
		node_show_entry(node);
	list_init(&node->waiters);
	list_init(&node->watchers);
	list_init(&node->in_nodes);
	list_init(&node->in_folders);
	if (kind == NODE_FOLDER)
		list_append(&nodes->folders, &node->in_folders);
	list_init(&node->in_variants);
	list_append(&nodes->all, &node->in_nodes);
	table_insert(&nodes->by_id, &node->by_id, table_hash(&nodes->by_id, &id, sizeof(id)));
	return node;
}

void nodes_init(struct nodes *nodes, struct shared *shared, struct tree *tree, struct queue *outbox)
{
	*nodes = (struct nodes){
		.shared = shared,
		.tree = tree,
		.outbox = outbox,
	};
	list_init(&nodes->all);
	list_init(&nodes->folders);
	list_init(&nodes->variants);
	table_init(&nodes->by_id, shared->seed);
	table_init(&nodes->by_key, shared->seed);
	leases_init(&nodes->leases, shared->seed, shared->memory);

	struct node *root = node_new(nodes, NODE_ROOT, NODE_FOLDER, tree_root(tree));
	root->ino = root->entry->ino;
	root->lookups = 1; /* the kernel never forgets it */
	if (!shared_resumed(shared))
		nodes_restore(nodes);
}

void node_unbind(struct node *node)
{
	for (size_t i = 0; i < node->n_bindings; i++)
		binding_finish(&node->bindings[i]);
	free(node->bindings);
	node->bindings = NULL;
	node->n_bindings = 0;
}

void nodes_discard_tree(struct nodes *nodes, struct tree *tree)
{
	struct message *message = message_new(MESSAGE_DISCARD, 0);

	message->tree = tree;
	message_send(nodes->outbox, message);
}

void node_free(struct nodes *nodes, struct node *node)
{
	if (nodes->retired && !list_empty(&node->watchers))
		nodes->retired(nodes->arg, node);
	node_leave_key(nodes, node);
	records_erase(&nodes->records, node->record);
	table_remove(&nodes->by_id, &node->by_id);
	list_remove(&node->in_nodes);
	list_remove(&node->in_folders);
	if (!list_empty(&node->in_variants))
		nodes->n_variants--;
	list_remove(&node->in_variants);
	node_unbind(node);
	if (node->tree)
		nodes_discard_tree(nodes, node->tree);
	free(node->name);
	free(node->text);
	free(node);
}

void nodes_finish(struct nodes *nodes)
{
	list_each (at, &nodes->all) {
		struct node *node = container_of(at, struct node, in_nodes);

		node->record = 0; /* the next process is to find it */
		node_free(nodes, node);
	}
	records_finish(&nodes->records);
	handles_finish(&nodes->handles);
	table_finish(&nodes->by_id);
	table_finish(&nodes->by_key);
	leases_finish(&nodes->leases);
	nodes_discard_tree(nodes, nodes->tree);
}

/* Bytes. */

int node_render(const struct nodes *nodes, const struct node *node, struct download *to)
{
	const struct lease *leases[CATALOG_DYNAMICS_MAX] = {0};
	const struct config *config = node->entry->config;

	/* By name: a reload may have changed the order of the config's secrets. */
	for (size_t i = 0; i < node->n_bindings; i++) {
		const struct lease *lease = node->bindings[i].lease;
		size_t index;

		if (!config_dynamic(config, lease->slot.secret, &index))
			return -ESTALE;
		leases[index] = lease;
	}
	return tree_render(to, node->tree ? node->tree : nodes->tree, node->entry, leases);
}

void node_bind_to(struct nodes *nodes, struct node *node, const struct lease *const *leases)
{
	struct download bytes = {0};

	node->kind = NODE_LEASED;
	node->n_bindings = node_secrets_of(node->entry);
	node->bindings = alloc_zeroed(node->n_bindings, sizeof(*node->bindings));
	node->time_ms = 0;
	for (size_t i = 0; i < node->n_bindings; i++) {
		struct held *held = leases_find(&nodes->leases, leases[i]->id);

		if (!held)
			held = leases_active(&nodes->leases, leases[i]);
		binding_init(&node->bindings[i], held, leases[i], node);
		if (leases[i]->start_ms > node->time_ms)
			node->time_ms = leases[i]->start_ms;
	}
	node->error = -node_render(nodes, node, &bytes);
	node->size = bytes.n;
	node->content = tree_content(&bytes);
	download_finish(&bytes);
}

/* For the next process. */

static void write_bindings(const struct node *node, struct record_binding *to)
{
	for (size_t i = 0; i < node->n_bindings; i++) {
		const struct lease *lease = node->bindings[i].lease;

		memcpy(to[i].lease_id, lease->id, sizeof(to[i].lease_id));
		to[i].generation = lease->generation;
		to[i].expires_ms = lease->expires_ms;
	}
}

static uint32_t text_size(const struct node *node)
{
	return node->text && node->size <= RECORDS_TEXT_MAX ? (uint32_t)node->size : 0;
}

void node_write(struct nodes *nodes, struct node *node)
{
	struct record_binding bindings[CATALOG_DYNAMICS_MAX] = {0};
	const struct record record = {
		.kind = node->kind,
		.entry_kind = node->entry->kind,
		.entry_ino = node->entry->ino,
		.ino = node->ino,
		.folder = node->folder,
		.ttl_ms = node->ttl_ms,
		.holder = node->holder,
		.mode = node->mode,
		.uid = node->uid,
		.gid = node->gid,
		.error = node->error,
		.size = node->size,
		.time_ms = node->time_ms,
		.content = node->content,
		.n_bindings = (uint32_t)node->n_bindings,
		.name_n = node->name ? (uint32_t)strlen(node->name) : 0,
		.text_n = text_size(node),
		.fresh = node->fresh,
		.opener = node->opener,
	};

	write_bindings(node, bindings);
	node->record = records_write(&nodes->records, node->record, node->id, &record, bindings,
				     node->name, node->text);
}

/* The count that the next process finds is never less than the kernel's: it is raised before the
 * kernel hears of the node, and lowered when a FORGET cannot come a second time. */
static void set_lookups(struct nodes *nodes, struct node *node, uint64_t lookups)
{
	node->lookups = lookups;
	records_set_lookups(&nodes->records, node->record, lookups);
}

void node_looked_up(struct nodes *nodes, struct node *node)
{
	set_lookups(nodes, node, node->lookups + 1);
}

void node_forgotten(struct nodes *nodes, struct node *node, uint64_t lookups)
{
	set_lookups(nodes, node,
		    node->lookups - (lookups < node->lookups ? lookups : node->lookups));
	node_settle(nodes, node);
}

void node_bind(struct nodes *nodes, struct node *node, const struct lease *const *leases)
{
	struct node_key key = {
		.kind = NODE_LEASED,
		.entry = node->entry,
		.ttl_ms = node->ttl_ms,
		.holder = node->holder,
		.leases = leases,
	};
	bool named = node->keyed && !nodes_find_key(nodes, &key);

	node_leave_key(nodes, node);
	node_bind_to(nodes, node, leases);
	if (named)
		node_enter_key(nodes, node, &key);
}

void node_spend(struct nodes *nodes, struct node *node)
{
	node_leave_key(nodes, node);
	node->kind = NODE_EMPTY;
	node_write(nodes, node);
}

static bool is_variant(const struct node_key *key)
{
	return key->kind == NODE_FOLDER && strcmp(key->name, key->entry->name) != 0;
}

/* Asks the kernel to forget the oldest, by the engine's thread. It takes the lock of the project's
 * folder, in which no LOOKUP is ever kept. */
static void forget_oldest_variant(struct nodes *nodes)
{
	struct node *oldest = list_first(&nodes->variants, struct node, in_variants);
	struct message *message = message_new(MESSAGE_FORGET, 0);

	message->node = oldest->folder;
	message->text = alloc_copy(oldest->name);
	message_send(nodes->outbox, message);
	list_remove(&oldest->in_variants);
	list_append(&nodes->variants, &oldest->in_variants);
}

void node_enter_variant(struct nodes *nodes, struct node *node)
{
	list_append(&nodes->variants, &node->in_variants);
	if (++nodes->n_variants > NODES_VARIANTS_KEPT)
		forget_oldest_variant(nodes);
}

static void touch_variant(struct nodes *nodes, struct node *node)
{
	if (list_empty(&node->in_variants))
		return;
	list_remove(&node->in_variants);
	list_append(&nodes->variants, &node->in_variants);
}

struct node *nodes_get(struct nodes *nodes, const struct node_key *key)
{
	struct node *node = nodes_find_key(nodes, key);

	if (node) {
		touch_variant(nodes, node);
		return node;
	}
	if (is_variant(key) && nodes->n_variants >= NODES_VARIANTS_MAX)
		return NULL;
	node = node_new(nodes, nodes_take_id(nodes), key->kind, key->entry);
	node->folder = key->folder;
	node->ttl_ms = key->ttl_ms;
	node->holder = key->holder;
	node->fresh = key->fresh;
	node->name = alloc_copy(key->name);
	node->text = alloc_copy(key->text);
	if (key->kind == NODE_FOLDER)
		node->ino = tree_ino(nodes_find(nodes, key->folder)->ino, key->name);
	else
		node->ino = node_file_ino(key->entry, key->ttl_ms, key->fresh);
	if (key->kind == NODE_STATIC) {
		node->size = key->entry->size;
		node->content = key->entry->content;
		node->error = key->entry->error;
	} else if (key->kind == NODE_REPORT) {
		node->size = strlen(key->text);
	} else if (key->kind == NODE_LEASED) {
		node_bind_to(nodes, node, key->leases);
	}
	node_enter_key(nodes, node, key);
	if (is_variant(key))
		node_enter_variant(nodes, node);
	if (key->kind != NODE_PROBE)
		node_write(nodes, node);
	return node;
}

void node_stat(const struct node *node, struct stat *ret)
{
	struct timespec time = {
		.tv_sec = node->time_ms / 1000,
		.tv_nsec = node->time_ms % 1000 * 1000000,
	};

	*ret = (struct stat){
		.st_ino = node->ino,
		.st_mode = node->mode,
		.st_nlink = S_ISDIR(node->mode) ? 2 : 1,
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_size = (off_t)node->size,
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)((node->size + 511) / 512),
		.st_atim = time,
		.st_mtim = time,
		.st_ctim = time,
	};
}
