#include "tests/sim/world.h"

#include <string.h>

#include "lease/list.h"

#define START_BOOTTIME 1000000
#define START_CALENDAR INT64_C(1700000000000)

static struct world *of(const struct clock *clock)
{
	return container_of(clock, struct world, clock);
}

static int64_t boottime_at(const struct clock *clock)
{
	return of(clock)->now_at;
}

static int64_t calendar_ms(const struct clock *clock)
{
	return world_local_ms(of(clock));
}

static void random_bytes(const struct clock *clock, void *to, size_t n)
{
	unsigned char *at = to;

	while (n > 0) {
		uint64_t bits = world_random(of(clock));
		size_t part = n < sizeof(bits) ? n : sizeof(bits);

		memcpy(at, &bits, part);
		at += part;
		n -= part;
	}
}

void world_init(struct world *world, uint64_t seed)
{
	*world = (struct world){
		.clock = {boottime_at, calendar_ms, random_bytes},
		.now_at = START_BOOTTIME,
		.local_ms = START_CALENDAR,
		.cloud_ms = START_CALENDAR,
		.chance = seed,
	};
	timers_init(&world->timers);
}

void world_finish(struct world *world)
{
	timers_finish(&world->timers);
}

int64_t world_local_ms(const struct world *world)
{
	return world->now_at + world->local_ms;
}

int64_t world_cloud_ms(const struct world *world)
{
	return world->now_at + world->cloud_ms;
}

/* SplitMix64. */
uint64_t world_random(struct world *world)
{
	uint64_t z = (world->chance += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int64_t world_between(struct world *world, int64_t low, int64_t high)
{
	return low + (int64_t)(world_random(world) % (uint64_t)(high - low + 1));
}

bool world_chance(struct world *world, double probability)
{
	return (double)(world_random(world) >> 11) < probability * (double)(UINT64_C(1) << 53);
}

void world_arm(struct world *world, struct timer *timer, int64_t delay_ms)
{
	timer_arm(&world->timers, timer, world->now_at + delay_ms);
}

void world_disarm(struct world *world, struct timer *timer)
{
	timer_disarm(&world->timers, timer);
}

bool world_step(struct world *world, int64_t until_at)
{
	int64_t next = timers_next(&world->timers);

	if (next > until_at) {
		if (until_at > world->now_at)
			world->now_at = until_at;
		return false;
	}
	if (next > world->now_at)
		world->now_at = next;

	struct timer *timer = world->timers.heap[1];

	timer_disarm(&world->timers, timer);
	timer->fire(timer);
	return true;
}
