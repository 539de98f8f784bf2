/*
 * order.c: leases that a request waits for.
 *
 * A request is answered within API_ANSWER_MS. An order of a request's own leases outlives it: it is
 * parked for the same caller to ask again, and what is made for it is revoked when nobody has
 * within API_PARKED_MS. One of shared leases does not need to: what is made is there for the next
 * reader.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

struct order {
	struct api *api;
	struct list link;
	char who[PEER_ID_MAX];
	char *project, *config;
	uint64_t secrets;
	int64_t ttl_ms;
	bool own;
	lease_holder holder; /* of its own */
	uint64_t ticket;     /* 0: the engine has answered */
	struct call *call;   /* that waits; NULL: it is parked */
	bool starting;
	size_t n;
	const struct lease **leases; /* NULL: none (yet) */
	struct dsec_error error;     /* set: it has failed */
	bool failed;
	bool ended; /* one of its leases has */
	struct timer timer;
};

static void drop_leases(struct order *order)
{
	for (size_t i = 0; i < order->n; i++)
		lease_unref(order->leases[i]);
	free(order->leases);
	order->leases = NULL;
	order->n = 0;
}

static void order_free(struct order *order)
{
	timer_disarm(&order->api->timers, &order->timer);
	if (order->ticket)
		engine_abandon(order->api->engine, order->ticket);
	if (order->call)
		order->call->order = NULL;
	list_remove(&order->link);
	drop_leases(order);
	free(order->project);
	free(order->config);
	free(order);
}

/* Nobody is to have what is made for it. */
static void give_up(struct order *order, const char *reason)
{
	struct engine *engine = order->api->engine;
	lease_holder holder = order->holder;

	order_free(order);
	if (holder)
		engine_end_holder(engine, holder, reason);
}

/* The call, which no longer waits, has its leases, or the error. */
static void deliver(struct order *order)
{
	struct call *call = order->call;

	if (order->failed) {
		const struct dsec_error error = order->error;

		give_up(order, "its download has failed");
		call->ready(call, NULL, 0, &error);
		return;
	}

	const struct lease **leases = order->leases;
	size_t n = order->n;
	bool own = order->own;

	order->leases = NULL;
	order->n = 0;
	order_free(order);
	call->ready(call, leases, n, NULL);
	if (own) {
		call->handed = leases;
		call->n_handed = n;
		return;
	}
	for (size_t i = 0; i < n; i++)
		lease_unref(leases[i]);
	free(leases);
}

static void acquired(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct order *order = arg;

	order->ticket = 0;
	if (err) {
		order->failed = true;
		order->error = *err;
	} else {
		order->leases = alloc_zeroed(n + 1, sizeof(struct lease *));
		for (order->n = 0; order->n < n; order->n++)
			order->leases[order->n] = lease_ref(leases[order->n]);
	}
	if (order->call && !order->starting)
		deliver(order);
}

static void late(struct order *order)
{
	struct call *call = order->call;

	if (!order->own) {
		order_free(order);
	} else {
		order->call = NULL;
		call->order = NULL;
		timer_arm(&order->api->timers, &order->timer, api_now(order->api) + API_PARKED_MS);
	}
	answer_later(call, "the lease is being made");
}

static void time_is_up(struct timer *timer)
{
	struct order *order = container_of(timer, struct order, timer);

	if (order->call)
		late(order);
	else
		give_up(order, "nobody collected it");
}

static void attach(struct order *order, struct call *call)
{
	struct api *api = order->api;

	order->call = call;
	call->order = order;
	timer_arm(&api->timers, &order->timer, api_now(api) + API_ANSWER_MS);
	if (order->ticket == 0 && !order->starting)
		deliver(order);
}

static uint64_t next_holder(struct api *api)
{
	return api->take_holder ? api->take_holder(api->take_holder_arg) : ++api->last_holder;
}

static struct order *order_new(struct call *call, uint64_t secrets, int64_t ttl_ms, bool own)
{
	struct api *api = call->api;
	struct order *order = alloc_zeroed(1, sizeof(*order));

	order->api = api;
	snprintf(order->who, sizeof(order->who), "%s", call->asker.id);
	order->project = alloc_copy(call->config->project);
	order->config = alloc_copy(call->config->name);
	order->secrets = secrets;
	order->ttl_ms = ttl_ms;
	order->own = own;
	if (own)
		order->holder = lease_holder_of(HOLDER_CLIENT, next_holder(api));
	order->timer.fire = time_is_up;
	list_init(&order->link);
	list_append(&api->orders, &order->link);
	return order;
}

static void start(struct order *order, struct call *call)
{
	struct acquire request = {
		.project = order->project,
		.config = order->config,
		.secrets = order->secrets,
		.ttl_ms = order->ttl_ms,
		.caller = call->asker.caller,
		.payer = call->asker.id,
	};

	for (int scope = 0; scope < SCOPES; scope++)
		request.holders[scope] =
			order->own ? order->holder : asker_holder(call, (enum lease_scope)scope);
	order->starting = true;
	attach(order, call);
	order->ticket = engine_acquire(order->api->engine, &request, acquired, order);
	order->starting = false;
	if (order->ticket == 0)
		deliver(order);
}

static struct order *find_parked(const struct call *call, uint64_t secrets, int64_t ttl_ms)
{
	list_each (at, &call->api->orders) {
		struct order *order = container_of(at, struct order, link);

		if (!order->call && !order->ended && order->secrets == secrets &&
		    order->ttl_ms == ttl_ms && strcmp(order->who, call->asker.id) == 0 &&
		    strcmp(order->project, call->config->project) == 0 &&
		    strcmp(order->config, call->config->name) == 0)
			return order;
	}
	return NULL;
}

/* One that leases for itself at every breath would use up what all are allowed. */
static bool too_often(struct call *call)
{
	struct visitor *visitor = visitor_get(call->api, call->asker.id);

	if (bucket_take(&visitor->leases, api_now(call->api)))
		return false;
	call->answer.retry = true;
	asker_refuse(call, MHD_HTTP_TOO_MANY_REQUESTS, call->config->project, call->config->name,
		     "this caller has asked for more than %d leases of its own in a minute: ask "
		     "again later, or read the files, whose leases are shared",
		     API_LEASES_A_MINUTE);
	return true;
}

void order_own(struct call *call, uint64_t secrets, int64_t ttl_ms, order_ready *ready)
{
	struct order *parked = find_parked(call, secrets, ttl_ms);

	call->ready = ready;
	if (parked)
		attach(parked, call);
	else if (!too_often(call))
		start(order_new(call, secrets, ttl_ms, true), call);
}

void order_shared(struct call *call, uint64_t secrets, order_ready *ready)
{
	call->ready = ready;
	start(order_new(call, secrets, 0, false), call);
}

void order_leave(struct call *call)
{
	if (call->order)
		give_up(call->order, "its client is gone");
}

void orders_reload(struct api *api)
{
	list_each (at, &api->orders) {
		struct order *order = container_of(at, struct order, link);

		if (!order->call)
			give_up(order, "the configuration has changed");
	}
}

/* A parked lease may be revoked, or be over, before it is collected. The engine, which tells this,
 * is not to be called now. */
void order_lease_ended(struct api *api, const struct lease *lease)
{
	list_each (at, &api->orders) {
		struct order *order = container_of(at, struct order, link);

		for (size_t i = 0; i < order->n && !order->ended; i++)
			if (strcmp(order->leases[i]->id, lease->id) == 0) {
				order->ended = true;
				timer_arm(&api->timers, &order->timer, api_now(api));
			}
	}
}

void orders_free(struct api *api)
{
	list_each (at, &api->orders)
		order_free(container_of(at, struct order, link));
}
