#include "fs/leases.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

/* Of a slot's live leases, how many of the newest are looked at: a reader gets the newest good one,
 * or the one it had. */
#define CANDIDATES_MAX 64

struct held_slot {
	struct table_node by_slot;
	struct list held; /* newest first; never empty */
};

static struct held *held_of(struct list *in_slot)
{
	return container_of(in_slot, struct held, in_slot);
}

void leases_init(struct leases *leases, uint64_t seed,
		 struct lease_memory (*memory)[LEASES_MEMORY_ROW])
{
	*leases = (struct leases){.memory = memory};
	table_init(&leases->by_id, seed);
	table_init(&leases->by_slot, seed);
}

/* Slots. */

static uint64_t slot_hash(const struct leases *leases, const struct lease_slot *slot)
{
	return lease_slot_hash(&leases->by_slot, slot);
}

static bool same_slot(const struct table_node *node, const void *key)
{
	const struct held_slot *slot = container_of(node, struct held_slot, by_slot);

	return lease_slot_same(&held_of(slot->held.next)->lease->slot, key);
}

static struct held_slot *find_slot(const struct leases *leases, const struct lease_slot *slot)
{
	struct table_node *node =
		table_find(&leases->by_slot, slot_hash(leases, slot), same_slot, slot);

	return node ? container_of(node, struct held_slot, by_slot) : NULL;
}

static void enter_slot(struct leases *leases, struct held *held)
{
	struct held_slot *slot = find_slot(leases, &held->lease->slot);

	if (!slot) {
		slot = alloc_zeroed(1, sizeof(*slot));
		list_init(&slot->held);
		table_insert(&leases->by_slot, &slot->by_slot,
			     slot_hash(leases, &held->lease->slot));
	}
	list_append(slot->held.next, &held->in_slot); /* before the first: in front */
	held->slot = slot;
}

static void leave_slot(struct leases *leases, struct held *held)
{
	struct held_slot *slot = held->slot;

	list_remove(&held->in_slot);
	held->slot = NULL;
	if (list_empty(&slot->held)) {
		table_remove(&leases->by_slot, &slot->by_slot);
		free(slot);
	}
}

/* Leases. */

static bool same_id(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct held, by_id)->lease->id, key) == 0;
}

struct held *leases_find(const struct leases *leases, const char *id)
{
	struct table_node *node =
		table_find(&leases->by_id, table_hash_text(&leases->by_id, id), same_id, id);

	return node ? container_of(node, struct held, by_id) : NULL;
}

struct held *leases_active(struct leases *leases, const struct lease *lease)
{
	struct held *held = leases_find(leases, lease->id);

	if (held) {
		struct lease *old = held->lease;

		held->lease = lease_ref(lease);
		lease_unref(old);
		return held;
	}
	held = alloc_zeroed(1, sizeof(*held));
	held->lease = lease_ref(lease);
	list_init(&held->bindings);
	list_init(&held->in_slot);
	table_insert(&leases->by_id, &held->by_id, table_hash_text(&leases->by_id, lease->id));
	enter_slot(leases, held);
	return held;
}

/* Frees it when it has ended and nothing is bound to it. */
static void settle(struct held *held)
{
	if (held->slot || !list_empty(&held->bindings))
		return;
	lease_unref(held->lease);
	free(held);
}

static void forget(struct leases *leases, struct held *held)
{
	table_remove(&leases->by_id, &held->by_id);
	leave_slot(leases, held);
	settle(held);
}

void leases_end(struct leases *leases, const char *id, leases_ended *ended, void *arg)
{
	struct held *held = leases_find(leases, id);

	if (!held)
		return;
	/* It is in its slot until all are told, so that the last of them does not free it. */
	list_each (at, &held->bindings)
		ended(arg, container_of(at, struct binding, in_held)->owner);
	forget(leases, held);
}

void leases_each(const struct leases *leases, void (*each)(void *arg, const struct lease *lease),
		 void *arg)
{
	for (size_t i = 0; i < leases->by_id.n_buckets; i++)
		for (struct table_node *at = leases->by_id.buckets[i]; at; at = at->next)
			each(arg, container_of(at, struct held, by_id)->lease);
}

void leases_finish(struct leases *leases)
{
	for (size_t i = 0; i < leases->by_id.n_buckets; i++)
		while (leases->by_id.buckets[i])
			forget(leases, container_of(leases->by_id.buckets[i], struct held, by_id));
	table_finish(&leases->by_id);
	table_finish(&leases->by_slot);
}

void binding_init(struct binding *binding, struct held *held, const struct lease *lease,
		  void *owner)
{
	binding->held = held;
	binding->lease = lease_ref(lease);
	binding->owner = owner;
	list_init(&binding->in_held);
	list_append(&held->bindings, &binding->in_held);
}

void binding_finish(struct binding *binding)
{
	list_remove(&binding->in_held);
	lease_unref(binding->lease);
	settle(binding->held);
}

bool binding_alive(const struct binding *binding, int64_t now_at)
{
	return binding->held->slot && now_at < binding->lease->expire_at;
}

/* Choosing. */

static struct lease_memory *memory_row(struct leases *leases, uint64_t slot, uid_t uid)
{
	uint64_t key[] = {slot, uid};

	return leases->memory[table_hash(&leases->by_slot, key, sizeof(key)) % LEASES_MEMORY_ROWS];
}

static const struct lease_memory *recall(struct leases *leases, uint64_t slot, uid_t uid)
{
	const struct lease_memory *row = memory_row(leases, slot, uid);

	for (unsigned i = 0; i < LEASES_MEMORY_ROW; i++)
		if (row[i].id[0] && row[i].slot == slot && row[i].uid == uid)
			return &row[i];
	return NULL;
}

void leases_remember(struct leases *leases, const struct binding *binding, uid_t uid,
		     int64_t now_at)
{
	if (!binding->held->slot)
		return;

	uint64_t slot = binding->held->slot->by_slot.hash;
	struct lease_memory *row = memory_row(leases, slot, uid), *to = row;

	for (unsigned i = 0; i < LEASES_MEMORY_ROW; i++) {
		if (row[i].id[0] && row[i].slot == slot && row[i].uid == uid) {
			to = &row[i];
			break;
		}
		if (!row[i].id[0] || (to->id[0] && row[i].read_at < to->read_at))
			to = &row[i];
	}
	/* It is free until it is whole: this process may be killed here, and the next one reads it.
	 */
	*(volatile char *)to->id = '\0';
	atomic_thread_fence(memory_order_release);
	to->slot = slot;
	to->uid = uid;
	to->read_at = now_at;
	memcpy(to->id + 1, binding->lease->id + 1, sizeof(to->id) - 1);
	atomic_thread_fence(memory_order_release);
	*(volatile char *)to->id = binding->lease->id[0];
}

/* A lease made under another policy serves its readers to its end, but gets no new ones; one
 * without its secret never gets any. */
static bool serves(const struct lease *lease, const struct dynamic_secret *secret)
{
	return lease->fingerprint == secret->fingerprint && lease->secret_access_key;
}

static const struct lease *choose(struct leases *leases, const struct lease_slot *key,
				  const struct dynamic_secret *secret, uid_t uid, int64_t now_at,
				  int64_t *ret_until)
{
	const struct held_slot *slot = find_slot(leases, key);
	const struct lease *candidates[CANDIDATES_MAX + 1], *last = NULL;
	size_t n = 0;

	if (!slot)
		return NULL;

	const struct lease_memory *memory = recall(leases, slot->by_slot.hash, uid);
	if (memory) {
		const struct held *held = leases_find(leases, memory->id);
		if (held && serves(held->lease, secret))
			last = candidates[n++] = held->lease;
	}
	for (struct list *at = slot->held.next; at != &slot->held && n < CANDIDATES_MAX;
	     at = at->next) {
		const struct lease *lease = held_of(at)->lease;
		if (lease != last && serves(lease, secret))
			candidates[n++] = lease;
	}
	return lease_choose(candidates, n, last, memory ? memory->read_at : 0, now_at, ret_until);
}

bool leases_choose(struct leases *leases, const struct entry *entry, int64_t ttl_ms, uid_t uid,
		   const lease_holder holders[SCOPES], int64_t now_at,
		   const struct lease *ret[CATALOG_DYNAMICS_MAX], int64_t *ret_until)
{
	const struct config *config = entry->config;
	size_t n = 0;

	*ret_until = DSEC_NEVER;
	for (uint64_t left = entry->secrets; left; left &= left - 1) {
		const struct dynamic_secret *secret = &config->dynamics[__builtin_ctzll(left)];
		struct lease_slot slot = {
			.project = config->project,
			.config = config->name,
			.secret = secret->name,
			.ttl_ms = ttl_ms ? ttl_ms : secret->ttl_ms,
			.holder = holders[secret->scope],
		};
		int64_t until = now_at;

		ret[n] = choose(leases, &slot, secret, uid, now_at, &until);
		if (!ret[n++])
			return false;
		if (until < *ret_until)
			*ret_until = until;
	}
	return true;
}
