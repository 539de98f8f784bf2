/*
 * shared.h: what must outlive the process that serves a mount, in memory that the keeper holds and
 * never looks into. No secret is in it.
 *
 * One process serves at a time, and it may be killed between any two instructions. So everything
 * here becomes valid, or invalid, by one atomic store of one word, and what is not valid is not
 * looked at: the next process finds each thing as it was or as it is, never half.
 *
 * The layout is that of this version. Another version may take it over only if its
 * SHARED_LAYOUT is the same: whoever changes anything of this struct, or of what it contains,
 * counts SHARED_LAYOUT up.
 */
#ifndef DSEC_FS_SHARED_H
#define DSEC_FS_SHARED_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/leases.h"
#include "lease/engine.h"
#include "lease/error.h"
#include "lease/ledger.h"

#define SHARED_LAYOUT 3

/* What one read of /dev/fuse may bring. The kernel wants room for SHARED_WRITE_MAX, which INIT
 * tells it, though nothing is ever written: it is the longest READ, too. */
#define SHARED_WRITE_MAX   (128ul * 1024)
#define SHARED_REQUEST_MAX (SHARED_WRITE_MAX + 8192)
#define SHARED_INIT_MAX    512
/* A request that is kept is an OPEN or a LOOKUP: a header and at most a name. */
#define SHARED_KEPT_BYTES 512
#define SHARED_KEPT_MAX   ENGINE_WAITERS_MAX
/* Open files. Beyond, they are open all the same, and forgotten by the next process. */
#define SHARED_HANDLES_MAX (256u * 1024)
/* Nodes, at a cell or a few each. Beyond, likewise: such a node is stale to the next process. */
#define SHARED_CELLS_MAX  (256u * 1024)
#define SHARED_CELL_BYTES 208ul
/* Holders that are watched. The end of one whose place is longer is the end of its leases at the
 * next process, which does not know it. */
#define SHARED_HOLDERS_MAX 16384u
#define SHARED_PLACE_MAX   1024

/* A request that was read and is to be answered later. */
struct shared_kept {
	_Atomic(uint64_t) order; /* of arrival; 0: free */
	uint32_t n;
	_Atomic(uint32_t) tries; /* processes that died of it */
	alignas(8) unsigned char bytes[SHARED_KEPT_BYTES];
};

/* An open file. Its fh is the place here and the serial number, so that a RELEASE that is handled
 * twice, by a process that died of it and by the next, closes nothing else. */
struct shared_handle {
	_Atomic(uint64_t) node;    /* 0: free */
	uint64_t unique;           /* of the OPEN */
	_Atomic(uint64_t) waiting; /* the kernel's number of who waits for it; 0: nobody */
	uint32_t serial;
};

/* A part of a node's record (records.h). */
struct shared_cell {
	_Atomic(uint64_t) node; /* its first cell: the node's id. 0: free, or not the first */
	uint64_t version;       /* of two records of one node the greater is right */
	_Atomic(uint64_t) lookups;
	_Atomic(uint64_t) stored; /* bytes stored into the kernel before it was bound; 0: none */
	_Atomic(uint32_t) stale;
	uint32_t next; /* 1 + the place of the next cell; 0: none */
	uint32_t n;    /* bytes in this one */
	unsigned char bytes[SHARED_CELL_BYTES];
};

/* A container or process that may have leases (holders.h). */
struct shared_holder {
	_Atomic(uint64_t) number; /* 0: free */
	uint64_t a, b, c;
	char place[SHARED_PLACE_MAX];
};

struct shared {
	uint64_t layout;
	uint64_t seed; /* of hashes that mean the same to the next process */
	/* Counted up before a number is given to anybody, so that none is ever given twice. */
	_Atomic(uint64_t) last_node;
	_Atomic(uint64_t) last_holder; /* of containers, processes, open files, clients */
	_Atomic(uint64_t) last_order;
	_Atomic(uint64_t) last_version;
	_Atomic(uint32_t) kept_used, handles_used, cells_used, holders_used; /* none beyond was
										ever touched */
	_Atomic(uint32_t) first_open; /* enum fs_first_open; PROBE: not known yet */
	_Atomic(uint32_t) init_n;     /* 0: INIT has not come */
	alignas(8) unsigned char init[SHARED_INIT_MAX];

	/* The request that was read last. Its header's length is 0 when it needs no answer any
	 * more, and before anything is read into it. */
	_Atomic(uint32_t) current_tries;
	alignas(8) unsigned char current[SHARED_REQUEST_MAX];

	struct shared_kept kept[SHARED_KEPT_MAX];
	struct shared_handle handles[SHARED_HANDLES_MAX];
	struct shared_cell cells[SHARED_CELLS_MAX];
	struct shared_holder holders[SHARED_HOLDERS_MAX];
	struct lease_memory memory[LEASES_MEMORY_ROWS][LEASES_MEMORY_ROW];
	struct ledger_memory ledger;
};

/* A descriptor (close-on-exec) of such memory, empty; or a negative errno. For the keeper. */
int shared_create(void);

/* Maps it; the first to do so begins it. DSEC_ERROR_INVALID: of another layout. The descriptor
 * stays the caller's. */
int shared_map(struct shared **ret, int fd, struct dsec_error *err);

/* For a process that has no keeper, and for tests: memory that ends with it. */
int shared_map_private(struct shared **ret, struct dsec_error *err);

struct shared *shared_unmap(struct shared *shared); /* NULL-safe; returns NULL */

/* A holder's number, never given before. */
static inline uint64_t shared_take_holder(struct shared *shared)
{
	return atomic_fetch_add(&shared->last_holder, 1) + 1;
}

/* Has an earlier process served this mount? */
static inline bool shared_resumed(const struct shared *shared)
{
	return atomic_load(&shared->init_n) != 0;
}

#endif
