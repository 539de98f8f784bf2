/*
 * loop.h: what the parts of an `struct aws` wait for: descriptors in one epoll set, and timers.
 */
#ifndef DSEC_AWS_LOOP_H
#define DSEC_AWS_LOOP_H

#include <stdint.h>

#include "lease/clock.h"
#include "lease/error.h"
#include "lease/timer.h"

struct loop {
	int epoll;
	const struct clock *clock;
	struct timers timers;
};

/* Stands in what waits for a descriptor; `ready` may free it. */
struct watch {
	void (*ready)(struct watch *watch, uint32_t events);
};

int loop_init(struct loop *loop, const struct clock *clock, struct dsec_error *err);
void loop_finish(struct loop *loop);

/* Waits for the epoll events on fd, in place of those it waited for before. 0 or a negative errno.
 */
int loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch);
void loop_unwatch(struct loop *loop, int fd);

/* Does what is ready and due, without waiting. */
void loop_dispatch(struct loop *loop);

int64_t loop_now(const struct loop *loop); /* boottime */

#endif
