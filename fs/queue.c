#include "fs/queue.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int queue_init(struct queue *queue)
{
	atomic_init(&queue->newest, NULL);
	queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return queue->fd < 0 ? -errno : 0;
}

void queue_finish(struct queue *queue)
{
	if (queue->fd >= 0)
		close(queue->fd);
	queue->fd = -1;
}

static void wake(struct queue *queue)
{
	uint64_t one = 1;

	/* It can fail only with EAGAIN, when the count is full: then fd is readable as it is. */
	while (write(queue->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void queue_push(struct queue *queue, struct queue_item *item)
{
	struct queue_item *before = atomic_load_explicit(&queue->newest, memory_order_relaxed);

	do
		item->next = before;
	while (!atomic_compare_exchange_weak_explicit(&queue->newest, &before, item,
						      memory_order_release, memory_order_relaxed));
	if (!before)
		wake(queue); /* the others find it readable: queue_take empties it whole */
}

struct queue_item *queue_take(struct queue *queue)
{
	uint64_t count;

	/* fd first: what is pushed after this makes it readable again. */
	while (read(queue->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;

	struct queue_item *newest =
		atomic_exchange_explicit(&queue->newest, NULL, memory_order_acquire);
	struct queue_item *oldest = NULL;
	while (newest) {
		struct queue_item *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}
