/*
 * table.h: a hash table whose nodes stand in what they hold. It grows with what it holds; finding,
 * inserting and removing cost the same however much that is.
 */
#ifndef DSEC_LEASE_TABLE_H
#define DSEC_LEASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_node {
	struct table_node *next;
	uint64_t hash;
};

struct table {
	struct table_node **buckets;
	size_t n_buckets, n;
	uint64_t seed; /* so that nobody can choose names that all fall into one bucket */
};

void table_init(struct table *table, uint64_t seed);
void table_finish(struct table *table); /* the nodes are their owners' */

uint64_t table_hash(const struct table *table, const void *bytes, size_t n);
uint64_t table_hash_text(const struct table *table, const char *text);

void table_insert(struct table *table, struct table_node *node, uint64_t hash);
void table_remove(struct table *table, struct table_node *node);

typedef bool table_same(const struct table_node *node, const void *key);
struct table_node *table_find(const struct table *table, uint64_t hash, table_same *same,
			      const void *key); /* NULL: none */
/* Of several under one key: the next after this one. */
struct table_node *table_find_next(const struct table_node *after, table_same *same,
				   const void *key);

#endif
