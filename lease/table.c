#include "lease/table.h"

#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

#define TABLE_BUCKETS_MIN 16 /* a power of two, like every size of a table */

void table_init(struct table *table, uint64_t seed)
{
	*table = (struct table){
		.buckets = alloc_zeroed(TABLE_BUCKETS_MIN, sizeof(struct table_node *)),
		.n_buckets = TABLE_BUCKETS_MIN,
		.seed = seed,
	};
}

void table_finish(struct table *table)
{
	free(table->buckets);
	*table = (struct table){0};
}

uint64_t table_hash(const struct table *table, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325u ^ table->seed;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u;
	return hash ^ hash >> 32;
}

uint64_t table_hash_text(const struct table *table, const char *text)
{
	return table_hash(table, text, strlen(text));
}

static struct table_node **bucket_of(const struct table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->n_buckets - 1)];
}

static void grow(struct table *table)
{
	struct table_node **old = table->buckets;
	size_t n_old = table->n_buckets;

	table->n_buckets *= 2;
	table->buckets = alloc_zeroed(table->n_buckets, sizeof(struct table_node *));
	for (size_t i = 0; i < n_old; i++) {
		struct table_node *node = old[i];

		while (node) {
			struct table_node *next = node->next, **to = bucket_of(table, node->hash);

			node->next = *to;
			*to = node;
			node = next;
		}
	}
	free(old);
}

void table_insert(struct table *table, struct table_node *node, uint64_t hash)
{
	if (table->n >= table->n_buckets)
		grow(table);

	struct table_node **to = bucket_of(table, hash);

	node->hash = hash;
	node->next = *to;
	*to = node;
	table->n++;
}

void table_remove(struct table *table, struct table_node *node)
{
	struct table_node **at = bucket_of(table, node->hash);

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node->next = NULL;
	table->n--;
}

static struct table_node *find_from(struct table_node *node, uint64_t hash, table_same *same,
				    const void *key)
{
	while (node && !(node->hash == hash && same(node, key)))
		node = node->next;
	return node;
}

struct table_node *table_find(const struct table *table, uint64_t hash, table_same *same,
			      const void *key)
{
	return find_from(*bucket_of(table, hash), hash, same, key);
}

struct table_node *table_find_next(const struct table_node *after, table_same *same,
				   const void *key)
{
	return find_from(after->next, after->hash, same, key);
}
