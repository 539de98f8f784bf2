/*
 * ledger.h: where the bytes of live leases lie, for a process that takes over from one that died.
 *
 * The secrets lie in an arena that outlives the process (secret.h); the ledger, in other memory
 * that does, says which of its bytes are whose. Of a secret it holds place, length and a digest
 * under a key that lies in the arena itself. A record is valid by one atomic store of its
 * generation, so that a process which is killed at any instruction leaves it as it was or as it is.
 */
#ifndef DSEC_LEASE_LEDGER_H
#define DSEC_LEASE_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lease/engine.h"
#include "lease/secret.h"

/* Live leases, and as many renewed versions as are being written: IAM's most users of three
 * accounts. A lease beyond is served like any other, and lost to the next process. */
#define LEDGER_MAX 16384

struct ledger_record {
	_Atomic(uint64_t) generation; /* 0: free */
	char lease_id[LEASE_ID_MAX];
	uint64_t place; /* of its secret in the arena */
	uint64_t n;
	unsigned char digest[SECRET_DIGEST_SIZE];
	lease_holder holder;
	int64_t start_at, rotate_at, expire_at, expires_ms;
};

struct ledger_memory {
	_Atomic(uint64_t) last_generation; /* none greater was ever published */
	_Atomic(uint32_t) used;            /* records beyond were never touched */
	struct ledger_record records[LEDGER_MAX];
};

struct ledger;

/* Takes up what is in the memory: adopts the secrets whose digest is right into the arena, which
 * must be new in this process, drops the other records, and wipes what of the arena nobody claims.
 */
struct ledger *ledger_open(struct ledger_memory *memory);
struct ledger *ledger_close(struct ledger *ledger); /* NULL-safe; leaves the memory as it is */

/* What was adopted of a lease: *ret's secret is borrowed from the ledger. False: nothing. */
bool ledger_find(const struct ledger *ledger, const char *lease_id, struct engine_kept *ret);
/* All have been asked for that will be: lets the adopted secrets and the records of leases that
 * nobody asked for go. */
void ledger_settle(struct ledger *ledger);

uint64_t ledger_last_generation(const struct ledger *ledger);

/* A lease is about to be published, for the first time or in a new version. False: it is full. */
bool ledger_enter(struct ledger *ledger, const struct lease *lease);
/* It has ended. */
void ledger_leave(struct ledger *ledger, const char *lease_id);

#endif
