/*
 * records.h: nodes as the next process finds them: what each id means, who may open it, what its
 * bytes were.
 *
 * The kernel refers to nodes by id for as long as a file is open, a process stands in a folder or a
 * container has it mounted. So an id must mean the same, or nothing, to the process that takes
 * over. A record lies in cells of the shared memory, a new version of it beside the old one until
 * it is whole.
 */
#ifndef DSEC_FS_RECORDS_H
#define DSEC_FS_RECORDS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/shared.h"
#include "lease/catalog.h"

/* A node's hold on one version of a lease. */
struct record_binding {
	char lease_id[LEASE_ID_MAX];
	uint64_t generation;
	int64_t expires_ms;
};

struct record {
	uint32_t kind; /* enum node_kind */
	uint32_t entry_kind;
	uint64_t entry_ino; /* which entry of the tree, whatever the catalog is now */
	uint64_t ino;
	uint64_t folder;
	int64_t ttl_ms;
	lease_holder holder;
	uint32_t mode, uid, gid;
	int32_t error;
	uint64_t size;
	int64_t time_ms;
	uint64_t content; /* a digest of the bytes */
	uint32_t n_bindings;
	uint32_t name_n; /* 0: none */
	uint32_t text_n; /* of a report; 0: none */
	uint32_t fresh, opener;
};

/* The longest text that is kept: a .status of some fifty leases. Who was about to open a longer one
 * when its process died looks it up once more. */
#define RECORDS_TEXT_MAX (32ul * 1024)

/* Of a node: 0, or 1 + the place of the record's first cell. */
typedef uint32_t record_at;

struct records {
	struct shared *shared;
	uint32_t *free; /* places of cells that are free below cells_used */
	size_t n_free, size;
	bool *used; /* while it begins; else NULL */
	bool full;  /* some node had no room */
};

/* A record as it was found. */
struct record_found {
	uint64_t node;
	record_at at;
	struct record record;
	struct record_binding bindings[CATALOG_DYNAMICS_MAX];
	char name[256];
	char text[RECORDS_TEXT_MAX + 1];
	uint64_t lookups, stored;
	bool stale;
};

typedef void record_each(void *arg, const struct record_found *found);

/* Finds every record, of two of one node the newer, in the order of their ids. */
void records_begin(struct records *records, struct shared *shared, record_each *each, void *arg);
void records_finish(struct records *records);

/* Writes a node's record in the place of the one that it has (0: none) and returns where it is now;
 * 0 where there is no room, which costs the node its life at the next process. */
record_at records_write(struct records *records, record_at old, uint64_t node,
			const struct record *record, const struct record_binding *bindings,
			const char *name, const char *text);
void records_erase(struct records *records, record_at at); /* 0 is no record */

static inline struct shared_cell *records_cell(const struct records *records, record_at at)
{
	return &records->shared->cells[at - 1];
}

static inline void records_set_lookups(const struct records *records, record_at at, uint64_t n)
{
	if (at)
		atomic_store_explicit(&records_cell(records, at)->lookups, n, memory_order_release);
}

static inline void records_set_stored(const struct records *records, record_at at, uint64_t n)
{
	if (at)
		atomic_store(&records_cell(records, at)->stored, n);
}

static inline void records_set_stale(const struct records *records, record_at at)
{
	if (at)
		atomic_store(&records_cell(records, at)->stale, 1);
}

#endif
