/*
 * growth.c: what a read, a lease and a timer cost the engine, by how many leases there are: with
 * the simulation's AWS and its clock, so that it is the engine alone that is measured.
 *
 *     growth N…     a line an N: nanoseconds of a cached acquire, a lease made, the end of a holder
 *                   of one lease, a timer moved
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lease/alloc.h"
#include "lease/engine.h"
#include "lease/timer.h"
#include "tests/sim/cloud.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define ARENA_SIZE (4u << 20)
#define TURNS      15
#define ROUNDS     2000
#define MORE       100 /* leases whose making is measured, a turn */

static const char json[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"rate\": 10000, \"verify\": false, "
	"\"credentials\": {\"source\": \"static\", \"access_key_id\": \"AKIA0000000000000000\", "
	"\"secret_access_key\": \"x\"}}}, \"projects\": {\"a\": {\"dev\": {\"dynamic_secrets\": "
	"{\"S\": {\"integration\": \"aws\", \"scope\": \"user\", \"ttl\": \"6h\", \"max_leases\": "
	"5000, \"max_rate\": \"1000000/s\", \"policy\": {\"Version\": \"2012-10-17\", "
	"\"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"ec2:Describe*\", \"Resource\": "
	"\"*\"}]}}}}}}}";

static struct world world;
static struct cloud cloud;
static struct disk disk;
static struct engine *engine;
static size_t n_answered;

static struct cloud_fate fate(void *arg, const struct provider_call *call)
{
	return (struct cloud_fate){.latency_ms = 1};
}

static struct provider *provider(void *arg, const struct integration *integration)
{
	return &cloud.provider;
}

static void answered(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	if (err) {
		fprintf(stderr, "growth: %s\n", err->message);
		exit(1);
	}
	n_answered++;
}

static void start(void)
{
	const struct engine_env env = {
		.clock = &world.clock,
		.journal = &disk.journal,
		.provider = provider,
		.daemon_id = "0123456789abcdef",
	};
	struct catalog_problems problems = {0};
	struct catalog_system system;
	struct catalog *catalog;
	struct dsec_error err;

	world_init(&world, 1);
	disk_init(&disk, &world);
	cloud_init(&cloud, &world, "123456789012");
	cloud.fate = fate;
	cloud.quota = SIZE_MAX;
	catalog_system_init(&system);
	if (secret_arena_init(ARENA_SIZE, &err) < 0 ||
	    catalog_parse(&catalog, json, strlen(json), "growth", true, &system, &problems) < 0 ||
	    engine_new(&engine, &env, catalog, &err) < 0)
		exit(1);
	engine_start(engine, false);
}

static lease_holder holder_of(size_t i)
{
	return lease_holder_of(HOLDER_CONTAINER, i + 1);
}

static void read_as(size_t i)
{
	const struct acquire asked = {
		.project = "a",
		.config = "dev",
		.secrets = 1,
		.holders = {[SCOPE_USER] = holder_of(i)},
	};

	engine_acquire(engine, &asked, answered, NULL);
}

static void lease(size_t i)
{
	size_t before = n_answered;

	read_as(i);
	while (n_answered == before)
		world_step(&world, engine_tick(engine));
}

static double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double least(double a, double b)
{
	return a == 0 || b < a ? b : a;
}

static double cached(size_t n)
{
	double best = 0;

	assert(n > 0);

	for (int turn = 0; turn < TURNS; turn++) {
		double begin = nanoseconds();

		for (size_t i = 0; i < ROUNDS; i++)
			read_as(i * 7919 % n);
		best = least(best, (nanoseconds() - begin) / ROUNDS);
		engine_tick(engine);
	}
	return best;
}

/* Of one lease, when there are as many as there are and none is made beside it. They end again. */
static double made(size_t n, double *ret_ended)
{
	double best = 0, best_end = 0;

	for (int turn = 0; turn < TURNS; turn++) {
		double begin = nanoseconds();

		for (size_t i = 0; i < MORE; i++)
			lease(n + i);
		best = least(best, (nanoseconds() - begin) / MORE);
		begin = nanoseconds();
		for (size_t i = 0; i < MORE; i++)
			engine_end_holder(engine, holder_of(n + i), "measured");
		best_end = least(best_end, (nanoseconds() - begin) / MORE);
		for (int64_t end = world.now_at + 120000; world.now_at < end;) {
			int64_t next = engine_tick(engine);

			world_step(&world, next < end ? next : end);
		}
	}
	*ret_ended = best_end;
	return best;
}

static void nothing(struct timer *timer)
{
}

static double moved(size_t n)
{
	struct timers timers;
	struct timer *all = alloc_zeroed(n, sizeof(*all));
	double best = 0;

	timers_init(&timers);
	for (size_t i = 0; i < n; i++) {
		all[i].fire = nothing;
		timer_arm(&timers, &all[i], (int64_t)(i * 7919 % n));
	}
	for (int turn = 0; turn < TURNS; turn++) {
		double begin = nanoseconds();

		for (size_t i = 0; i < ROUNDS; i++)
			timer_arm(&timers, &all[i * 104729 % n], (int64_t)(i * 15485863 % (4 * n)));
		best = least(best, (nanoseconds() - begin) / ROUNDS);
	}
	timers_finish(&timers);
	free(all);
	return best;
}

int main(int argc, char **argv)
{
	size_t have = 0;

	start();
	for (int i = 1; i < argc; i++) {
		size_t n = strtoul(argv[i], NULL, 10);

		for (; have < n; have++)
			lease(have);

		double ended, a = cached(n), b = made(n, &ended), c = moved(n);

		printf("%.1f %.1f %.1f %.1f\n", a, b, ended, c);
		fflush(stdout);
	}
	engine_free(engine);
	return 0;
}
