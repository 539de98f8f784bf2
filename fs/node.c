#include "fs/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/message.h"
#include "lease/alloc.h"

/* Keys. */

static const struct lease *lease_at(const struct node_key *key, size_t i)
{
	return key->leases[i];
}

static size_t secrets_of(const struct entry *entry)
{
	return (size_t)__builtin_popcountll(entry->secrets);
}

static uint64_t hash_key(const struct nodes *nodes, const struct node_key *key)
{
	const struct table *table = &nodes->by_key;
	uint64_t parts[7 + CATALOG_DYNAMICS_MAX] = {
		key->kind,   key->entry->ino, key->entry->content,
		key->folder, key->holder,     (uint64_t)key->ttl_ms,
	};
	size_t n = 6;

	if (key->name)
		parts[n++] = table_hash_text(table, key->name);
	if (key->text)
		parts[n++] = table_hash_text(table, key->text);
	if (key->kind == NODE_LEASED)
		for (size_t i = 0; i < secrets_of(key->entry); i++)
			parts[n++] = lease_at(key, i)->generation;
	return table_hash(table, parts, n * sizeof(parts[0]));
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_key(const struct table_node *at, const void *with)
{
	const struct node *node = container_of(at, struct node, by_key);
	const struct node_key *key = with;

	if (node->kind != key->kind || node->entry != key->entry || node->folder != key->folder ||
	    node->ttl_ms != key->ttl_ms || node->holder != key->holder ||
	    !same_text(node->name, key->name) || !same_text(node->text, key->text))
		return false;
	for (size_t i = 0; i < node->n_bindings; i++)
		if (node->bindings[i].lease->generation != lease_at(key, i)->generation)
			return false;
	return true;
}

static struct node *find_key(const struct nodes *nodes, const struct node_key *key)
{
	struct table_node *at = table_find(&nodes->by_key, hash_key(nodes, key), same_key, key);

	return at ? container_of(at, struct node, by_key) : NULL;
}

static void enter_key(struct nodes *nodes, struct node *node, const struct node_key *key)
{
	table_insert(&nodes->by_key, &node->by_key, hash_key(nodes, key));
	node->keyed = true;
}

static void leave_key(struct nodes *nodes, struct node *node)
{
	if (node->keyed)
		table_remove(&nodes->by_key, &node->by_key);
	node->keyed = false;
}

int64_t node_file_ttl(const struct entry *file, int64_t ttl_ms)
{
	for (uint64_t left = file->secrets; left; left &= left - 1)
		if (file->config->dynamics[__builtin_ctzll(left)].ttl_ms != ttl_ms)
			return ttl_ms;
	return 0;
}

static ino_t file_ino(const struct entry *file, int64_t ttl_ms, bool fresh)
{
	char option[40];

	if (ttl_ms == 0 && !fresh)
		return file->ino;
	snprintf(option, sizeof(option), "@%" PRId64 "%s", ttl_ms, fresh ? ",fresh" : "");
	return tree_ino(file->ino, option);
}

ino_t node_child_ino(const struct node *folder, const struct entry *child)
{
	return entry_is_folder(child) ? tree_ino(folder->ino, child->name)
				      : file_ino(child, node_file_ttl(child, folder->ttl_ms),
						 folder->fresh && child->secrets);
}

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

static void show_entry(struct node *node)
{
	node->mode = node->entry->mode;
	node->uid = node->entry->uid;
	node->gid = node->entry->gid;
}

static struct node *node_new(struct nodes *nodes, uint64_t id, enum node_kind kind,
			     const struct entry *entry)
{
	struct node *node = alloc_zeroed(1, sizeof(*node));

	node->id = id;
	node->kind = kind;
	node->entry = entry;
	node->time_ms = tree_loaded_ms(nodes->tree);
	show_entry(node);
	list_init(&node->waiters);
	list_init(&node->in_nodes);
	list_init(&node->in_variants);
	list_append(&nodes->all, &node->in_nodes);
	table_insert(&nodes->by_id, &node->by_id, table_hash(&nodes->by_id, &id, sizeof(id)));
	return node;
}

void nodes_init(struct nodes *nodes, uint64_t first_id, uint64_t seed, struct tree *tree,
		struct queue *outbox)
{
	*nodes = (struct nodes){
		.next_id = first_id > NODE_ROOT ? first_id : NODE_ROOT + 1,
		.tree = tree,
		.outbox = outbox,
	};
	list_init(&nodes->all);
	list_init(&nodes->variants);
	table_init(&nodes->by_id, seed);
	table_init(&nodes->by_key, seed);
	leases_init(&nodes->leases, seed);

	struct node *root = node_new(nodes, NODE_ROOT, NODE_FOLDER, tree_root(tree));
	root->ino = root->entry->ino;
	root->lookups = 1; /* the kernel never forgets it */
}

static void unbind(struct node *node)
{
	for (size_t i = 0; i < node->n_bindings; i++)
		binding_finish(&node->bindings[i]);
	free(node->bindings);
	node->bindings = NULL;
	node->n_bindings = 0;
}

static void discard_tree(struct nodes *nodes, struct tree *tree)
{
	struct message *message = message_new(MESSAGE_DISCARD, 0);

	message->tree = tree;
	message_send(nodes->outbox, message);
}

static void node_free(struct nodes *nodes, struct node *node)
{
	leave_key(nodes, node);
	table_remove(&nodes->by_id, &node->by_id);
	list_remove(&node->in_nodes);
	if (!list_empty(&node->in_variants))
		nodes->n_variants--;
	list_remove(&node->in_variants);
	unbind(node);
	if (node->tree)
		discard_tree(nodes, node->tree);
	free(node->name);
	free(node->text);
	free(node);
}

void nodes_finish(struct nodes *nodes)
{
	list_each (at, &nodes->all)
		node_free(nodes, container_of(at, struct node, in_nodes));
	table_finish(&nodes->by_id);
	table_finish(&nodes->by_key);
	leases_finish(&nodes->leases);
	discard_tree(nodes, nodes->tree);
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

static void bind_to(struct nodes *nodes, struct node *node, const struct lease *const *leases)
{
	struct download bytes = {0};

	node->kind = NODE_LEASED;
	node->n_bindings = secrets_of(node->entry);
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
	download_finish(&bytes);
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
	bool named = node->keyed && !find_key(nodes, &key);

	leave_key(nodes, node);
	bind_to(nodes, node, leases);
	if (named)
		enter_key(nodes, node, &key);
}

void node_spend(struct nodes *nodes, struct node *node)
{
	leave_key(nodes, node);
	node->kind = NODE_EMPTY;
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

static void enter_variant(struct nodes *nodes, struct node *node)
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
	struct node *node = find_key(nodes, key);

	if (node) {
		touch_variant(nodes, node);
		return node;
	}
	if (is_variant(key) && nodes->n_variants >= NODES_VARIANTS_MAX)
		return NULL;
	node = node_new(nodes, nodes->next_id++, key->kind, key->entry);
	node->folder = key->folder;
	node->ttl_ms = key->ttl_ms;
	node->holder = key->holder;
	node->fresh = key->fresh;
	node->name = alloc_copy(key->name);
	node->text = alloc_copy(key->text);
	if (key->kind == NODE_FOLDER)
		node->ino = tree_ino(nodes_find(nodes, key->folder)->ino, key->name);
	else
		node->ino = file_ino(key->entry, key->ttl_ms, key->fresh);
	if (key->kind == NODE_STATIC) {
		node->size = key->entry->size;
		node->error = key->entry->error;
	} else if (key->kind == NODE_REPORT) {
		node->size = strlen(key->text);
	} else if (key->kind == NODE_LEASED) {
		bind_to(nodes, node, key->leases);
	}
	enter_key(nodes, node, key);
	if (is_variant(key))
		enter_variant(nodes, node);
	return node;
}

/* Ageing. */

bool node_alive(const struct node *node, int64_t now_at)
{
	if (node->stale)
		return false;
	for (size_t i = 0; i < node->n_bindings; i++)
		if (!binding_alive(&node->bindings[i], now_at))
			return false;
	return true;
}

void node_settle(struct nodes *nodes, struct node *node)
{
	if (node->opens > 0 || !list_empty(&node->waiters))
		return;
	if (node->stale && node->entry) {
		struct message *message = message_new(MESSAGE_INVALIDATE, 0);

		message->node = node->id;
		message->size = node->dead ? node->size : 0;
		message_send(nodes->outbox, message);
		unbind(node);
		if (node->tree)
			discard_tree(nodes, node->tree);
		node->tree = NULL;
		node->entry = NULL;
	}
	if (node->lookups == 0)
		node_free(nodes, node);
}

static void retire(struct nodes *nodes, struct node *node)
{
	leave_key(nodes, node);
	node->stale = true;
	node_settle(nodes, node);
}

static void lease_ended(void *arg, void *owner)
{
	struct node *node = owner;

	node->dead = true;
	retire(arg, node);
}

bool nodes_hold(const struct nodes *nodes, const char *lease_id, int64_t now_at)
{
	const struct held *held = leases_find(&nodes->leases, lease_id);

	if (!held)
		return false;
	list_each (at, &held->bindings) {
		const struct node *node = container_of(at, struct binding, in_held)->owner;

		if (node->opens > 0 && now_at - node->open_since_at >= NODE_HOLD_MS)
			return true;
	}
	return false;
}

void nodes_end_lease(struct nodes *nodes, const char *lease_id)
{
	leases_end(&nodes->leases, lease_id, lease_ended, nodes);
}

/* Has the new entry the bytes that the node has shown? */
static bool same_bytes(const struct node *node, const struct entry *entry)
{
	switch (node->kind) {
	case NODE_FOLDER:
		return true;
	case NODE_STATIC:
		return entry->secrets == 0 && entry->content == node->entry->content;
	case NODE_UNLEASED:
		return entry->secrets != 0 && entry->own == node->entry->own;
	case NODE_LEASED: /* a whole config has static secrets in it, which may have changed */
		return entry->secrets != 0 && entry->own == node->entry->own &&
		       entry->kind != ENTRY_FORMAT;
	case NODE_EMPTY:
	case NODE_REPORT:
	case NODE_PROBE:
		return false;
	}
	return false;
}

void nodes_reload(struct nodes *nodes, struct tree *tree)
{
	struct tree *old = nodes->tree;

	nodes->tree = tree;
	list_each (at, &nodes->all) {
		struct node *node = container_of(at, struct node, in_nodes);

		if (!node->entry || node->tree || node->kind == NODE_PROBE)
			continue;

		const struct entry *entry = tree_counterpart(tree, node->entry);
		if (entry && same_bytes(node, entry)) {
			node->entry = entry;
			show_entry(node);
			continue;
		}
		if (node->opens > 0 || !list_empty(&node->waiters))
			node->tree = tree_ref(old);
		retire(nodes, node);
	}
	discard_tree(nodes, old);
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
