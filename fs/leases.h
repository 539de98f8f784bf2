/*
 * leases.h: the leases that the file thread knows of, and which of them a reader gets.
 *
 * The engine's thread says by message what becomes active and what ends; everything here belongs to
 * the file thread alone.
 */
#ifndef DSEC_FS_LEASES_H
#define DSEC_FS_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/tree.h"
#include "lease/engine.h"
#include "lease/list.h"
#include "lease/table.h"

/* How many callers' last reads are remembered (a caller is a uid, a read one of a slot); beyond,
 * the oldest of a row makes room. */
#define LEASES_MEMORY_ROWS 1024
#define LEASES_MEMORY_ROW  4

struct lease_memory {
	uint64_t slot; /* the slot's hash */
	uid_t uid;
	int64_t read_at;
	char id[LEASE_ID_MAX]; /* "": free */
};

struct leases {
	struct table by_id, by_slot;
	struct lease_memory (*memory)[LEASES_MEMORY_ROW]; /* LEASES_MEMORY_ROWS of them */
};

struct held_slot;

/* One lease: alive while it is in a slot, then kept as long as something is bound to it. */
struct held {
	struct table_node by_id;
	struct lease *lease;    /* the newest version */
	struct held_slot *slot; /* NULL: it has ended */
	struct list in_slot;
	struct list bindings;
};

/* A node's hold on one version of a lease. */
struct binding {
	struct list in_held;
	struct held *held;
	struct lease *lease;
	void *owner;
};

/* The memory outlives this process, and so does the seed: what was read last is known to the next.
 */
void leases_init(struct leases *leases, uint64_t seed,
		 struct lease_memory (*memory)[LEASES_MEMORY_ROW]);
void leases_finish(struct leases *leases); /* nothing may be bound any more */

/* It is ready, or a newer version of what is known; takes a reference of its own. */
struct held *leases_active(struct leases *leases, const struct lease *lease);

/* No reader gets it any more. Tells the owner of each binding, which may finish it. */
typedef void leases_ended(void *arg, void *owner);
void leases_end(struct leases *leases, const char *id, leases_ended *ended, void *arg);

/* The lease of that id that is alive, or NULL. */
struct held *leases_find(const struct leases *leases, const char *id);

/* Each that is alive. */
void leases_each(const struct leases *leases, void (*each)(void *arg, const struct lease *lease),
		 void *arg);

void binding_init(struct binding *binding, struct held *held, const struct lease *lease,
		  void *owner);
void binding_finish(struct binding *binding);

/* May it still be handed out? */
bool binding_alive(const struct binding *binding, int64_t now_at);

/* Remembers that uid has read it. */
void leases_remember(struct leases *leases, const struct binding *binding, uid_t uid,
		     int64_t now_at);

/* The leases that a read of a file at this moment comes from, by that uid, for these holders (as
 * struct acquire has them): one for each bit of
 * entry->secrets, in the order of the bits, borrowed. False: one must be acquired. *ret_until as
 * with lease_choose. */
bool leases_choose(struct leases *leases, const struct entry *entry, int64_t ttl_ms, uid_t uid,
		   const lease_holder holders[SCOPES], int64_t now_at,
		   const struct lease *ret[CATALOG_DYNAMICS_MAX], int64_t *ret_until);

#endif
