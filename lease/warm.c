/*
 * warm.c: leases that are made before anybody asks for them.
 *
 * A place keeps one lease ready, in a slot. Where all readers share a lease there is one place, and
 * its slot is theirs: what is made there is published like any other, and the next one is made
 * before it runs short. Elsewhere there are as many places as the configuration says, each with a
 * slot whose holder is nobody yet: who comes for the first time takes the lease over, and the place
 * is filled again; what nobody takes is replaced before it runs short, and removed.
 *
 * Nobody waits for any of this, so it goes behind whoever does: its calls in the limiter's last
 * class, its tokens of max_rate only when no reader wants one, its users only where enough of
 * max_leases, and of the memory for secrets, is left. What fails is tried again with backoff, and
 * no reader is refused for it.
 */
#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

#define WARM_BACKOFF_MS     1000
#define WARM_BACKOFF_CAP_MS 300000 /* 5 minutes */
#define WARM_DOUBLINGS      9      /* of WARM_BACKOFF_MS, beyond which its cap holds */
#define WARM_PATIENCE_MS    1000   /* until a token, or what IAM lists, is asked for again */
#define WARM_BEHIND_MS      10 /* until the next is begun when one is taken: its reader goes first */

/* Of max_leases, in quarters, what others than the ready leases may have before none is made any
 * more: the users of daemons that died, each with its leases ready, must not keep out readers. */
#define WARM_QUARTERS 3

static struct engine *engine_of(const struct warm_place *place)
{
	return place->slot->pool->engine;
}

static bool is_stock(const struct slot *slot)
{
	return lease_holder_kind(slot->holder) == HOLDER_STOCK;
}

static void look_at(struct warm_place *place, int64_t at)
{
	timer_arm(&engine_of(place)->timers, &place->look, at);
}

size_t warm_ready_count(const struct pool *pool)
{
	size_t n = 0;

	list_each (at, &pool->places)
		n += slot_lease(container_of(at, struct warm_place, link)->slot) != NULL;
	return n;
}

/* When the lease that is ready wants a successor; now: none is ready. */
static int64_t replace_at(const struct warm_place *place)
{
	const struct lease *lease = slot_lease(place->slot);

	if (!lease)
		return engine_now(engine_of(place));

	int64_t part = (lease->rotate_at - lease->start_at) / 4;

	return lease->rotate_at - (part < WARM_LEAD_MS ? part : WARM_LEAD_MS);
}

/* A place among the secret's users, and memory. What has room again says so by warm_room. */
static bool has_room(const struct pool *pool)
{
	size_t max = pool->recipe->secret.max_leases;

	if (pool_full(pool) || engine_room(pool->engine) <= pool->engine->env.leases_max / 4)
		return false;
	return pool->n_principals < max * WARM_QUARTERS / 4 ||
	       pool->n_principals - warm_ready_count(pool) < max * WARM_QUARTERS / 4;
}

static bool take_token(struct pool *pool)
{
	return list_empty(&pool->thirsty) && bucket_take(&pool->rate, engine_now(pool->engine));
}

/* After those who wait for one. */
static int64_t next_token_at(struct pool *pool)
{
	int64_t now = engine_now(pool->engine), at = bucket_next_at(&pool->rate, now);

	return at > now + WARM_PATIENCE_MS ? at : now + WARM_PATIENCE_MS;
}

static void fill(struct warm_place *place)
{
	struct pool *pool = place->slot->pool;
	int64_t now = engine_now(pool->engine);

	place->waits_for_room = !has_room(pool);
	if (place->waits_for_room)
		return;
	if (now < place->begin_at)
		look_at(place, place->begin_at);
	else if (!reconcile_knows_all(pool->account))
		look_at(place, now + WARM_PATIENCE_MS);
	else if (!take_token(pool))
		look_at(place, next_token_at(pool));
	else
		grant_begin(place->slot);
}

void warm_look(struct warm_place *place)
{
	const struct slot *slot = place->slot;
	const struct engine *engine = engine_of(place);

	/* What is being made, or is to be made for those who wait, comes here again. */
	if (!engine->started || engine->closing || slot->making || !list_empty(&slot->waiters))
		return;

	int64_t at = replace_at(place);

	if (engine_now(engine) < at)
		look_at(place, at);
	else
		fill(place);
}

static void look(struct timer *timer)
{
	warm_look(container_of(timer, struct warm_place, look));
}

void warm_start(struct engine *engine)
{
	list_each (pool_at, &engine->pools)
		list_each (at, &container_of(pool_at, struct pool, link)->places)
			look_at(container_of(at, struct warm_place, link), engine_now(engine));
}

static void look_for_room(struct pool *pool)
{
	list_each (at, &pool->places) {
		struct warm_place *place = container_of(at, struct warm_place, link);

		if (place->waits_for_room)
			look_at(place, engine_now(pool->engine));
	}
}

void warm_room(struct pool *pool)
{
	if (pool->engine->env.leases_max == 0) {
		look_for_room(pool);
		return;
	}
	list_each (at, &pool->engine->pools) /* they share the memory */
		look_for_room(container_of(at, struct pool, link));
}

/* Nobody has them. */
static void revoke_all_but(struct slot *slot, const struct lease *kept, const char *reason)
{
	size_t i = 0;

	while (i < slot->n_leases)
		if (slot->leases[i] == kept)
			i++;
		else
			principal_revoke(principal_by_id(slot->pool->engine, slot->leases[i]->id),
					 reason);
}

void warm_ready(struct warm_place *place, const struct lease *lease)
{
	place->failures = 0;
	place->begin_at = 0;
	if (is_stock(place->slot))
		revoke_all_but(place->slot, lease, "replaced: nobody asked for it");
	look_at(place, replace_at(place));
	if (is_stock(place->slot))
		warm_serve(place->slot->pool); /* the lease may be another's when this returns */
}

void warm_failed(struct warm_place *place)
{
	const struct engine *engine = engine_of(place);
	int64_t cap = WARM_BACKOFF_CAP_MS;

	if (place->failures < WARM_DOUBLINGS)
		cap = WARM_BACKOFF_MS << place->failures;
	if (cap > WARM_BACKOFF_CAP_MS)
		cap = WARM_BACKOFF_CAP_MS;
	place->failures++;
	place->begin_at = engine_now(engine) + cap / 2 + limiter_jitter(engine->env.clock, cap / 2);
	look_at(place, place->begin_at);
}

/* Taking. */

/* The one that is ready, unless an operator's renewal of it is under way: its record has an end by
 * then that its policy has not. */
static struct principal *ready_principal(const struct slot *slot)
{
	const struct lease *lease = slot_lease(slot);
	struct principal *principal = lease ? principal_by_id(slot->pool->engine, lease->id) : NULL;

	return principal && !principal->renewal ? principal : NULL;
}

static const struct lease *hand_over(struct principal *principal, struct slot *to)
{
	struct secret *secret = secret_ref(principal->lease->secret_access_key);

	principal->slot->place->begin_at = engine_now(principal->engine) + WARM_BEHIND_MS;
	slot_remove(principal->slot, principal->lease);
	principal->slot = to;
	principal_set_holder(principal, to->holder);
	principal_publish(principal, secret,
			  catalog_min_validity(&principal->recipe->secret, to->ttl_ms));
	secret_unref(secret);
	return principal->lease;
}

static struct principal *find_ready(const struct slot *slot)
{
	if (slot->place || slot->making)
		return NULL;
	list_each (at, &slot->pool->places) {
		const struct slot *from = container_of(at, struct warm_place, link)->slot;

		if (!is_stock(from) || from->ttl_ms != slot->ttl_ms)
			return NULL; /* no place of this secret is any different */

		struct principal *principal = ready_principal(from);

		if (principal)
			return principal;
	}
	return NULL;
}

bool warm_has(const struct slot *slot)
{
	return find_ready(slot) != NULL;
}

const struct lease *warm_take(struct slot *slot)
{
	struct principal *principal = find_ready(slot);

	return principal ? hand_over(principal, slot) : NULL;
}

static bool serve_first(struct pool *pool)
{
	list_each (at, &pool->thirsty) {
		struct slot *slot = container_of(at, struct slot, thirsty);
		const struct lease *lease = warm_take(slot);

		if (!lease)
			continue;
		list_remove(&slot->thirsty);
		slot_ready(slot, lease);
		return true;
	}
	return false;
}

/* Those who wait for a token have come before whoever comes next. */
void warm_serve(struct pool *pool)
{
	while (serve_first(pool))
		;
}

/* As the configuration says. */

static void place_add(struct pool *pool)
{
	const struct dynamic_secret *secret = &pool->recipe->secret;
	struct warm_place *place = alloc_zeroed(1, sizeof(*place));
	lease_holder holder =
		secret->scope == SCOPE_SHARED ? 0 : lease_holder_of(HOLDER_STOCK, pool->n_places);

	place->look.fire = look;
	place->slot = slot_get(pool, secret->ttl_ms, holder);
	place->slot->place = place;
	list_append(&pool->places, &place->link);
	pool->n_places++;
	look_at(place, engine_now(pool->engine));
}

static void place_free(struct warm_place *place)
{
	struct pool *pool = place->slot->pool;

	timer_disarm(&pool->engine->timers, &place->look);
	place->slot->place = NULL;
	list_remove(&place->link);
	pool->n_places--;
	free(place);
}

static void place_drop(struct warm_place *place)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that is freed has left its list */
	struct slot *slot = place->slot;

	place_free(place);
	if (is_stock(slot)) {
		if (slot->making)
			principal_revoke(slot->making, "not kept ready any more");
		revoke_all_but(slot, NULL, "not kept ready any more");
	}
	slot_idle(slot);
}

static bool fits(const struct warm_place *place, const struct dynamic_secret *secret)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): as above */
	return place->slot->ttl_ms == secret->ttl_ms &&
	       is_stock(place->slot) == (secret->scope != SCOPE_SHARED);
}

/* All readers have one and the same, so that a second one would not be read. */
static size_t wanted(const struct dynamic_secret *secret)
{
	return secret->scope == SCOPE_SHARED && secret->warm > 1 ? 1 : secret->warm;
}

void warm_configure(struct pool *pool)
{
	const struct dynamic_secret *secret = pool->recipe ? &pool->recipe->secret : NULL;
	size_t n = secret ? wanted(secret) : 0;

	/* The last first: the places' numbers have no gap. */
	while (pool->n_places > 0) {
		struct warm_place *last = container_of(pool->places.prev, struct warm_place, link);

		if (pool->n_places <= n && fits(last, secret))
			break;
		place_drop(last);
	}
	while (pool->n_places < n)
		place_add(pool);
}

void warm_finish(struct pool *pool)
{
	list_each (at, &pool->places)
		place_free(container_of(at, struct warm_place, link));
}
