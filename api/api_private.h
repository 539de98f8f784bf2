/*
 * api_private.h: what the files of the API share.
 *
 *   api.c       life, the loop, what the engine tells
 *   listen.c    the sockets
 *   door.c      clients from accept(2) on: who they are, how many, until they have said something
 *   credential.c  a client that is systemd and wants a file's bytes
 *   exchange.c  one request on its way from libmicrohttpd to its handler, and the answer back
 *   router.c    which handler
 *   asker.c       who asks, and what he may; visitor.c how often
 *   order.c     leases that a request waits for
 *   issued.c    whose the leases are that were answered
 *   answer.c    answers and errors
 *   …           each other file is a group of routes
 *
 * A client is a connection; a call is its request: one each, since every answer closes.
 */
#ifndef DSEC_API_API_PRIVATE_H
#define DSEC_API_API_PRIVATE_H

#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "api/api.h"
#include "api/tokens.h"
#include "lease/bucket.h"
#include "lease/catalog.h"
#include "lease/download.h"
#include "lease/engine.h"
#include "lease/list.h"
#include "lease/table.h"
#include "lease/timer.h"

struct call;

struct api {
	const struct clock *clock;
	struct engine *engine;
	void (*remove)(void *arg, const char *socket_path);
	void *remove_arg;
	uint64_t (*take_holder)(void *arg);
	void *take_holder_arg;
	struct catalog *catalog;
	char *state_folder;    /* of the tokens; NULL: there are none */
	struct tokens *tokens; /* NULL: none are kept */
	void (*token_event)(void *arg, const struct api_token_event *event);
	void *token_event_arg;
	bool has_admin_group;
	gid_t admin_group;
	int epoll_fd;
	struct timers timers;
	struct list listeners, clients, orders, visitors, watchers;
	struct table shared_by_id, shared_by_slot; /* the leases that the files have (watch.c) */
	size_t n_visitors;
	struct table visitors_by_id, issued_by_lease;
	uint64_t last_holder;
	unsigned char etag_key[32];
	api_reload_function *reload; /* NULL: there is no way to */
	void *reload_arg;
	struct api_files files;
	bool resumed; /* libmicrohttpd has to be run for what was resumed; no descriptor says so */
	struct client *arriving; /* the one that libmicrohttpd is being given */
};

int64_t api_now(const struct api *api);

/* Something in the API's epoll. */
struct source {
	void (*ready)(struct source *source, uint32_t events);
};
int source_add(const struct api *api, struct source *source, int fd, uint32_t events);

/* Listening (listen.c). */

struct listener {
	struct api *api;
	struct list link;
	struct source arrivals, http;
	int fd;
	struct MHD_Daemon *daemon;
	bool local; /* a Unix socket */
	bool tls;
	bool loopback; /* TCP on this machine alone: the Host header is looked at */
	char host[CATALOG_HOST_MAX], port[8]; /* TCP: as configured */
	char *socket_path;                    /* its file, to be removed; NULL: none */
};

int listener_open_unix(struct api *api, const char *path, struct dsec_error *err);
int listener_open_tcp(struct api *api, const char *address, struct dsec_error *err);
/* Is this what a client that means us would send as Host? NULL: none was sent. */
bool listener_is_host(const struct listener *listener, const char *host);
struct listener *listener_close(struct listener *listener);

/* Clients (door.c). */

#define PEER_ID_MAX 80

struct peer {
	bool local; /* at the other end of a Unix socket: the ids are what the kernel says */
	struct lease_caller caller;
	char id[PEER_ID_MAX]; /* "uid:1000", "ip:127.0.0.1" */
};

enum client_state {
	CLIENT_SILENT,  /* has said nothing */
	CLIENT_ASKING,  /* has begun to; libmicrohttpd has it */
	CLIENT_WAITING, /* has asked, and is to be answered */
};

struct client {
	struct api *api;
	struct listener *listener;
	struct list link;
	struct source source; /* silent: its first bytes; waiting: its going away */
	int fd;
	struct peer peer;
	enum client_state state;
	struct timer deadline;
	struct call *call; /* NULL: none (yet) */
	char *unframed; /* what came behind a request that has no body (unframed.c); NULL: nothing
			 */
	size_t n_unframed;
	bool claimed;                  /* libmicrohttpd will say when it is over */
	struct credential *credential; /* it is systemd's; NULL: it is to speak HTTP */
};

void door_arrival(struct source *source, uint32_t events);
void door_notify(void *arg, struct MHD_Connection *connection, void **socket_context,
		 enum MHD_ConnectionNotificationCode code);
void client_has_asked(struct client *client);
/* From here on client_gone may be called, once. */
void client_watch(struct client *client);
void client_unwatch(struct client *client);
void client_may_stay(struct client *client); /* however long its answer takes */
bool client_is_gone(const struct client *client);
struct client *client_close(struct client *client); /* one that libmicrohttpd does not have */

enum unframed {
	UNFRAMED_NO,   /* it is no such request, or all of it is there */
	UNFRAMED_HEAD, /* it may become one */
	UNFRAMED_BODY, /* it is one, and its body has not come yet */
};

/* Looks at what a client has said so far; `last`: nothing more is waited for. */
enum unframed unframed_look(struct client *client, bool last);

/* systemd (credential.c). */

/* Is this the address of one that wants a credential? Then the client, which has said nothing, is
 * served so, to its end. */
bool credential_begin(struct client *client, const struct sockaddr_storage *address,
		      socklen_t size);
struct credential *credential_free(struct credential *credential); /* NULL-safe; returns NULL */

/* Who asks (asker.c). */

struct asker {
	char id[PEER_ID_MAX]; /* "uid:1000", "token:…" */
	struct lease_caller caller;
	bool admin;
	uint64_t token; /* its number; 0: none, it is whom the kernel names */
	char project[CATALOG_NAME_MAX + 1], config[CATALOG_NAME_MAX + 1]; /* the token's */
};

/* Is it root, or whoever the daemon runs as, on a Unix socket? */
bool asker_is_ours(const struct client *client);
/* Says who it is; false: the call is answered with what is wrong, or will be. */
bool asker_identify(struct call *call);
void asker_token_id(char to[PEER_ID_MAX], const char *token_id);
void asker_tell_lease(const struct call *call, enum api_token_what what, const char *lease_id);
void asker_tell(const struct call *call, enum api_token_what what, const char *token_id,
		const struct lease *lease);
/* Answers the call, and tells of it. The names may be NULL. */
void asker_refuse(struct call *call, unsigned status, const char *project, const char *config,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Sets call->config to one that this one may read; false when there is none, and then the call is
 * answered. The names may be NULL. */
bool asker_find_config(struct call *call, const char *project, const char *config);
bool asker_need_admin(struct call *call); /* likewise */
/* May this one end and renew the lease? False: the call is answered. */
bool asker_holds(struct call *call, const char *lease_id);
/* Whose its shared leases are, by their scope. */
lease_holder asker_holder(const struct call *call, enum lease_scope scope);

/* Requests (exchange.c). */

#define CALL_SEGMENTS_MAX  3
#define CALL_SEGMENT_MAX   (CATALOG_NAME_MAX + 1)
#define ANSWER_TYPE_JSON   "application/json"
#define ANSWER_TYPE_TEXT   "text/plain; charset=utf-8"
#define ANSWER_ETAG_MAX    72
#define ANSWER_RETRY_AFTER "1" /* seconds */

struct answer {
	unsigned status; /* 0: there is none yet */
	struct download body;
	const char *type;
	char etag[ANSWER_ETAG_MAX]; /* "": none */
	bool retry;                 /* with Retry-After */
	bool challenge;             /* with WWW-Authenticate */
};

/* Gives a handler's leases: one for each bit that it asked for, in their order; or an error. */
typedef void order_ready(struct call *call, const struct lease *const *leases, size_t n,
			 const struct dsec_error *err);

struct call {
	struct api *api;
	struct client *client;
	struct MHD_Connection *connection;
	const char *method, *path;                          /* libmicrohttpd's */
	char segments[CALL_SEGMENTS_MAX][CALL_SEGMENT_MAX]; /* what stands for the route's stars */
	char *body;                                         /* terminated; NULL: none */
	size_t n, size;
	bool too_long;
	bool handled;   /* the handler has been called */
	bool suspended; /* libmicrohttpd waits for us */
	bool gone;      /* nobody waits for the answer */

	struct asker asker;
	struct catalog *catalog;
	const struct config *config; /* of the catalog; for routes that are about one */

	struct answer answer;
	struct timer delay;  /* a refusal that is held back */
	struct order *order; /* what it waits for; NULL: nothing */
	order_ready *ready;
	/* What it was given for itself alone: its own when the answer was written, else revoked. */
	const struct lease **handed;
	size_t n_handed;
	struct watcher *watcher; /* its answer is a stream of events; NULL: it is not */
	void *detail;            /* the handler's, for free() */
};

enum MHD_Result exchange_handle(void *arg, struct MHD_Connection *connection, const char *url,
				const char *method, const char *version, const char *data,
				size_t *data_size, void **request_arg);
void exchange_completed(void *arg, struct MHD_Connection *connection, void **request_arg,
			enum MHD_RequestTerminationCode code);
void exchange_suspend(struct call *call);
void exchange_resume(struct call *call); /* there is something to be sent; for any call */
void exchange_gone(struct call *call);   /* its client is gone */

/* A parameter of the query, or NULL. */
const char *call_parameter(const struct call *call, const char *name);
const char *call_header(const struct call *call, const char *name);
/* A parameter that is true or false; not given: `otherwise`. False when it is neither, and then
 * the call is answered. */
bool call_flag(struct call *call, const char *name, bool otherwise, bool *ret);
/* The body as a JSON object, or NULL, and then the call is answered. */
json_t *call_body(struct call *call, const char *example);

/* The handler for the call's method and path; answers the call when there is none. */
void router_handle(struct call *call);

/* What a request wants of its config (wish.c). */

struct wish;

/* Answers with leases by the index of their dynamic secrets; NULL: the wish takes none. */
typedef void wish_granted(struct call *call, const struct wish *wish,
			  const struct lease *const *leases);

struct wish {
	struct download_choice choice; /* its texts are libmicrohttpd's */
	uint64_t secrets;              /* the leases that it takes; bit i is config->dynamics[i] */
	int64_t ttl_ms;                /* 0: the secret's own */
	wish_granted *granted;         /* of wish_grant */
};

/* As the call's parameters say; it is the call's detail. NULL: they say nothing that could be, and
 * the call is answered. */
struct wish *wish_read(struct call *call);
bool wish_ttl(long long seconds, int64_t *ret_ms); /* false: no lease can be so short, or long */

/* The same, and the leases that it takes. What cannot be had is answered. */
void wish_grant(struct call *call, wish_granted *granted);

/* Answers (answer.c). Each call is answered once. */

/* Takes the body, which may be empty. */
void answer_body(struct call *call, unsigned status, const char *type, struct download *body);
void answer_json(struct call *call, unsigned status, json_t *json);                 /* takes json */
void answer_text(struct call *call, unsigned status, const char *type, char *text); /* for free() */
void answer_success(struct call *call); /* {"success":true} */
void answer_error(struct call *call, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void answer_failure(struct call *call, const struct dsec_error *err); /* the engine's */
/* A lease that could not be had: 502, or 400 for what was asked wrongly. */
void answer_lease_failure(struct call *call, const struct dsec_error *err);
void answer_stream(struct call *call); /* 200, and what its watcher has to tell */
/* Names what the body is: the same name for the same bytes, until the daemon ends. */
void answer_name(const struct api *api, const struct download *body, char to[ANSWER_ETAG_MAX]);
void answer_later(struct call *call, const char *why); /* the status that makes it try again */

/* Visitors (visitor.c): how often somebody may do something. Of those that have not been here for
 * longest nothing is known any more. */

struct visitor {
	struct table_node by_id;
	struct list link;
	char id[PEER_ID_MAX];
	struct bucket leases, told; /* told: its refusals */
	unsigned n_refused;         /* in a row */
	int64_t refused_at;
};

struct visitor *visitor_get(struct api *api, const char *id);
void visitors_free(struct api *api);

/* Leases that a call waits for (order.c). Each answers the call if it has to wait for too long. */

/* Leases of its own, or those that were made for such a call before and not collected. */
void order_own(struct call *call, uint64_t secrets, int64_t ttl_ms, order_ready *ready);
/* Leases as the files have them. */
void order_shared(struct call *call, uint64_t secrets, order_ready *ready);
void order_leave(struct call *call); /* nobody waits for them any more */
void order_lease_ended(struct api *api, const struct lease *lease);

/* What is parked was asked for by its place in the old configuration. */
void orders_reload(struct api *api);
void orders_free(struct api *api);

/* Whose leases are (issued.c). */

void issued_add(struct api *api, const struct lease *lease, const char *who);
void issued_lease(struct api *api, enum lease_event event, const struct lease *lease);
/* Until when the newest lease that this one has of the config is to be used; DSEC_NEVER: none. */
int64_t issued_newest_until(const struct api *api, const char *who, const struct config *config);
bool issued_to(const struct api *api, const char *lease_id, const char *who);
void issued_free(struct api *api);

/* Who hears that secrets are others (watch.c). */

struct MHD_Response *watch_response(struct call *call);
void watch_end(struct call *call);
void watch_issued(struct api *api,
		  const char *who); /* it has another lease, or another end of one */
void watch_issued_ended(struct api *api, const char *who, const struct lease *lease);
void watch_lease(struct api *api, enum lease_event event, const struct lease *lease);
void watch_reload(struct api *api);
void watch_free(struct api *api);

/* The routes. */

void route_download(struct call *call);
void route_secrets(struct call *call);
void route_secret(struct call *call);
void route_names(struct call *call);
void route_issue(struct call *call);
void route_revoke(struct call *call);
void route_leases(struct call *call);
void route_lease_revoke(struct call *call);
void route_lease_renew(struct call *call);
void route_tokens(struct call *call);
void route_token_create(struct call *call);
void route_token_hold(struct call *call);
void route_token_revoke(struct call *call);
void route_credentials(struct call *call);
void route_watch(struct call *call);
void route_reload(struct call *call);
void route_ping(struct call *call);
void route_me(struct call *call);
void route_metrics(struct call *call);

#endif
