/*
 * ahead.h: connections are opened ahead of their use.
 *
 * A lease that somebody waits for begins with one call, CreateUser; then come two at once, and the
 * verification asks another server. After half a minute without use there is no connection left. So
 * while CreateUser is under way, and opens one for itself, the others are opened beside it, and the
 * reader waits for one handshake where it would have waited for two or three. Nothing is opened,
 * and nobody wakes, while no lease is being made.
 */
#ifndef DSEC_AWS_AHEAD_H
#define DSEC_AWS_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/http.h"
#include "lease/catalog.h"

/* What is opened ahead is given up after so long: its use has come by then. */
#define AHEAD_TIMEOUT_MS 10000

/* A connection that will have been idle for nearly HTTP_IDLE_MAX_S counts as none. */
#define AHEAD_MARGIN_MS 5000

enum ahead_server { AHEAD_IAM, AHEAD_STS, AHEAD_SERVERS };

struct ahead {
	struct http *http;
	const struct integration *integration;
	struct {
		struct exchange *opening; /* NULL: none */
		unsigned busy;            /* exchanges that are under way, but for that one */
		int64_t spare_at;         /* when there was last one connection more than CreateUser
					     takes; INT64_MIN: never */
	} servers[AHEAD_SERVERS];
};

void ahead_init(struct ahead *ahead, struct http *http, const struct integration *integration);
void ahead_finish(struct ahead *ahead);

/* A lease's first call begins. */
void ahead_open(struct ahead *ahead);

/* A call's exchange begins and ends. */
void ahead_began(struct ahead *ahead, enum ahead_server server);
void ahead_ended(struct ahead *ahead, enum ahead_server server, bool answered);

#endif
