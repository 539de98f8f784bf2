#include <stdio.h>
#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/duration.h"
#include "lease/engine_private.h"

struct request {
	struct engine *engine;
	struct table_node by_ticket;
	uint64_t ticket;
	struct timer deadline;
	struct lease_caller caller;
	char *name, *payer;     /* the caller's */
	lease_holder exclusive; /* 0, or nobody else is to be given these leases */
	bool is_untold;         /* the observer has heard of enough that failed like this */
	engine_acquired *done;
	void *arg;
	size_t n_missing;
	size_t n;
	struct part parts[];
};

static bool same_ticket(const struct table_node *node, const void *key)
{
	return container_of(node, struct request, by_ticket)->ticket == *(const uint64_t *)key;
}

static struct request *request_find(const struct engine *engine, uint64_t ticket)
{
	uint64_t hash = table_hash(&engine->requests_by_ticket, &ticket, sizeof(ticket));
	struct table_node *node =
		table_find(&engine->requests_by_ticket, hash, same_ticket, &ticket);

	return node ? container_of(node, struct request, by_ticket) : NULL;
}

static void request_free(struct request *request)
{
	for (size_t i = 0; i < request->n; i++)
		lease_unref(request->parts[i].lease);
	who_unref(request->caller.who);
	free(request->name);
	free(request->payer);
	free(request);
}

static void part_leave(struct part *part)
{
	list_remove(&part->link);
	part->slot->n_parts--;
	slot_idle(part->slot);
}

/* Out of all queues: from here on only its owner knows it. */
static void detach(struct request *request)
{
	struct engine *engine = request->engine;

	timer_disarm(&engine->timers, &request->deadline);
	if (request->ticket != 0) {
		table_remove(&engine->requests_by_ticket, &request->by_ticket);
		engine->n_waiting--;
		request->ticket = 0;
	}
	for (size_t i = 0; i < request->n; i++)
		part_leave(&request->parts[i]);
}

static void request_succeed(struct request *request)
{
	const struct engine_observer *observer = &request->engine->env.observer;
	const struct lease *leases[CATALOG_DYNAMICS_MAX];
	bool waited = false, warm = false;

	detach(request);
	for (size_t i = 0; i < request->n; i++) {
		const struct part *part = &request->parts[i];

		leases[i] = part->lease;
		waited |= part->waited;
		warm |= part->warm;
		if ((part->waited || part->warm) && observer->handed_out)
			observer->handed_out(observer->arg, part->lease, &request->caller);
		if (!part->waited && observer->reused)
			observer->reused(observer->arg, part->lease, &request->caller);
	}
	if (waited)
		request->engine->counters.acquired_made++;
	else if (warm)
		request->engine->counters.acquired_warm++;
	else
		request->engine->counters.acquired_cached++;
	request->done(request->arg, leases, request->n, NULL);
	request_free(request);
}

static void report_failed(struct engine *engine, const struct lease_slot *slot,
			  const struct lease_caller *caller, const struct dsec_error *err)
{
	const struct engine_observer *observer = &engine->env.observer;

	engine->counters.acquired_failed[err->kind]++;
	if (observer->failed)
		observer->failed(observer->arg, slot, caller, err);
}

/* What was made, or is being made, for this reader alone is nobody's now. */
static void give_up(const struct request *request)
{
	if (request->exclusive)
		engine_end_holder(request->engine, request->exclusive, "not handed out");
}

static void request_fail(struct request *request, const struct lease_slot *slot,
			 const struct dsec_error *err)
{
	/* The error may stand in something that ends with the answer. */
	const struct dsec_error kept = *err;

	detach(request);
	if (request->is_untold)
		request->engine->counters.acquired_failed[kept.kind]++;
	else
		report_failed(request->engine, slot, &request->caller, &kept);
	request->done(request->arg, NULL, 0, &kept);
	give_up(request);
	request_free(request);
}

/* The present version of a lease that was put aside, if it can still be had; else another one. */
static const struct lease *lease_now(const struct part *part)
{
	const struct engine *engine = part->request->engine;
	const struct principal *principal = principal_by_id(engine, part->lease->id);

	if (principal && principal->state == PRINCIPAL_ACTIVE && principal->slot == part->slot &&
	    engine_now(engine) < principal->expire_at)
		return principal->lease;
	return slot_lease(part->slot);
}

/* All are there; but what came first may have ended while the others were made. */
static void refresh(struct request *request)
{
	for (size_t i = 0; i < request->n; i++) {
		struct part *part = &request->parts[i];
		const struct lease *now = lease_now(part);

		if (now == part->lease)
			continue;
		lease_unref(part->lease);
		part->lease = now ? lease_ref(now) : NULL;
		if (now)
			continue;
		list_append(&part->slot->waiters, &part->link);
		part->waited = true;
		request->n_missing++;
	}
}

/* Begins what is missing; the request may be answered, and gone, when this returns. */
static void make_missing(struct request *request)
{
	const struct engine *engine = request->engine;
	uint64_t ticket = request->ticket;
	size_t n = request->n;

	for (size_t i = 0; i < n && request_find(engine, ticket); i++)
		if (!request->parts[i].lease)
			slot_make(request->parts[i].slot);
}

void part_ready(struct part *part, const struct lease *lease)
{
	struct request *request = part->request;

	part->lease = lease_ref(lease);
	if (--request->n_missing > 0)
		return;
	refresh(request);
	if (request->n_missing == 0)
		request_succeed(request);
	else
		make_missing(request);
}

void part_failed(struct part *part, const struct dsec_error *err)
{
	const struct lease_slot slot = slot_name(part->slot);

	request_fail(part->request, &slot, err);
}

void part_held_back(struct part *part, const struct dsec_error *err, bool is_told)
{
	part->request->is_untold = !is_told;
	part_failed(part, err);
}

/* What kept the reader waiting for too long. */
static void late_error(const struct slot *slot, int64_t waited_ms, struct dsec_error *err)
{
	const struct principal *making = slot->making;
	const struct dsec_error *last = making ? grant_last_error(making) : NULL;
	char waited[DURATION_TEXT_MAX];

	duration_format(waited, waited_ms);
	if (!making) {
		const struct dynamic_secret *secret = &slot->pool->recipe->secret;
		char per[DURATION_TEXT_MAX];

		duration_format(per, secret->max_rate_per_ms);
		dsec_error_set(err, DSEC_ERROR_THROTTLED,
			       "%s makes at most %u leases in %s (max_rate), and none was left "
			       "within %s",
			       slot->pool->secret, secret->max_rate, per, waited);
	} else if (last) {
		*err = *last;
		if (err->kind != DSEC_ERROR_THROTTLED && err->kind != DSEC_ERROR_UNREACHABLE)
			err->kind = DSEC_ERROR_TIMEOUT;
		dsec_error_wrap(err, "no lease within %s", waited);
	} else {
		dsec_error_set(err, DSEC_ERROR_TIMEOUT, "no lease within %s: still %s", waited,
			       grant_step_text(making));
	}
}

static void deadline_passed(struct timer *timer)
{
	struct request *request = container_of(timer, struct request, deadline);
	const struct part *part = request->parts;
	struct dsec_error err;

	while (part->lease)
		part++;

	const struct lease_slot slot = slot_name(part->slot);

	late_error(part->slot, request->engine->catalog->read_timeout_ms, &err);
	pool_failed(part->slot->pool, &err);
	request_fail(request, &slot, &err);
}

static int check_ttl(const struct dynamic_secret *secret, int64_t ttl_ms, struct dsec_error *err)
{
	char max[DURATION_TEXT_MAX], min[DURATION_TEXT_MAX], asked[DURATION_TEXT_MAX];

	if (ttl_ms == 0 || (ttl_ms >= CATALOG_TTL_MIN_MS && ttl_ms <= secret->max_ttl_ms))
		return 0;
	duration_format(asked, ttl_ms);
	duration_format(min, CATALOG_TTL_MIN_MS);
	duration_format(max, secret->max_ttl_ms);
	return dsec_error_set(
		err, DSEC_ERROR_NOT_CONFIGURED,
		"a TTL of %s is not possible for %s: at least %s, at most %s (max_ttl)", asked,
		secret->name, min, max);
}

static const struct config *check_request(const struct engine *engine, const struct acquire *asked,
					  struct dsec_error *err)
{
	const struct config *config =
		catalog_config(engine->catalog, asked->project, asked->config);

	if (!config) {
		dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
			       "there is no config %s in project %s", asked->config,
			       asked->project);
		return NULL;
	}
	if (config->n_dynamics < CATALOG_DYNAMICS_MAX && asked->secrets >> config->n_dynamics) {
		dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
			       "%s has no such dynamic secret any more", asked->config);
		return NULL;
	}
	if (engine->closing) {
		dsec_error_set(err, DSEC_ERROR_FAULT, "no new leases: %s", engine->closing_reason);
		return NULL;
	}
	if (engine->n_waiting >= ENGINE_WAITERS_MAX) {
		dsec_error_set(err, DSEC_ERROR_THROTTLED, "%d readers wait already",
			       ENGINE_WAITERS_MAX);
		return NULL;
	}
	for (size_t i = 0; i < config->n_dynamics; i++)
		if (asked->secrets & UINT64_C(1) << i &&
		    check_ttl(&config->dynamics[i], asked->ttl_ms, err) < 0)
			return NULL;
	return config;
}

static void want(struct request *request, const struct acquire *asked, const struct config *config,
		 const struct dynamic_secret *secret)
{
	struct engine *engine = request->engine;
	struct part *part = &request->parts[request->n++];
	struct pool *pool = pool_find(engine, config->project, config->name, secret->name);

	part->request = request;
	part->payer = request->payer;
	part->slot = slot_get(pool, asked->ttl_ms ? asked->ttl_ms : secret->ttl_ms,
			      asked->holders[secret->scope]);
	part->slot->n_parts++;
	list_init(&part->link);

	const struct lease *lease = slot_lease(part->slot);

	/* It costs a token as one that is made does: the place has to be filled again. */
	if (!lease && warm_has(part->slot) && payer_charge(pool, request->payer)) {
		lease = warm_take(part->slot);
		part->warm = true;
	}
	if (lease)
		part->lease = lease_ref(lease);
	else
		request->n_missing++;
}

static char *payer_of(const struct acquire *asked)
{
	char text[32];

	snprintf(text, sizeof(text), "uid:%u", (unsigned)asked->caller.uid);
	return alloc_copy(asked->payer ? asked->payer : text);
}

static struct request *request_new(struct engine *engine, const struct acquire *asked,
				   const struct config *config, engine_acquired *done, void *arg)
{
	size_t n = (size_t)__builtin_popcountll(asked->secrets);
	struct request *request = alloc_zeroed(1, sizeof(*request) + n * sizeof(request->parts[0]));

	request->engine = engine;
	request->deadline.fire = deadline_passed;
	request->caller = asked->caller;
	who_ref(request->caller.who);
	request->name = asked->caller.name ? alloc_copy(asked->caller.name) : NULL;
	request->caller.name = request->name;
	request->payer = payer_of(asked);
	request->exclusive = acquire_exclusive(asked);
	request->done = done;
	request->arg = arg;
	for (size_t i = 0; i < config->n_dynamics; i++)
		if (asked->secrets & UINT64_C(1) << i)
			want(request, asked, config, &config->dynamics[i]);
	return request;
}

/* A slot that has just failed gives its error again, and nobody waits. */
static const struct slot *refusing_slot(const struct request *request)
{
	for (size_t i = 0; i < request->n; i++)
		if (!request->parts[i].lease && slot_refuses(request->parts[i].slot))
			return request->parts[i].slot;
	return NULL;
}

static uint64_t enlist(struct request *request)
{
	struct engine *engine = request->engine;
	uint64_t ticket = ++engine->last_ticket;

	request->ticket = ticket;
	table_insert(&engine->requests_by_ticket, &request->by_ticket,
		     table_hash(&engine->requests_by_ticket, &ticket, sizeof(ticket)));
	engine->n_waiting++;
	timer_arm(&engine->timers, &request->deadline,
		  engine_now(engine) + engine->catalog->read_timeout_ms);
	for (size_t i = 0; i < request->n; i++) {
		struct part *part = &request->parts[i];

		part->waited = !part->lease;
		if (part->waited)
			list_append(&part->slot->waiters, &part->link);
	}
	return ticket;
}

uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg)
{
	struct dsec_error err;
	const struct config *config = check_request(engine, request, &err);

	if (!config) {
		const struct lease_slot slot = {request->project, request->config, "",
						request->ttl_ms, 0};

		report_failed(engine, &slot, &request->caller, &err);
		done(arg, NULL, 0, &err);
		return 0;
	}

	struct request *waiter = request_new(engine, request, config, done, arg);
	const struct slot *refusing = refusing_slot(waiter);

	if (refusing) {
		const struct lease_slot slot = slot_name(refusing);

		request_fail(waiter, &slot, refusing->refusal);
		return 0;
	}
	if (waiter->n_missing == 0) {
		request_succeed(waiter);
		return 0;
	}

	uint64_t ticket = enlist(waiter);

	make_missing(waiter);
	return request_find(engine, ticket) ? ticket : 0;
}

void engine_refused(struct engine *engine, const char *project, const char *config,
		    uint64_t secrets, const struct lease_caller *caller,
		    const struct dsec_error *err)
{
	const struct config *asked = catalog_config(engine->catalog, project, config);

	for (size_t i = 0; asked && i < asked->n_dynamics; i++) {
		struct pool *pool = pool_find(engine, project, config, asked->dynamics[i].name);
		const struct lease_slot slot = {project, config, asked->dynamics[i].name, 0, 0};

		if (!(secrets >> i & 1))
			continue;
		pool_failed(pool, err);
		report_failed(engine, &slot, caller, err);
	}
}

void engine_abandon(struct engine *engine, uint64_t ticket)
{
	struct request *request = request_find(engine, ticket);

	if (!request)
		return;
	engine->counters.abandoned++;
	detach(request);
	give_up(request);
	request_free(request);
}

static void forget(struct engine *engine, uint64_t ticket)
{
	struct request *request = request_find(engine, ticket);

	if (!request)
		return;
	detach(request);
	request_free(request);
}

void requests_free(struct engine *engine)
{
	list_each (pool_at, &engine->pools)
		list_each (slot_at, &container_of(pool_at, struct pool, link)->slots) {
			struct slot *slot = container_of(slot_at, struct slot, link);

			while (!list_empty(&slot->waiters))
				forget(engine, list_first(&slot->waiters, struct part, link)
						       ->request->ticket);
		}
}
