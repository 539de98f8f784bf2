/*
 * world.h: a time that only moves when it is told to, chance that a seed repeats, and what is to
 * happen later.
 */
#ifndef DSEC_TESTS_SIM_WORLD_H
#define DSEC_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/clock.h"
#include "lease/timer.h"

struct world {
	struct clock clock; /* what the engine sees */
	int64_t now_at;
	int64_t local_ms; /* the local calendar, less the boottime */
	int64_t cloud_ms; /* AWS's calendar, less the boottime */
	uint64_t chance;
	struct timers timers;
};

void world_init(struct world *world, uint64_t seed);
void world_finish(struct world *world);

int64_t world_local_ms(const struct world *world);
int64_t world_cloud_ms(const struct world *world);

uint64_t world_random(struct world *world);
int64_t world_between(struct world *world, int64_t low, int64_t high); /* both included */
bool world_chance(struct world *world, double probability);

void world_arm(struct world *world, struct timer *timer, int64_t delay_ms);
void world_disarm(struct world *world, struct timer *timer);

/* Moves to the next thing that happens and lets it happen, unless it is later than until_at: then
 * moves there. True when something happened. */
bool world_step(struct world *world, int64_t until_at);

#endif
