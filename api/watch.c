/*
 * watch.c: server-sent events: who runs a program under a config hears when its secrets are others.
 *
 * One that has leases of its own of that config hears when the newest of them is soon to end, or
 * has ended. One that has none, and so reads the files, hears when one of those that the files have
 * is replaced or ends. Both hear of other static secrets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define EVENT_SIZE 1024 /* the most that Doppler's command takes at a time */

enum { TELL_CONNECTED = 1, TELL_UPDATE = 2, TELL_PING = 4 };

struct watcher {
	struct list link;
	struct call *call;
	unsigned to_tell;
	struct timer ping, due;
	char etag[ANSWER_ETAG_MAX]; /* of the static secrets */
};

/* A lease that the files have. */
struct shared {
	struct table_node by_id, by_slot;
	struct lease *lease; /* the newest version */
};

static void tell(struct watcher *watcher, unsigned what)
{
	watcher->to_tell |= what;
	exchange_resume(watcher->call);
}

static void ping(struct timer *timer)
{
	struct watcher *watcher = container_of(timer, struct watcher, ping);
	struct api *api = watcher->call->api;

	timer_arm(&api->timers, timer, api_now(api) + API_PING_MS);
	tell(watcher, TELL_PING);
}

static void due(struct timer *timer)
{
	tell(container_of(timer, struct watcher, due), TELL_UPDATE);
}

/* The stream. */

static ssize_t read_events(void *arg, uint64_t position, char *to, size_t size)
{
	static const struct {
		unsigned what;
		const char *type;
	} events[] = {{TELL_CONNECTED, "connected"},
		      {TELL_UPDATE, "secrets.update"},
		      {TELL_PING, "ping"}};
	struct call *call = arg;
	struct watcher *watcher = call->watcher;

	if (call->gone)
		return MHD_CONTENT_READER_END_OF_STREAM;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (!(watcher->to_tell & events[i].what))
			continue;
		watcher->to_tell &= ~events[i].what;
		return snprintf(to, size, "event: message\ndata: {\"type\":\"%s\"}\n\n",
				events[i].type);
	}
	exchange_suspend(call);
	return 0;
}

struct MHD_Response *watch_response(struct call *call)
{
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_SIZE, read_events, call,
						 NULL);
}

void watch_end(struct call *call)
{
	struct watcher *watcher = call->watcher;

	if (!watcher)
		return;
	timer_disarm(&call->api->timers, &watcher->ping);
	timer_disarm(&call->api->timers, &watcher->due);
	list_remove(&watcher->link);
	call->watcher = NULL;
	free(watcher);
}

/* Who hears what. */

static bool is_about(const struct watcher *watcher, const char *project, const char *config)
{
	const struct config *watched = watcher->call->config;

	return strcmp(watched->project, project) == 0 && strcmp(watched->name, config) == 0;
}

static void set_due(struct watcher *watcher)
{
	struct call *call = watcher->call;

	timer_arm(&call->api->timers, &watcher->due,
		  issued_newest_until(call->api, call->asker.id, call->config));
}

void watch_issued(struct api *api, const char *who)
{
	list_each (at, &api->watchers) {
		struct watcher *watcher = container_of(at, struct watcher, link);

		if (strcmp(watcher->call->asker.id, who) == 0)
			set_due(watcher);
	}
}

void watch_issued_ended(struct api *api, const char *who, const struct lease *lease)
{
	list_each (at, &api->watchers) {
		struct watcher *watcher = container_of(at, struct watcher, link);

		if (strcmp(watcher->call->asker.id, who) == 0 &&
		    is_about(watcher, lease->slot.project, lease->slot.config))
			tell(watcher, TELL_UPDATE);
	}
}

static void tell_readers(struct api *api, const struct lease *lease)
{
	list_each (at, &api->watchers) {
		struct watcher *watcher = container_of(at, struct watcher, link);
		const struct call *call = watcher->call;

		if (is_about(watcher, lease->slot.project, lease->slot.config) &&
		    issued_newest_until(api, call->asker.id, call->config) == DSEC_NEVER)
			tell(watcher, TELL_UPDATE);
	}
}

/* The leases that the files have. */

static struct shared *with_id(const struct table_node *node)
{
	return container_of(node, struct shared, by_id);
}

static struct shared *with_slot(const struct table_node *node)
{
	return container_of(node, struct shared, by_slot);
}

static bool same_id(const struct table_node *node, const void *id)
{
	return strcmp(with_id(node)->lease->id, id) == 0;
}

/* Another lease of the same slot. */
static bool is_other(const struct table_node *node, const void *key)
{
	const struct lease *a = with_slot(node)->lease, *b = key;

	return lease_slot_same(&a->slot, &b->slot) && strcmp(a->id, b->id) != 0;
}

static struct shared *find_shared(const struct api *api, const char *id)
{
	const struct table *table = &api->shared_by_id;
	struct table_node *node = table_find(table, table_hash_text(table, id), same_id, id);

	return node ? with_id(node) : NULL;
}

static bool has_others(const struct api *api, const struct lease *lease)
{
	const struct table *table = &api->shared_by_slot;

	return table_find(table, lease_slot_hash(table, &lease->slot), is_other, lease);
}

static void shared_free(struct api *api, struct shared *shared)
{
	table_remove(&api->shared_by_id, &shared->by_id);
	table_remove(&api->shared_by_slot, &shared->by_slot);
	lease_unref(shared->lease);
	free(shared);
}

static void shared_active(struct api *api, const struct lease *lease)
{
	struct shared *shared = find_shared(api, lease->id);

	if (shared) { /* it was renewed */
		lease_unref(shared->lease);
		shared->lease = lease_ref(lease);
		return;
	}
	shared = alloc_zeroed(1, sizeof(*shared));
	shared->lease = lease_ref(lease);
	table_insert(&api->shared_by_id, &shared->by_id,
		     table_hash_text(&api->shared_by_id, lease->id));
	table_insert(&api->shared_by_slot, &shared->by_slot,
		     lease_slot_hash(&api->shared_by_slot, &lease->slot));
	if (has_others(api, lease))
		tell_readers(api, lease);
}

static void shared_ended(struct api *api, const struct lease *lease)
{
	struct shared *shared = find_shared(api, lease->id);

	if (!shared)
		return;
	if (!has_others(api, lease))
		tell_readers(api, lease);
	shared_free(api, shared);
}

void watch_lease(struct api *api, enum lease_event event, const struct lease *lease)
{
	uint64_t kind = lease->slot.holder >> 56;

	/* One that is kept ready is nobody's yet; it comes again when it is somebody's. */
	if (kind == HOLDER_OPEN || kind == HOLDER_CLIENT || kind == HOLDER_STOCK)
		return;
	if (event == LEASE_ACTIVE)
		shared_active(api, lease);
	else if (event == LEASE_ENDED)
		shared_ended(api, lease);
}

void watch_free(struct api *api)
{
	struct table *table = &api->shared_by_id;

	for (size_t i = 0; i < table->n_buckets; i++)
		while (table->buckets[i])
			shared_free(api, with_id(table->buckets[i]));
	table_finish(table);
	table_finish(&api->shared_by_slot);
}

/* Static secrets. */

static void name_statics(const struct api *api, const struct config *config,
			 char to[ANSWER_ETAG_MAX])
{
	const struct download_choice choice = {.format = FORMAT_JSON, .fixed = true};
	struct download text = {0};

	to[0] = '\0';
	if (download_render_as(&text, config, NULL, &choice) == 0)
		answer_name(api, &text, to);
	download_finish(&text);
}

void watch_reload(struct api *api)
{
	char etag[ANSWER_ETAG_MAX];

	list_each (at, &api->watchers) {
		struct watcher *watcher = container_of(at, struct watcher, link);
		const struct config *old = watcher->call->config;
		const struct config *config = catalog_config(api->catalog, old->project, old->name);

		if (!config) {
			exchange_gone(watcher->call);
			continue;
		}
		name_statics(api, config, etag);
		if (strcmp(etag, watcher->etag) == 0)
			continue;
		memcpy(watcher->etag, etag, sizeof(etag));
		tell(watcher, TELL_UPDATE);
	}
}

static bool too_many(const struct call *call)
{
	unsigned n = 0, n_own = 0;

	list_each (at, &call->api->watchers) {
		const struct watcher *watcher = container_of(at, struct watcher, link);

		n++;
		n_own += strcmp(watcher->call->asker.id, call->asker.id) == 0;
	}
	return n >= API_WATCHERS_MAX || n_own >= API_WATCHERS_ASKER_MAX;
}

void route_watch(struct call *call)
{
	struct api *api = call->api;

	if (too_many(call)) {
		answer_later(call, "too many are watching");
		return;
	}

	struct watcher *watcher = alloc_zeroed(1, sizeof(*watcher));

	watcher->call = call;
	watcher->to_tell = TELL_CONNECTED;
	watcher->ping.fire = ping;
	watcher->due.fire = due;
	name_statics(api, call->config, watcher->etag);
	list_init(&watcher->link);
	list_append(&api->watchers, &watcher->link);
	call->watcher = watcher;
	timer_arm(&api->timers, &watcher->ping, api_now(api) + API_PING_MS);
	set_due(watcher);
	client_may_stay(call->client);
	answer_stream(call);
}
