#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lease/alloc.h"
#include "lease/limiter.h"
#include "tests/sim/cloud.h"
#include "tests/sim/world.h"

#define CALLS_MAX 6000

struct bench {
	struct world world;
	struct cloud cloud;
	struct timers timers;
	struct limiter limiter;
	struct cloud_fate fate;
	unsigned n_fated; /* so many calls meet it */
	size_t n_done;
	size_t n_flying, most_flying;
};

struct errand {
	struct limiter_call call;
	struct bench *bench;
	int number;
	bool retries;
	int64_t sent_at, done_at;
	size_t order;
};

static struct cloud_fate fate(void *arg, const struct provider_call *call)
{
	struct bench *bench = arg;

	bench->n_flying++;
	if (bench->n_flying > bench->most_flying)
		bench->most_flying = bench->n_flying;
	if (bench->n_fated == 0)
		return (struct cloud_fate){.latency_ms = 20};
	bench->n_fated--;
	return bench->fate;
}

static struct bench *bench_new(double rate)
{
	struct bench *bench = alloc_zeroed(1, sizeof(*bench));

	world_init(&bench->world, 1);
	cloud_init(&bench->cloud, &bench->world, "1");
	bench->cloud.fate = fate;
	bench->cloud.arg = bench;
	timers_init(&bench->timers);
	limiter_init(&bench->limiter, &bench->world.clock, &bench->timers, &bench->cloud.provider,
		     rate);
	return bench;
}

static void bench_free(struct bench *bench)
{
	limiter_finish(&bench->limiter);
	timers_finish(&bench->timers);
	cloud_finish(&bench->cloud);
	world_finish(&bench->world);
	free(bench);
}

static void run(struct bench *bench, int64_t ms)
{
	int64_t until_at = bench->world.now_at + ms;
	bool went_on = true;

	while (went_on || bench->world.now_at < until_at) {
		timers_run(&bench->timers, bench->world.now_at);

		int64_t next = timers_next(&bench->timers);

		went_on = world_step(&bench->world, next < until_at ? next : until_at);
	}
	timers_run(&bench->timers, bench->world.now_at);
}

static void fill(struct limiter_call *call, struct provider_call *to)
{
	struct errand *errand = container_of(call, struct errand, call);

	errand->sent_at = errand->bench->world.now_at;
	to->op = PROVIDER_SUMMARY;
}

static void done(struct limiter_call *call, const struct provider_answer *answer,
		 const struct dsec_error *err)
{
	struct errand *errand = container_of(call, struct errand, call);

	errand->bench->n_flying--;
	if (err && errand->retries) {
		limiter_retry(call, 100, 1000);
		return;
	}
	errand->done_at = errand->bench->world.now_at;
	errand->order = errand->bench->n_done++;
}

static void submit(struct bench *bench, struct errand *errand, enum limiter_class class)
{
	*errand = (struct errand){
		.bench = bench, .retries = true, .call = {.fill = fill, .done = done}};
	limiter_submit(&bench->limiter, &errand->call, class);
}

static void rate_is_never_exceeded(void **state)
{
	struct bench *bench = bench_new(10);
	struct errand errands[100];

	for (size_t i = 0; i < 100; i++)
		submit(bench, &errands[i], LIMITER_REST);
	run(bench, 1000);
	assert_in_range(bench->cloud.n_calls[PROVIDER_SUMMARY], 15, 20); /* a burst, then 10/s */
	run(bench, 4000);
	assert_in_range(bench->cloud.n_calls[PROVIDER_SUMMARY], 55, 60);
	run(bench, 6000);
	assert_int_equal(bench->n_done, 100);
	bench_free(bench);
}

static void keys_go_before_leases_before_the_rest(void **state)
{
	struct bench *bench = bench_new(1);
	struct errand first, rest, lease, key;

	submit(bench, &first, LIMITER_REST);
	submit(bench, &rest, LIMITER_REST);
	submit(bench, &lease, LIMITER_LEASES);
	submit(bench, &key, LIMITER_KEYS);
	run(bench, 10000);
	assert_int_equal(first.order, 0);
	assert_int_equal(key.order, 1);
	assert_int_equal(lease.order, 2);
	assert_int_equal(rest.order, 3);
	bench_free(bench);
}

static void what_somebody_waits_for_by_now_goes_before_the_rest(void **state)
{
	struct bench *bench = bench_new(1);
	struct errand first, rest, hurried, lease;

	submit(bench, &first, LIMITER_REST);
	submit(bench, &rest, LIMITER_REST);
	submit(bench, &hurried, LIMITER_REST);
	limiter_hurry(&hurried.call, LIMITER_LEASES);
	limiter_hurry(&hurried.call, LIMITER_REST); /* never back */
	submit(bench, &lease, LIMITER_LEASES);
	run(bench, 10000);
	assert_int_equal(hurried.order, 1);
	assert_int_equal(lease.order, 2);
	assert_int_equal(rest.order, 3);
	bench_free(bench);
}

static void a_flood_of_leases_does_not_keep_removals_out_for_ever(void **state)
{
	struct bench *bench = bench_new(10);
	struct errand *flood = alloc_zeroed(1000, sizeof(*flood)), removal;

	for (size_t i = 0; i < 1000; i++)
		submit(bench, &flood[i], LIMITER_LEASES);
	submit(bench, &removal, LIMITER_REST);
	run(bench, 12000);
	assert_true(removal.done_at != 0);
	run(bench, 200000);
	free(flood);
	bench_free(bench);
}

static void verification_takes_no_token(void **state)
{
	struct bench *bench = bench_new(1);
	struct errand verify[20], call;

	for (size_t i = 0; i < 20; i++)
		submit(bench, &verify[i], LIMITER_FREE);
	submit(bench, &call, LIMITER_LEASES);
	run(bench, 100);
	assert_int_equal(bench->n_done, 21);
	bench_free(bench);
}

static void throttling_slows_down_and_success_speeds_up_again(void **state)
{
	struct bench *bench = bench_new(16);
	struct errand errands[200];

	bench->n_fated = 3;
	bench->fate =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_THROTTLED};
	submit(bench, &errands[0], LIMITER_REST);
	submit(bench, &errands[1], LIMITER_REST);
	submit(bench, &errands[2], LIMITER_REST);
	run(bench, 25);
	assert_float_equal(bench->limiter.rate, 8, 0.001); /* one burst, one halving */
	run(bench, 5000);
	for (size_t i = 3; i < 200; i++)
		submit(bench, &errands[i], LIMITER_REST);
	run(bench, 60000);
	assert_int_equal(bench->n_done, 200);
	assert_float_equal(bench->limiter.rate, 16, 0.001);
	bench_free(bench);
}

static void throttling_never_stops_all_calls(void **state)
{
	struct bench *bench = bench_new(10);
	struct errand errand;

	bench->n_fated = 50;
	bench->fate =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_THROTTLED};
	submit(bench, &errand, LIMITER_REST);
	run(bench, 600000);
	assert_int_equal(bench->n_done, 1);
	bench_free(bench);
}

static void retries_back_off_up_to_their_cap(void **state)
{
	struct bench *bench = bench_new(1000);
	struct errand errand;

	bench->n_fated = 1000000;
	bench->fate =
		(struct cloud_fate){.latency_ms = 2, .fails = true, .kind = DSEC_ERROR_UNREACHABLE};
	submit(bench, &errand, LIMITER_REST);
	run(bench, 600000);
	/* 500 ms on average at the cap of 1,000: no hammering, and no giving up. */
	assert_in_range(bench->cloud.n_calls[PROVIDER_SUMMARY], 1000, 1500);
	limiter_cancel(&errand.call);
	bench_free(bench);
}

static void calls_in_flight_are_bounded(void **state)
{
	struct bench *bench = bench_new(10000);
	struct errand *errands = alloc_zeroed(500, sizeof(*errands));

	for (size_t i = 0; i < 500; i++)
		submit(bench, &errands[i], i % 2 ? LIMITER_FREE : LIMITER_KEYS);
	run(bench, 5000);
	assert_int_equal(bench->n_done, 500);
	assert_int_equal(bench->most_flying, LIMITER_IN_FLIGHT_MAX);
	free(errands);
	bench_free(bench);
}

static void a_cancelled_call_is_never_answered(void **state)
{
	struct bench *bench = bench_new(1);
	struct errand sent, queued, delayed = {.call = {.fill = fill, .done = done}};

	delayed.bench = bench;
	submit(bench, &sent, LIMITER_REST);
	submit(bench, &queued, LIMITER_REST);
	limiter_submit_after(&bench->limiter, &delayed.call, LIMITER_REST, 500);
	assert_true(limiter_cancel(&sent.call));
	assert_false(limiter_cancel(&queued.call));
	assert_false(limiter_cancel(&delayed.call));
	assert_false(limiter_cancel(&delayed.call));
	run(bench, 10000);
	assert_int_equal(bench->n_done, 0);
	assert_int_equal(bench->limiter.in_flight, 0);
	bench_free(bench);
}

static void the_calendar_is_never_ahead_of_awss(void **state)
{
	struct bench *bench = bench_new(100);

	bench->world.local_ms += 600000;
	assert_int_equal(server_clock_ms(&bench->limiter.calendar), world_local_ms(&bench->world));
	for (int i = 0; i < 200; i++) {
		struct errand errand;

		submit(bench, &errand, LIMITER_REST);
		run(bench, 137);
		assert_true(server_clock_ms(&bench->limiter.calendar) <=
			    world_cloud_ms(&bench->world));
		assert_true(server_clock_ms(&bench->limiter.calendar) >=
			    world_cloud_ms(&bench->world) - 1100);
	}
	/* Many answers, each cut to the second, bound it more tightly than one. */
	assert_true(server_clock_ms(&bench->limiter.calendar) >=
		    world_cloud_ms(&bench->world) - 50);
	bench_free(bench);
}

static void a_step_of_the_local_clock_moves_nothing(void **state)
{
	struct bench *bench = bench_new(100);
	struct errand errand;

	submit(bench, &errand, LIMITER_REST);
	run(bench, 100);

	int64_t before = server_clock_ms(&bench->limiter.calendar);

	bench->world.local_ms -= 86400000;
	assert_int_equal(server_clock_ms(&bench->limiter.calendar), before);
	bench_free(bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate_is_never_exceeded),
		cmocka_unit_test(keys_go_before_leases_before_the_rest),
		cmocka_unit_test(what_somebody_waits_for_by_now_goes_before_the_rest),
		cmocka_unit_test(a_flood_of_leases_does_not_keep_removals_out_for_ever),
		cmocka_unit_test(verification_takes_no_token),
		cmocka_unit_test(throttling_slows_down_and_success_speeds_up_again),
		cmocka_unit_test(throttling_never_stops_all_calls),
		cmocka_unit_test(retries_back_off_up_to_their_cap),
		cmocka_unit_test(calls_in_flight_are_bounded),
		cmocka_unit_test(a_cancelled_call_is_never_answered),
		cmocka_unit_test(the_calendar_is_never_ahead_of_awss),
		cmocka_unit_test(a_step_of_the_local_clock_moves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
