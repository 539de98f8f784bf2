/*
 * server.h: the whole of the local IAM, but for sockets.
 *
 * Everything runs on one thread. A call that has to wait (latency, a hold) is kept in `pending` and
 * stepped again; nothing ever blocks.
 */
#ifndef DSEC_TESTS_IAM_SERVER_H
#define DSEC_TESTS_IAM_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "exchange.h"
#include "fault.h"
#include "record.h"
#include "store.h"

/* What tests may change while the server runs (control.c). */
struct settings {
	size_t users_quota;
	unsigned page_size; /* entries a page at most, whatever MaxItems says; 0: no such bound */
	bool empty_pages;   /* every other page is empty, and yet IsTruncated */
	bool sts;           /* off: 405 MethodNotAllowed, like Ceph */
	bool account_summary;
	/* How far the server's clock is off, for each of its uses. */
	int64_t date_off_ms, signature_off_ms, policy_off_ms;
};

struct server {
	const char *region; /* of STS and EC2; borrowed */
	const char *iam_region;
	struct store *store;
	struct settings settings;
	struct faults faults;
	struct record record;
	TAILQ_HEAD(, exchange) pending;
	uint64_t n_calls; /* which of the endpoints a call reaches */
	unsigned n_held;
	bool woken; /* a suspended exchange is done: http_run() has work that no descriptor shows */
};

/* Partition and IAM's own region follow from the region. */
void server_init(struct server *server, const char *region, const char *account);
void server_finish(struct server *server);
void server_default_settings(struct server *server);

/* Adds the account's first users, from a JSON array of
 * {"name", "path"?, "access_key_id", "secret_access_key", "session_token"?, "policy"?}; without a
 * policy a user may do everything. NULL, or what is wrong with it, for free(). */
char *server_add_principals(struct server *server, const json_t *principals);

/* A request has been read: answers it, now or later. */
void server_begin(struct server *server, struct exchange *exchange);
/* The client is gone, or has been answered. */
void server_forget(struct server *server, struct exchange *exchange);
/* Steps all that waits; returns when the next wants to be stepped (CLOCK_MONOTONIC milliseconds).
 */
int64_t server_tick(struct server *server);

/* flow.c: an API call; control.c: the endpoints for tests, all below "/_". */
void call_begin(struct server *server, struct exchange *exchange);
void control_begin(struct server *server, struct exchange *exchange);

/* Lets held calls go on, or drops them (their connection is closed; what has not taken effect never
 * will). The patterns are of action and user name. */
void calls_release(struct server *server, const char *action, const char *user, bool drop);
/* The held calls: [{"action", "user", "after"}], a new reference. */
json_t *calls_held(const struct server *server);

/* state.c: what the account holds, a new reference. */
json_t *server_state(const struct server *server);

int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void);

#endif
