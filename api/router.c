#include <string.h>

#include "api/api_private.h"

/* What has to be so before the handler is called. */
enum need {
	NEED_NOTHING,
	NEED_CONFIG, /* project and config are named, and may be read; call->config is set */
	NEED_ADMIN,
};

/* A star stands for one segment of a path. */
static const struct route {
	const char *method, *path;
	enum need need;
	void (*handle)(struct call *call);
} routes[] = {
	{"GET", "/v3/configs/config/secrets/download", NEED_CONFIG, route_download},
	{"GET", "/v3/configs/config/secrets/names", NEED_CONFIG, route_names},
	{"GET", "/v3/configs/config/secrets", NEED_CONFIG, route_secrets},
	{"GET", "/v3/configs/config/secret", NEED_CONFIG, route_secret},
	{"POST", "/v3/configs/config/dynamic_secrets/dynamic_secret/leases", NEED_NOTHING,
	 route_issue},
	{"DELETE", "/v3/configs/config/dynamic_secrets/dynamic_secret/leases/lease", NEED_NOTHING,
	 route_revoke},
	{"GET", "/v3/configs/config/secrets/watch", NEED_CONFIG, route_watch},
	{"GET", "/v3/configs/config/ping", NEED_NOTHING, route_ping},
	{"GET", "/v3/me", NEED_NOTHING, route_me},
	{"GET", "/v3/dsec/leases", NEED_ADMIN, route_leases},
	{"DELETE", "/v3/dsec/leases/*", NEED_NOTHING, route_lease_revoke},
	{"POST", "/v3/dsec/leases/*/renew", NEED_NOTHING, route_lease_renew},
	{"GET", "/v3/dsec/credentials/*/*/*", NEED_NOTHING, route_credentials},
	{"GET", "/v3/dsec/tokens", NEED_ADMIN, route_tokens},
	{"POST", "/v3/dsec/tokens", NEED_ADMIN, route_token_create},
	{"POST", "/v3/dsec/tokens/*/hold", NEED_ADMIN, route_token_hold},
	{"DELETE", "/v3/dsec/tokens/*", NEED_ADMIN, route_token_revoke},
	{"POST", "/v3/dsec/reload", NEED_ADMIN, route_reload},
	{"GET", "/metrics", NEED_NOTHING, route_metrics},
};

/* Fills the call's segments. */
static bool matches(struct call *call, const char *route)
{
	const char *path = call->path;
	size_t n_segments = 0;

	while (*route && *path) {
		if (*route != '*') {
			if (*route++ != *path++)
				return false;
			continue;
		}
		size_t n = strcspn(path, "/");
		if (n == 0 || n >= CALL_SEGMENT_MAX)
			return false;
		memcpy(call->segments[n_segments], path, n);
		call->segments[n_segments++][n] = '\0';
		path += n;
		route++;
	}
	return *route == *path;
}

static const struct route *find_route(struct call *call)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strcmp(call->method, routes[i].method) == 0 && matches(call, routes[i].path))
			return &routes[i];
	return NULL;
}

static bool has_what_it_needs(struct call *call, enum need need)
{
	switch (need) {
	case NEED_NOTHING:
		return true;
	case NEED_CONFIG:
		return asker_find_config(call, call_parameter(call, "project"),
					 call_parameter(call, "config"));
	case NEED_ADMIN:
		return asker_need_admin(call);
	}
	return false;
}

void router_handle(struct call *call)
{
	const struct route *route;

	/* A name that some page has made point here says which page it was. */
	if (!listener_is_host(call->client->listener, call_header(call, MHD_HTTP_HEADER_HOST))) {
		answer_error(call, MHD_HTTP_MISDIRECTED_REQUEST,
			     "the Host header names another server: this one is localhost or its "
			     "address, with its port");
		return;
	}
	if (!asker_identify(call))
		return;
	route = find_route(call);
	if (!route)
		answer_error(call, MHD_HTTP_NOT_FOUND,
			     "there is nothing at this path for this method");
	else if (has_what_it_needs(call, route->need))
		route->handle(call);
}
