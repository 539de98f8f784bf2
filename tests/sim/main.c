#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lease/secret.h"
#include "tests/sim/sim.h"

#define ARENA_SIZE (4u << 20)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print(uint64_t seed, const struct sim_result *result)
{
	printf("seed %llu: %llu events in %.1f simulated hours, %llu CreateUser, %llu crashes, "
	       "%llu "
	       "readers served and %llu refused\n",
	       (unsigned long long)seed, (unsigned long long)result->events,
	       (double)result->lived_ms / 3600000, (unsigned long long)result->users,
	       (unsigned long long)result->crashes, (unsigned long long)result->handed_out,
	       (unsigned long long)result->refused);
}

static void run_for(uint64_t seed, double seconds, bool verbose)
{
	double began = now(), spent = 0;
	uint64_t seeds = 0, events = 0;

	do {
		const struct sim_result result = sim_run(seed, verbose);

		if (seconds <= 0)
			print(seed, &result);
		events += result.events;
		seeds++;
		seed++;
		spent = now() - began;
	} while (spent < seconds);
	printf("%llu seeds up to %llu in %.1f s, %.0f events a second\n", (unsigned long long)seeds,
	       (unsigned long long)(seed - 1), spent, (double)events / spent);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"seconds", required_argument, NULL, 't'},
		{"verbose", no_argument, NULL, 'v'},
		{0},
	};
	uint64_t seed = 1;
	double seconds = 0;
	bool verbose = false;
	struct dsec_error err;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			fprintf(stderr, "usage: sim [--seed N] [--seconds N] [--verbose]\n");
			return 2;
		}
	if (secret_arena_init(ARENA_SIZE, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	run_for(seed, seconds, verbose);
	secret_arena_finish();
	return 0;
}
