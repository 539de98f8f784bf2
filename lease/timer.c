#include "lease/timer.h"

#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/clock.h"

#define TIMERS_SIZE_MIN 64

void timers_init(struct timers *timers)
{
	*timers = (struct timers){
		.heap = alloc_zeroed(TIMERS_SIZE_MIN, sizeof(struct timer *)),
		.size = TIMERS_SIZE_MIN,
	};
}

void timers_finish(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){0};
}

static void put(struct timers *timers, size_t place, struct timer *timer)
{
	timers->heap[place] = timer;
	timer->place = place;
}

static void sift_up(struct timers *timers, size_t place, struct timer *timer)
{
	for (; place > 1 && timers->heap[place / 2]->at > timer->at; place /= 2)
		put(timers, place, timers->heap[place / 2]);
	put(timers, place, timer);
}

static void sift_down(struct timers *timers, size_t place, struct timer *timer)
{
	for (;;) {
		size_t child = 2 * place;

		if (child > timers->n)
			break;
		if (child < timers->n && timers->heap[child + 1]->at < timers->heap[child]->at)
			child++;
		if (timers->heap[child]->at >= timer->at)
			break;
		put(timers, place, timers->heap[child]);
		place = child;
	}
	put(timers, place, timer);
}

void timer_disarm(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;

	if (place == 0)
		return;

	struct timer *last = timers->heap[timers->n--];

	timer->place = 0;
	if (last == timer)
		return;
	if (place > 1 && timers->heap[place / 2]->at > last->at)
		sift_up(timers, place, last);
	else
		sift_down(timers, place, last);
}

void timer_arm(struct timers *timers, struct timer *timer, int64_t at)
{
	timer_disarm(timers, timer);
	timer->at = at;
	if (at == DSEC_NEVER)
		return;
	if (++timers->n >= timers->size) {
		timers->size *= 2;
		timers->heap = alloc_resized(timers->heap, timers->size, sizeof(struct timer *));
	}
	sift_up(timers, timers->n, timer);
}

void timers_run(struct timers *timers, int64_t now_at)
{
	while (timers->n > 0 && timers->heap[1]->at <= now_at) {
		struct timer *timer = timers->heap[1];

		timer_disarm(timers, timer);
		timer->fire(timer);
	}
}

int64_t timers_next(const struct timers *timers)
{
	return timers->n > 0 ? timers->heap[1]->at : DSEC_NEVER;
}
