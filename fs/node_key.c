/*
 * node_key.c: what makes two looks at a file find one node, and the inode number that they see.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/node_private.h"

size_t node_secrets_of(const struct entry *entry)
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
		for (size_t i = 0; i < node_secrets_of(key->entry); i++)
			parts[n++] = key->leases[i]->generation;
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
		if (node->bindings[i].lease->generation != key->leases[i]->generation)
			return false;
	return true;
}

struct node *nodes_find_key(const struct nodes *nodes, const struct node_key *key)
{
	struct table_node *at = table_find(&nodes->by_key, hash_key(nodes, key), same_key, key);

	return at ? container_of(at, struct node, by_key) : NULL;
}

void node_enter_key(struct nodes *nodes, struct node *node, const struct node_key *key)
{
	table_insert(&nodes->by_key, &node->by_key, hash_key(nodes, key));
	node->keyed = true;
}

void node_leave_key(struct nodes *nodes, struct node *node)
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

ino_t node_file_ino(const struct entry *file, int64_t ttl_ms, bool fresh)
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
				      : node_file_ino(child, node_file_ttl(child, folder->ttl_ms),
						      folder->fresh && child->secrets);
}
