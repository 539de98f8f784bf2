#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/alloc.h"
#include "lease/bucket.h"
#include "lease/clock.h"
#include "lease/list.h"
#include "lease/table.h"
#include "lease/timer.h"

#define MANY 5000

struct item {
	struct table_node node;
	struct timer timer;
	struct list link;
	int key;
	bool is_in;
};

static struct timers timers;
static int64_t last_fired_at;
static size_t n_fired;

static void in_order(struct timer *timer)
{
	struct item *item = container_of(timer, struct item, timer);

	assert_true(timer->at >= last_fired_at);
	assert_true(item->is_in);
	item->is_in = false;
	last_fired_at = timer->at;
	n_fired++;
}

static void timers_fire_in_order_whatever_is_moved_or_disarmed(void **state)
{
	struct item *items = alloc_zeroed(MANY, sizeof(*items));
	size_t armed = 0;

	srandom(1);
	timers_init(&timers);
	last_fired_at = 0;
	n_fired = 0;
	for (size_t i = 0; i < MANY; i++) {
		items[i].timer.fire = in_order;
		items[i].is_in = true;
		timer_arm(&timers, &items[i].timer, random() % 1000);
	}
	for (size_t i = 0; i < MANY; i++)
		if (i % 3 == 0) {
			timer_arm(&timers, &items[i].timer, random() % 1000);
		} else if (i % 3 == 1) {
			timer_disarm(&timers, &items[i].timer);
			timer_disarm(&timers, &items[i].timer);
			items[i].is_in = false;
		}
	for (size_t i = 0; i < MANY; i++)
		armed += items[i].is_in;
	timers_run(&timers, 499);
	assert_true(n_fired < armed && timers_next(&timers) >= 500);
	timers_run(&timers, 1000);
	assert_int_equal(n_fired, armed);
	assert_int_equal(timers_next(&timers), DSEC_NEVER);
	timer_arm(&timers, &items[0].timer, DSEC_NEVER);
	assert_int_equal(timers_next(&timers), DSEC_NEVER);
	timers_finish(&timers);
	free(items);
}

static bool same(const struct table_node *node, const void *key)
{
	return container_of(node, struct item, node)->key == *(const int *)key;
}

static uint64_t hash_of(const struct table *table, int key)
{
	return table_hash(table, &key, sizeof(key));
}

static void table_finds_what_is_in_it_and_nothing_else(void **state)
{
	struct item *items = alloc_zeroed(MANY, sizeof(*items));
	struct table table;

	table_init(&table, 42);
	for (int i = 0; i < MANY; i++) {
		items[i].key = i;
		table_insert(&table, &items[i].node, hash_of(&table, i));
	}
	for (int i = 0; i < MANY; i += 2)
		table_remove(&table, &items[i].node);
	for (int i = 0; i < MANY; i++) {
		struct table_node *found = table_find(&table, hash_of(&table, i), same, &i);

		assert_ptr_equal(found, i % 2 ? &items[i].node : NULL);
	}
	assert_int_equal(table.n, MANY / 2);
	table_finish(&table);
	free(items);
}

static void a_list_may_be_left_while_it_is_walked(void **state)
{
	struct item items[4];
	struct list all, taken;
	int n = 0;

	list_init(&all);
	for (size_t i = 0; i < 4; i++)
		list_append(&all, &items[i].link);
	list_each (at, &all) {
		list_remove(at);
		n++;
	}
	assert_int_equal(n, 4);
	assert_true(list_empty(&all));
	list_take_all(&taken, &all);
	assert_true(list_empty(&taken));
	list_append(&all, &items[0].link);
	list_append(&all, &items[1].link);
	list_take_all(&taken, &all);
	assert_true(list_empty(&all));
	list_remove(&items[0].link);
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	assert_true(list_empty(&taken));
}

static void a_bucket_gives_no_more_than_its_rate(void **state)
{
	struct bucket bucket;
	int64_t now = 0;
	size_t taken = 0;

	bucket_init(&bucket, 3, 0.01, now);
	while (now < 60000) {
		if (bucket_take(&bucket, now)) {
			taken++;
			continue;
		}
		assert_true(bucket_next_at(&bucket, now) > now);
		now = bucket_next_at(&bucket, now);
	}
	assert_in_range(taken, 590, 603);
	bucket_drain(&bucket, now);
	assert_false(bucket_take(&bucket, now));
	now += 1000000;
	bucket_change(&bucket, 2, 1, now);
	assert_true(bucket_take(&bucket, now));
	assert_true(bucket_take(&bucket, now));
	assert_false(bucket_take(&bucket, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order_whatever_is_moved_or_disarmed),
		cmocka_unit_test(table_finds_what_is_in_it_and_nothing_else),
		cmocka_unit_test(a_list_may_be_left_while_it_is_walked),
		cmocka_unit_test(a_bucket_gives_no_more_than_its_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
