#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

#define REFUSAL_DOUBLINGS 5 /* of REFUSAL_MS, which its cap allows */

struct slot_key {
	const struct pool *pool;
	int64_t ttl_ms;
	lease_holder holder;
};

static struct slot_key key_of(const struct slot *slot)
{
	return (struct slot_key){slot->pool, slot->ttl_ms, slot->holder};
}

static bool same_key(const struct table_node *node, const void *key)
{
	const struct slot_key has = key_of(container_of(node, struct slot, by_key));
	const struct slot_key *wanted = key;

	return has.pool == wanted->pool && has.ttl_ms == wanted->ttl_ms &&
	       has.holder == wanted->holder;
}

static uint64_t hash_key(const struct engine *engine, const struct slot_key *key)
{
	uint64_t parts[] = {(uint64_t)(uintptr_t)key->pool, (uint64_t)key->ttl_ms, key->holder};

	return table_hash(&engine->slots_by_key, parts, sizeof(parts));
}

static void forget(struct timer *timer)
{
	struct slot *slot = container_of(timer, struct slot, forget);

	if (slot->place)
		warm_look(slot->place);
	else if (slot->n_leases == 0 && slot->n_parts == 0 && !slot->making)
		slot_free(slot);
}

struct slot *slot_get(struct pool *pool, int64_t ttl_ms, lease_holder holder)
{
	struct engine *engine = pool->engine;
	const struct slot_key key = {pool, ttl_ms, holder};
	uint64_t hash = hash_key(engine, &key);
	struct table_node *node = table_find(&engine->slots_by_key, hash, same_key, &key);

	if (node)
		return container_of(node, struct slot, by_key);

	struct slot *slot = alloc_zeroed(1, sizeof(*slot));

	slot->pool = pool;
	slot->ttl_ms = ttl_ms;
	slot->holder = holder;
	slot->forget.fire = forget;
	list_init(&slot->thirsty);
	list_init(&slot->waiters);
	list_append(&pool->slots, &slot->link);
	table_insert(&engine->slots_by_key, &slot->by_key, hash);
	slot_idle(slot);
	return slot;
}

void slot_free(struct slot *slot)
{
	struct engine *engine = slot->pool->engine;

	timer_disarm(&engine->timers, &slot->forget);
	list_remove(&slot->thirsty);
	list_remove(&slot->link);
	table_remove(&engine->slots_by_key, &slot->by_key);
	free(slot->refusal);
	free(slot->leases);
	free(slot);
}

void slot_idle(struct slot *slot)
{
	struct engine *engine = slot->pool->engine;
	int64_t forget_at = engine_now(engine);

	if (list_empty(&slot->waiters))
		list_remove(&slot->thirsty);
	/* A crash loop's next reader finds how often it has failed. */
	if (slot->failures > 0 && slot->refused_until_at + REFUSAL_CAP_MS > forget_at)
		forget_at = slot->refused_until_at + REFUSAL_CAP_MS;
	timer_arm(&engine->timers, &slot->forget, forget_at);
}

struct lease_slot slot_name(const struct slot *slot)
{
	return (struct lease_slot){
		.project = slot->pool->project,
		.config = slot->pool->config,
		.secret = slot->pool->secret,
		.ttl_ms = slot->ttl_ms,
		.holder = slot->holder,
	};
}

const struct lease *slot_lease(const struct slot *slot)
{
	return lease_choose(slot->leases, slot->n_leases, NULL, 0, engine_now(slot->pool->engine),
			    NULL);
}

void slot_add(struct slot *slot, const struct lease *lease)
{
	for (size_t i = 0; i < slot->n_leases; i++)
		if (strcmp(slot->leases[i]->id, lease->id) == 0) {
			slot->leases[i] = lease;
			return;
		}
	if (slot->n_leases == slot->size) {
		slot->size = slot->size ? 2 * slot->size : 1;
		slot->leases = alloc_resized(slot->leases, slot->size, sizeof(struct lease *));
	}
	slot->leases[slot->n_leases++] = lease;
}

void slot_remove(struct slot *slot, const struct lease *lease)
{
	for (size_t i = 0; i < slot->n_leases; i++)
		if (slot->leases[i] == lease) {
			slot->leases[i] = slot->leases[--slot->n_leases];
			break;
		}
	slot_idle(slot);
}

bool slot_refuses(const struct slot *slot)
{
	return engine_now(slot->pool->engine) < slot->refused_until_at;
}

void slot_refuse(struct slot *slot, const struct dsec_error *err)
{
	int64_t pause = REFUSAL_CAP_MS;

	if (slot->failures < REFUSAL_DOUBLINGS)
		pause = REFUSAL_MS << slot->failures;
	slot->failures++;
	if (!slot->refusal)
		slot->refusal = alloc_zeroed(1, sizeof(*slot->refusal));
	*slot->refusal = *err;
	slot->refused_until_at = engine_now(slot->pool->engine) + pause;
}

void slot_ready(struct slot *slot, const struct lease *lease)
{
	struct list waiters;

	slot->failures = 0;
	slot->refused_until_at = 0;
	free(slot->refusal);
	slot->refusal = NULL;
	if (slot->place)
		warm_ready(slot->place, lease);
	/* Who comes while these are answered finds the lease by itself. */
	list_take_all(&waiters, &slot->waiters);
	while (!list_empty(&waiters)) {
		struct part *part = list_first(&waiters, struct part, link);

		list_remove(&part->link);
		part_ready(part, lease);
	}
}

void slot_failed(struct slot *slot, const struct dsec_error *err)
{
	struct list waiters;

	list_take_all(&waiters, &slot->waiters);
	while (!list_empty(&waiters)) {
		struct part *part = list_first(&waiters, struct part, link);

		list_remove(&part->link);
		part_failed(part, err);
	}
	slot_idle(slot);
}

static void fail_full(struct slot *slot)
{
	struct dsec_error err;
	unsigned max = slot->pool->recipe->secret.max_leases;

	dsec_error_set(&err, DSEC_ERROR_QUOTA,
		       "%s has %zu users, and its max_leases is %u: end some (dsec leases revoke), "
		       "wait for their end, or raise it",
		       slot->pool->secret, slot->pool->n_principals, max);
	pool_failed(slot->pool, &err);
	slot_failed(slot, &err);
}

static void fail_without_memory(struct slot *slot)
{
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_NO_SPACE,
		       "the memory for secrets has room for %u leases, and so many there are: end "
		       "some (dsec leases revoke), or raise RLIMIT_MEMLOCK (ulimit -l, "
		       "LimitMEMLOCK=) and mount again",
		       slot->pool->engine->env.leases_max);
	pool_failed(slot->pool, &err);
	slot_failed(slot, &err);
}

/* True when there is no room for one more; then who waits is told. */
static bool fail_without_room(struct slot *slot)
{
	if (pool_full(slot->pool))
		fail_full(slot);
	else if (engine_room(slot->pool->engine) == 0)
		fail_without_memory(slot);
	else
		return false;
	return true;
}

void slot_fail_unconfigured(struct slot *slot)
{
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_NOT_CONFIGURED, "%s is not in the configuration any more",
		       slot->pool->secret);
	slot_failed(slot, &err);
}

void slot_make_now(struct slot *slot)
{
	if (!fail_without_room(slot))
		grant_begin(slot);
}

/* Each is told whom it counts as. */
static void hold_back(struct slot *slot)
{
	struct list waiters;

	list_take_all(&waiters, &slot->waiters);
	while (!list_empty(&waiters)) {
		struct part *part = list_first(&waiters, struct part, link);
		struct dsec_error err;
		bool is_told = payer_refuse(slot->pool, part->payer, &err);

		pool_failed(slot->pool, &err);
		slot->pool->engine->counters.held_back++;
		list_remove(&part->link);
		part_held_back(part, &err, is_told);
	}
	slot_idle(slot);
}

/* The first of those who wait that may cause one. */
static bool charge(struct slot *slot)
{
	bool owed = slot->owed;

	slot->owed = false;
	if (owed)
		return true;
	list_each (at, &slot->waiters)
		if (payer_charge(slot->pool, container_of(at, struct part, link)->payer))
			return true;
	return false;
}

void slot_make(struct slot *slot)
{
	if (!list_empty(&slot->thirsty) || list_empty(&slot->waiters))
		return;
	if (slot->making) {
		grant_hurry(slot->making);
		return;
	}
	if (!slot->pool->recipe) {
		slot_fail_unconfigured(slot);
		return;
	}
	if (fail_without_room(slot))
		return;
	if (!charge(slot))
		hold_back(slot);
	else if (pool_take_token(slot->pool, slot))
		grant_begin(slot);
}

void slot_drop_stale(struct slot *slot)
{
	const struct recipe *recipe = slot->pool->recipe;
	size_t kept = 0;

	for (size_t i = 0; i < slot->n_leases; i++) {
		const struct lease *lease = slot->leases[i];

		if (recipe && lease->fingerprint == recipe->secret.fingerprint) {
			slot->leases[kept++] = lease;
			continue;
		}

		struct principal *principal = principal_by_id(slot->pool->engine, lease->id);

		principal->slot = NULL;
		if (lease_holder_kind(slot->holder) == HOLDER_STOCK)
			principal_revoke(principal, "the configuration has changed");
		else
			principal_rotated(principal, "the configuration has changed");
	}
	slot->n_leases = kept;

	/* Who waits has been given nothing yet, and may as well have what is right now. */
	struct principal *making = slot->making;

	if (making && !(recipe && making->record.fingerprint == recipe->secret.fingerprint)) {
		slot->making = NULL;
		making->slot = NULL;
		principal_revoke(making, "the configuration has changed");
		slot->owed = true;
		if (recipe)
			slot_make(slot);
	}
	slot->refused_until_at = 0;
	slot->failures = 0;
	slot_idle(slot);
}
