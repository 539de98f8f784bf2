/*
 * timer.h: a heap of deadlines. A timer stands in what waits for it; arming, moving and disarming
 * cost the logarithm of how many there are.
 */
#ifndef DSEC_LEASE_TIMER_H
#define DSEC_LEASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	int64_t at; /* boottime */
	void (*fire)(struct timer *timer);
	size_t place; /* in the heap, from 1; 0: not armed */
};

struct timers {
	struct timer **heap; /* heap[0] is unused */
	size_t n, size;
};

void timers_init(struct timers *timers);
void timers_finish(struct timers *timers); /* the timers are their owners' */

/* Arms it, or moves it when it is armed; DSEC_NEVER disarms it. */
void timer_arm(struct timers *timers, struct timer *timer, int64_t at);
void timer_disarm(struct timers *timers, struct timer *timer);

/* Fires what is due, earliest first; each is disarmed before it fires, and may arm itself again or
 * free what it stands in. */
void timers_run(struct timers *timers, int64_t now_at);

int64_t timers_next(const struct timers *timers); /* DSEC_NEVER: none is armed */

#endif
