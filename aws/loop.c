#include "aws/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* How many events one dispatch takes before its owner gets to look at other things. */
#define EVENTS_MAX 256

int loop_init(struct loop *loop, const struct clock *clock, struct dsec_error *err)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC), .clock = clock};
	if (loop->epoll < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "epoll_create1: %s", strerror(errno));
	timers_init(&loop->timers);
	return 0;
}

void loop_finish(struct loop *loop)
{
	timers_finish(&loop->timers);
	close(loop->epoll);
}

int loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ||
	    (errno == EEXIST && epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) == 0))
		return 0;
	return -errno;
}

void loop_unwatch(struct loop *loop, int fd)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* One event at a time: what one wakes may free the watch that the next would have named. */
void loop_dispatch(struct loop *loop)
{
	struct epoll_event event;

	for (int i = 0; i < EVENTS_MAX; i++) {
		if (epoll_wait(loop->epoll, &event, 1, 0) <= 0)
			break;
		struct watch *watch = event.data.ptr;

		watch->ready(watch, event.events);
	}
	timers_run(&loop->timers, loop_now(loop));
}

int64_t loop_now(const struct loop *loop)
{
	return loop->clock->boottime_at(loop->clock);
}
