#include "lease/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/list.h"
#include "lease/table.h"

/* What this process knows of a record. */
struct entry {
	struct table_node by_id;
	struct ledger_record *record;
	struct secret *adopted; /* until ledger_settle; else NULL */
	bool asked;
};

struct ledger {
	struct ledger_memory *memory;
	struct entry entries[LEDGER_MAX]; /* as the records */
	struct table by_id;
	uint32_t n_found; /* records that an earlier process has used */
	uint32_t *free;   /* places of free records below `used` */
	size_t n_free;
};

static bool same_id(const struct table_node *node, const void *id)
{
	return strcmp(container_of(node, struct entry, by_id)->record->lease_id, id) == 0;
}

static struct entry *find(const struct ledger *ledger, const char *lease_id)
{
	uint64_t hash = table_hash_text(&ledger->by_id, lease_id);
	struct table_node *node = table_find(&ledger->by_id, hash, same_id, lease_id);

	return node ? container_of(node, struct entry, by_id) : NULL;
}

static void enter(struct ledger *ledger, struct entry *entry)
{
	table_insert(&ledger->by_id, &entry->by_id,
		     table_hash_text(&ledger->by_id, entry->record->lease_id));
}

static void clear(struct ledger *ledger, struct ledger_record *record)
{
	atomic_store(&record->generation, 0);
	ledger->free[ledger->n_free++] = (uint32_t)(record - ledger->memory->records);
}

static void leave(struct ledger *ledger, struct entry *entry)
{
	table_remove(&ledger->by_id, &entry->by_id);
	entry->adopted = secret_unref(entry->adopted);
	clear(ledger, entry->record);
}

/* Taking up. */

/* Whoever was killed while it renewed a lease left two records: the newer one is what it had told
 * or was about to tell. */
static bool drop_older(struct ledger *ledger, struct ledger_record *record)
{
	struct entry *other = find(ledger, record->lease_id);

	if (!other)
		return true;
	if (atomic_load(&other->record->generation) > atomic_load(&record->generation))
		return false;
	leave(ledger, other);
	return true;
}

static bool adopt(struct secret **ret, const struct ledger_record *record)
{
	unsigned char digest[SECRET_DIGEST_SIZE];
	struct secret *secret;

	if (secret_adopt(&secret, record->place, record->n) < 0)
		return false;
	secret_digest(digest, record->lease_id, secret);
	if (memcmp(digest, record->digest, sizeof(digest)) != 0) {
		secret_unref(secret);
		return false;
	}
	*ret = secret;
	return true;
}

static void take_up(struct ledger *ledger, struct ledger_record *record)
{
	struct entry *entry = &ledger->entries[record - ledger->memory->records];

	entry->record = record;
	if (atomic_load(&record->generation) == 0) {
		clear(ledger, record);
		return;
	}
	record->lease_id[LEASE_ID_MAX - 1] = '\0';
	if (!drop_older(ledger, record) || !adopt(&entry->adopted, record)) {
		clear(ledger, record);
		return;
	}
	enter(ledger, entry);
}

struct ledger *ledger_open(struct ledger_memory *memory)
{
	struct ledger *ledger = alloc_zeroed(1, sizeof(*ledger));
	uint32_t used = atomic_load(&memory->used);

	ledger->memory = memory;
	ledger->free = alloc_zeroed(LEDGER_MAX, sizeof(*ledger->free));
	table_init(&ledger->by_id, 0); /* the ids are our own */
	if (used > LEDGER_MAX)
		used = LEDGER_MAX;
	ledger->n_found = used;
	for (uint32_t i = 0; i < used; i++)
		take_up(ledger, &memory->records[i]);
	secret_arena_sweep();
	return ledger;
}

void ledger_settle(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->n_found; i++) {
		struct entry *entry = &ledger->entries[i];

		if (!entry->adopted)
			continue;
		if (entry->asked)
			entry->adopted = secret_unref(entry->adopted);
		else
			leave(ledger, entry);
	}
}

struct ledger *ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	for (size_t i = 0; i < ledger->n_found; i++)
		secret_unref(ledger->entries[i].adopted);
	table_finish(&ledger->by_id);
	free(ledger->free);
	free(ledger);
	return NULL;
}

bool ledger_find(const struct ledger *ledger, const char *lease_id, struct engine_kept *ret)
{
	struct entry *entry = find(ledger, lease_id);

	if (!entry || !entry->adopted)
		return false;
	entry->asked = true;
	*ret = (struct engine_kept){
		.generation = atomic_load(&entry->record->generation),
		.secret_access_key = entry->adopted,
		.holder = entry->record->holder,
		.start_at = entry->record->start_at,
		.rotate_at = entry->record->rotate_at,
		.expire_at = entry->record->expire_at,
		.expires_ms = entry->record->expires_ms,
	};
	return true;
}

uint64_t ledger_last_generation(const struct ledger *ledger)
{
	return atomic_load(&ledger->memory->last_generation);
}

/* Writing. */

static struct ledger_record *new_record(struct ledger *ledger)
{
	uint32_t used = atomic_load(&ledger->memory->used);

	if (ledger->n_free > 0)
		return &ledger->memory->records[ledger->free[--ledger->n_free]];
	if (used >= LEDGER_MAX)
		return NULL;
	atomic_store(&ledger->memory->used, used + 1);
	return &ledger->memory->records[used];
}

static void fill(struct ledger_record *record, const struct lease *lease)
{
	memcpy(record->lease_id, lease->id, sizeof(record->lease_id));
	record->place = secret_place(lease->secret_access_key);
	record->n = secret_size(lease->secret_access_key);
	secret_digest(record->digest, lease->id, lease->secret_access_key);
	record->holder = lease->slot.holder;
	record->start_at = lease->start_at;
	record->rotate_at = lease->rotate_at;
	record->expire_at = lease->expire_at;
	record->expires_ms = lease->expires_ms;
	atomic_store(&record->generation, lease->generation);
}

bool ledger_enter(struct ledger *ledger, const struct lease *lease)
{
	struct entry *old = find(ledger, lease->id);

	if (lease->generation > atomic_load(&ledger->memory->last_generation))
		atomic_store(&ledger->memory->last_generation, lease->generation);
	if (old && atomic_load(&old->record->generation) == lease->generation)
		return true; /* it goes on as it stands there */

	struct ledger_record *record = new_record(ledger);
	if (!record)
		return false;
	fill(record, lease);
	if (old)
		leave(ledger, old);

	struct entry *entry = &ledger->entries[record - ledger->memory->records];
	entry->record = record;
	entry->asked = true;
	enter(ledger, entry);
	return true;
}

void ledger_leave(struct ledger *ledger, const char *lease_id)
{
	struct entry *entry = find(ledger, lease_id);

	if (entry)
		leave(ledger, entry);
}
