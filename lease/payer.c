/*
 * payer.c: whom leases are charged to.
 *
 * max_rate is for all readers of a dynamic secret together. One of them that loops (a crash loop, a
 * poller of CONFIG@fresh, a TTL of its own each time) would use it up and leave the others waiting,
 * so each may cause only a part of it. What counts is not the holder of the lease, which may be
 * made anew with each turn of the loop (a process, an open file), but what goes on: its container,
 * its unit, its user, its token. Whoever made the request says what that is.
 *
 * Who has used up its part is refused at once: were it kept waiting, a loop that does not wait for
 * its own answers would use up the places of those that may wait.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/duration.h"
#include "lease/engine_private.h"

struct payer_name {
	const struct pool *pool;
	const char *name;
};

static bool same_name(const struct table_node *node, const void *key)
{
	const struct payer *payer = container_of(node, struct payer, by_name);
	const struct payer_name *name = key;

	return payer->pool == name->pool && strcmp(payer->name, name->name) == 0;
}

static uint64_t hash_name(const struct payer_name *name)
{
	const struct table *table = &name->pool->engine->payers_by_name;
	uint64_t parts[] = {(uint64_t)(uintptr_t)name->pool, table_hash_text(table, name->name)};

	return table_hash(table, parts, sizeof(parts));
}

static struct payer *find(const struct pool *pool, const char *name)
{
	const struct payer_name key = {pool, name};
	struct table_node *node =
		table_find(&pool->engine->payers_by_name, hash_name(&key), same_name, &key);

	return node ? container_of(node, struct payer, by_name) : NULL;
}

static void forget(struct payer *payer)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that is freed has left its list */
	table_remove(&payer->pool->engine->payers_by_name, &payer->by_name);
	list_remove(&payer->link);
	payer->pool->n_payers--;
	free(payer);
}

void payers_forget(struct pool *pool)
{
	list_each (at, &pool->payers)
		forget(container_of(at, struct payer, link));
}

/* Who has its whole part again is as one who was never here. */
static void forget_full(struct pool *pool)
{
	int64_t now = engine_now(pool->engine);

	while (pool->n_payers > 0) {
		struct payer *first = list_first(&pool->payers, struct payer, link);

		if (pool->n_payers <= PAYERS_MAX && !bucket_full(&first->rate, now))
			return;
		forget(first);
	}
}

static double per_ms(const struct dynamic_secret *secret)
{
	return (double)secret->max_rate_per_holder / (double)secret->max_rate_per_holder_ms;
}

static struct payer *remember(struct pool *pool, const char *name)
{
	const struct payer_name key = {pool, name};
	const struct dynamic_secret *secret = &pool->recipe->secret;
	struct payer *payer = alloc_zeroed(1, sizeof(*payer) + strlen(name) + 1);

	payer->pool = pool;
	memcpy(payer->name, name, strlen(name) + 1);
	bucket_init(&payer->rate, secret->max_rate_per_holder, per_ms(secret),
		    engine_now(pool->engine));
	list_init(&payer->link);
	table_insert(&pool->engine->payers_by_name, &payer->by_name, hash_name(&key));
	pool->n_payers++;
	return payer;
}

/* Where one may cause as many as all together, there is nothing to be held back. */
static bool may_use_up_all(const struct dynamic_secret *secret)
{
	return secret->max_rate_per_holder == secret->max_rate &&
	       secret->max_rate_per_holder_ms == secret->max_rate_per_ms;
}

bool payer_charge(struct pool *pool, const char *name)
{
	if (may_use_up_all(&pool->recipe->secret))
		return true;

	struct payer *payer = find(pool, name);

	if (!payer)
		payer = remember(pool, name);

	bool charged = bucket_take(&payer->rate, engine_now(pool->engine));

	if (charged) {
		payer->n_refused = 0;
		list_remove(&payer->link);
		list_append(&pool->payers, &payer->link);
		forget_full(pool);
	}
	return charged;
}

bool payer_refuse(struct pool *pool, const char *name, struct dsec_error *err)
{
	const struct dynamic_secret *secret = &pool->recipe->secret;
	struct payer *payer = find(pool, name);
	int64_t now = engine_now(pool->engine);
	int64_t wait = payer ? bucket_next_at(&payer->rate, now) - now : 0;
	char per[DURATION_TEXT_MAX], after[DURATION_TEXT_MAX], times[64] = "";
	unsigned n = payer ? ++payer->n_refused : 1;

	if (n > 1)
		snprintf(times, sizeof(times), "; refused %u times meanwhile", n);
	duration_format(per, secret->max_rate_per_holder_ms);
	duration_format(after, (wait / 1000 + 1) * 1000);
	dsec_error_set(err, DSEC_ERROR_THROTTLED,
		       "%.200s has caused as many leases of %s as one holder may, %u in %s "
		       "(max_rate_per_holder): it may try again in %s%s",
		       name, pool->secret, secret->max_rate_per_holder, per, after, times);
	return IS_POWER_OF_TWO(n);
}

void payers_change(struct pool *pool)
{
	const struct dynamic_secret *secret = &pool->recipe->secret;

	list_each (at, &pool->payers)
		bucket_change(&container_of(at, struct payer, link)->rate,
			      secret->max_rate_per_holder, per_ms(secret),
			      engine_now(pool->engine));
}
