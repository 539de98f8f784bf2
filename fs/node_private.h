/*
 * node_private.h: what node.c, node_key.c, node_age.c and restore.c share: nodes as they are made
 * and unmade.
 */
#ifndef DSEC_FS_NODE_PRIVATE_H
#define DSEC_FS_NODE_PRIVATE_H

#include "fs/node.h"

/* In no table but that of ids. entry NULL: it is stale. */
struct node *node_new(struct nodes *nodes, uint64_t id, enum node_kind kind,
		      const struct entry *entry);

struct node *nodes_find_key(const struct nodes *nodes, const struct node_key *key);
void node_enter_key(struct nodes *nodes, struct node *node, const struct node_key *key);
void node_leave_key(struct nodes *nodes, struct node *node);
void node_enter_variant(struct nodes *nodes, struct node *node);

ino_t node_file_ino(const struct entry *file, int64_t ttl_ms, bool fresh);
size_t node_secrets_of(const struct entry *entry); /* how many leases it takes */
void node_show_entry(struct node *node);           /* to stat(2) */

void node_free(struct nodes *nodes, struct node *node);
/* Gives the reference back to the engine's thread (message.h). */
void nodes_discard_tree(struct nodes *nodes, struct tree *tree);

void node_unbind(struct node *node);

/* Has the kernel drop its pages, by the engine's thread. */
void node_invalidate(struct nodes *nodes, const struct node *node);

/* The kernel drops what it has kept of a folder's listing. That takes no lock that a LOOKUP may
 * hold. */
void node_renew_listing(struct nodes *nodes, struct node *node);

/* Binds it to leases that are alive, in the order of the entry's bits, and learns its size. */
void node_bind_to(struct nodes *nodes, struct node *node, const struct lease *const *leases);

#endif
