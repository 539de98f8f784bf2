/*
 * server_clock.h: AWS's calendar, anchored to the boottime so that no step of the local clock moves
 * it, and learnt from authenticated answers alone.
 */
#ifndef DSEC_LEASE_SERVER_CLOCK_H
#define DSEC_LEASE_SERVER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/clock.h"

struct server_clock {
	const struct clock *clock;
	bool known;
	int64_t offset_ms; /* calendar - boottime */
};

void server_clock_init(struct server_clock *server, const struct clock *clock);

/* An answer that says server_ms (whole seconds, as HTTP's Date does), to a call sent at sent_at and
 * received now. True when this is the first. */
bool server_clock_learn(struct server_clock *server, int64_t sent_at, int64_t server_ms);

/* AWS's time now; the local calendar as long as nothing is learnt. Never ahead of AWS's but by what
 * the local clock is. */
int64_t server_clock_ms(const struct server_clock *server);

#endif
