/*
 * queue.h: an unbounded queue from any threads to one, without a lock, with a descriptor that is
 * readable when there is something in it.
 *
 * The items stand in what they carry. Whoever pushes never waits, also while the taker is stopped.
 */
#ifndef DSEC_FS_QUEUE_H
#define DSEC_FS_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct queue_item {
	struct queue_item *next;
};

struct queue {
	_Atomic(struct queue_item *) newest;
	int fd; /* an eventfd; readable: queue_take has something */
};

int queue_init(struct queue *queue);    /* 0 or a negative errno */
void queue_finish(struct queue *queue); /* closes fd; the items are their owners' */

void queue_push(struct queue *queue, struct queue_item *item);

/* Has queue_take something? Says so of whatever was pushed before, without a system call. */
static inline bool queue_has(const struct queue *queue)
{
	return atomic_load_explicit(&queue->newest, memory_order_acquire) != NULL;
}

/* All that was pushed, oldest first, and NULL at the end. */
struct queue_item *queue_take(struct queue *queue);

#endif
