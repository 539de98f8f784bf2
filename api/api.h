/*
 * api.h: the daemon's HTTP API on a Unix socket, by which the command and other programs of the
 * administrator talk to it.
 *
 * Served by libmicrohttpd on the engine's thread: the owner waits for api_fd() to become readable
 * or api_deadline_at() to come, and calls api_dispatch(). Who may call is decided by the socket's
 * mode and by the peer's credentials (SO_PEERCRED): root, the daemon's own user, and members of the
 * admin group.
 *
 *   GET    /v3/dsec/leases              {"daemon":…,"leases":[…]}: what .dsec/leases.json holds
 *   DELETE /v3/dsec/leases/ID           revokes it
 *   POST   /v3/dsec/leases/ID/renew     {"ttl_sec":N}: its end moves to N seconds from now, at most
 * to its last possible end
 *
 * Every answer is JSON. Errors have Doppler's form: {"messages":["…"],"success":false}.
 */
#ifndef DSEC_API_API_H
#define DSEC_API_API_H

#include <stdint.h>

#include "lease/clock.h"
#include "lease/engine.h"
#include "lease/error.h"

#define API_BODY_SIZE_MAX        65536u /* a longer request is refused with 413 */
#define API_CONNECTIONS_MAX      64u    /* one more is refused */
#define API_CONNECTION_TIMEOUT_S 10u    /* a connection that is silent for so long is closed */

struct api;

struct api_options {
	const char *socket_path;
	const char *admin_group; /* NULL: root and the daemon's user alone */
	const struct clock *clock;
	struct engine *engine; /* outlives the api */
};

/* Listens; a socket file that a dead daemon left behind is taken over, one that answers is not. */
int api_start(struct api **ret, const struct api_options *options, struct dsec_error *err);

int api_fd(const struct api *api);
int64_t api_deadline_at(const struct api *api);
void api_dispatch(struct api *api);

/* Closes all connections and removes the socket file. NULL-safe. */
struct api *api_stop(struct api *api);

#endif
