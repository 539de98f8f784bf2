#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/queue.h"

#define PUSHERS 3
#define ITEMS   20000
#define WAIT_MS 10000

struct item {
	struct queue_item item;
	unsigned pusher, number;
};

static struct queue queue;
static struct item items[PUSHERS][ITEMS];

static void *push(void *argument)
{
	struct item *mine = argument;

	for (unsigned i = 0; i < ITEMS; i++)
		queue_push(&queue, &mine[i].item);
	return NULL;
}

static bool readable(int timeout_ms)
{
	struct pollfd fd = {.fd = queue.fd, .events = POLLIN};

	return poll(&fd, 1, timeout_ms) > 0;
}

static void nothing_is_lost_or_overtaken(void **state)
{
	pthread_t threads[PUSHERS];
	unsigned next[PUSHERS] = {0}, taken = 0;

	assert_int_equal(queue_init(&queue), 0);
	for (unsigned p = 0; p < PUSHERS; p++) {
		for (unsigned i = 0; i < ITEMS; i++)
			items[p][i] = (struct item){.pusher = p, .number = i};
		assert_int_equal(pthread_create(&threads[p], NULL, push, items[p]), 0);
	}
	while (taken < PUSHERS * ITEMS) {
		assert_true(readable(WAIT_MS)); /* a lost wake-up ends here */
		for (struct queue_item *at = queue_take(&queue); at; at = at->next, taken++) {
			const struct item *item = (const struct item *)at;
			assert_int_equal(item->number, next[item->pusher]++);
		}
	}
	for (unsigned p = 0; p < PUSHERS; p++)
		pthread_join(threads[p], NULL);
	assert_null(queue_take(&queue));
	assert_false(readable(0));
	queue_finish(&queue);
}

static void what_was_pushed_is_seen_without_waiting(void **state)
{
	assert_int_equal(queue_init(&queue), 0);
	assert_false(queue_has(&queue));
	assert_false(readable(0));
	queue_push(&queue, &items[0][0].item);
	assert_true(queue_has(&queue));
	assert_true(readable(0));
	assert_ptr_equal(queue_take(&queue), &items[0][0].item);
	assert_false(queue_has(&queue));
	queue_finish(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_or_overtaken),
		cmocka_unit_test(what_was_pushed_is_seen_without_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
