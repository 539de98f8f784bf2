#include "api/api.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define EVENTS_MAX 64 /* at a time: the engine has other things to do */

int64_t api_now(const struct api *api)
{
	return api->clock->boottime_at(api->clock);
}

int source_add(const struct api *api, struct source *source, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(api->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static uint64_t random_seed(const struct clock *clock)
{
	uint64_t seed;

	clock->random_bytes(clock, &seed, sizeof(seed));
	return seed;
}

static struct api *api_new(const struct api_options *options)
{
	struct api *api = alloc_zeroed(1, sizeof(*api));

	api->clock = options->clock;
	api->engine = options->engine;
	api->catalog = catalog_ref(options->catalog);
	api->state_folder = alloc_copy(options->state_folder);
	api->remove = options->remove;
	api->remove_arg = options->remove_arg;
	api->take_holder = options->take_holder;
	api->take_holder_arg = options->take_holder_arg;
	api->token_event = options->token_event;
	api->token_event_arg = options->token_event_arg;
	timers_init(&api->timers);
	list_init(&api->listeners);
	list_init(&api->clients);
	list_init(&api->orders);
	list_init(&api->visitors);
	list_init(&api->watchers);
	table_init(&api->visitors_by_id, random_seed(api->clock));
	table_init(&api->issued_by_lease, random_seed(api->clock));
	table_init(&api->shared_by_id, random_seed(api->clock));
	table_init(&api->shared_by_slot, random_seed(api->clock));
	api->clock->random_bytes(api->clock, api->etag_key, sizeof(api->etag_key));
	api->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return api;
}

static int find_group(struct api *api, const char *name, struct dsec_error *err)
{
	struct group *group = name ? getgrnam(name) : NULL;

	if (name && !group)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "api.admin_group: there is no group \"%s\"", name);
	api->has_admin_group = group != NULL;
	api->admin_group = group ? group->gr_gid : 0;
	return 0;
}

static int open_listener(struct api *api, const char *address, struct dsec_error *err)
{
	const size_t prefix = strlen(CATALOG_UNIX_PREFIX);

	if (strncmp(address, CATALOG_UNIX_PREFIX, prefix) == 0)
		return listener_open_unix(api, address + prefix, err);
	return listener_open_tcp(api, address, err);
}

int api_start(struct api **ret, const struct api_options *options, struct dsec_error *err)
{
	struct api *api = api_new(options);
	int r = 0;

	if (api->epoll_fd < 0)
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "epoll: %s", strerror(errno));
	if (r == 0)
		r = find_group(api, api->catalog->api_admin_group, err);
	for (size_t i = 0; r == 0 && i < api->catalog->n_api_listen; i++)
		r = open_listener(api, api->catalog->api_listen[i], err);
	if (r == 0 && !options->later)
		r = api_serve(api, options->engine, err);
	if (r < 0)
		api_stop(api);
	else
		*ret = api;
	return r;
}

int api_listen_unix(struct api *api, const char *path, struct dsec_error *err)
{
	return listener_open_unix(api, path, err);
}

int api_serve(struct api *api, struct engine *engine, struct dsec_error *err)
{
	api->engine = engine;
	return api->state_folder ? tokens_open(&api->tokens, api->state_folder, api->clock, err)
				 : 0;
}

void api_reload(struct api *api, struct catalog *catalog)
{
	struct catalog *last = api->catalog;
	struct dsec_error ignored;

	api->catalog = catalog_ref(catalog);
	/* A group that was there when the file was checked. */
	find_group(api, catalog->api_admin_group, &ignored);
	catalog_unref(last);
	orders_reload(api);
	watch_reload(api);
}

void api_offer_reload(struct api *api, api_reload_function *reload, void *arg)
{
	api->reload = reload;
	api->reload_arg = arg;
}

void api_offer_files(struct api *api, const struct api_files *files)
{
	api->files = *files;
}

void api_lease(struct api *api, enum lease_event event, const struct lease *lease)
{
	if (event == LEASE_GONE)
		return; /* it ended before */
	if (event == LEASE_ENDED)
		order_lease_ended(api, lease);
	issued_lease(api, event, lease);
	watch_lease(api, event, lease);
}

int api_fd(const struct api *api)
{
	return api->epoll_fd;
}

int64_t api_deadline_at(const struct api *api)
{
	int64_t next_at = api->resumed ? api_now(api) : timers_next(&api->timers);

	list_each (at, &api->listeners) {
		MHD_UNSIGNED_LONG_LONG wait_ms;

		if (MHD_get_timeout(container_of(at, struct listener, link)->daemon, &wait_ms) ==
		    MHD_NO)
			continue;
		int64_t http_at = api_now(api) + (int64_t)wait_ms;
		if (http_at < next_at)
			next_at = http_at;
	}
	return next_at;
}

void api_dispatch(struct api *api)
{
	struct epoll_event event;

	timers_run(&api->timers, api_now(api));
	/* One at a time, since the next may be of something that this one ends. */
	for (int i = 0; i < EVENTS_MAX && epoll_wait(api->epoll_fd, &event, 1, 0) == 1; i++) {
		struct source *source = event.data.ptr;

		source->ready(source, event.events);
	}
	api->resumed = false;
	list_each (at, &api->listeners)
		MHD_run(container_of(at, struct listener, link)->daemon);
}

/* libmicrohttpd does not end while it waits for us. */
static void let_go(struct api *api)
{
	list_each (at, &api->clients) {
		struct client *client = container_of(at, struct client, link);

		if (!client->claimed)
			client_close(client);
		else if (client->call)
			exchange_gone(client->call);
	}
}

struct api *api_stop(struct api *api)
{
	if (!api)
		return NULL;
	let_go(api);
	list_each (at, &api->listeners)
		listener_close(container_of(at, struct listener, link));
	orders_free(api);
	watch_free(api);
	issued_free(api);
	visitors_free(api);
	tokens_close(api->tokens);
	table_finish(&api->visitors_by_id);
	table_finish(&api->issued_by_lease);
	timers_finish(&api->timers);
	catalog_unref(api->catalog);
	if (api->epoll_fd >= 0)
		close(api->epoll_fd);
	free(api->state_folder);
	free(api);
	return NULL;
}
