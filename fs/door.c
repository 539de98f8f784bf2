/*
 * door.c: the worker's side of the door.
 */
#include "fs/door.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/door_packet.h"
#include "lease/alloc.h"
#include "lease/clock.h"

struct door {
	int fd;
	door_order *order;
	void *arg;
	uint32_t last_id;
	bool closed;
	struct list early; /* orders that came while an answer was waited for */
};

struct early {
	struct list link;
	struct door_message message;
};

struct door *door_new(int fd, door_order *order, void *arg)
{
	struct door *door = alloc_zeroed(1, sizeof(*door));

	*door = (struct door){.fd = fd, .order = order, .arg = arg};
	list_init(&door->early);
	return door;
}

struct door *door_free(struct door *door)
{
	if (!door)
		return NULL;
	list_each (at, &door->early) {
		list_remove(at);
		free(container_of(at, struct early, link));
	}
	close(door->fd);
	free(door);
	return NULL;
}

int door_fd(const struct door *door)
{
	return door->fd;
}

bool door_waiting(const struct door *door)
{
	return !list_empty(&door->early);
}

bool door_closed(const struct door *door)
{
	return door->closed;
}

/* Orders. */

void door_dispatch(struct door *door)
{
	struct door_message message;
	int r, fd;

	list_each (at, &door->early) {
		struct early *early = container_of(at, struct early, link);

		list_remove(at);
		door->order(door->arg, &early->message);
		free(early);
	}
	while ((r = door_receive(door->fd, &message, &fd)) == 0) {
		if (fd >= 0)
			close(fd);               /* no order has one */
		if (message.kind != DOOR_ANSWER) /* of a question that nobody waits for any more */
			door->order(door->arg, &message);
	}
	if (r == -EPIPE)
		door->closed = true;
}

static void keep(struct door *door, const struct door_message *message)
{
	struct early *early = alloc_zeroed(1, sizeof(*early));

	early->message = *message;
	list_init(&early->link);
	list_append(&door->early, &early->link);
}

/* Questions. */

static int64_t now(void)
{
	return system_clock.boottime_at(&system_clock);
}

/* The answer of that id, in place of the question. */
static int wait_for_answer(struct door *door, uint32_t id, struct door_message *message,
			   int *ret_fd)
{
	int64_t deadline = now() + DOOR_TIMEOUT_MS;

	for (;;) {
		int64_t left = deadline - now();
		struct pollfd readable = {.fd = door->fd, .events = POLLIN};
		int fd, r;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&readable, 1, (int)left) <= 0)
			continue;
		r = door_receive(door->fd, message, &fd);
		if (r == -EAGAIN)
			continue;
		if (r < 0) {
			door->closed = r == -EPIPE;
			return r;
		}
		if (message->kind == DOOR_ANSWER && message->id == id) {
			*ret_fd = fd;
			return message->number;
		}
		if (fd >= 0)
			close(fd);
		if (message->kind != DOOR_ANSWER)
			keep(door, message);
	}
}

/* Asks, and has the answer in the question's place. *ret_fd is -1 where none came. */
static int ask(struct door *door, struct door_message *message, int *ret_fd)
{
	int r;

	*ret_fd = -1;
	message->id = ++door->last_id;
	r = door_send(door->fd, message, -1);
	if (r == 0)
		r = wait_for_answer(door, message->id, message, ret_fd);
	return r;
}

/* The same of an answer that is a descriptor. */
static int ask_for_descriptor(struct door *door, struct door_message *message, int *ret_fd)
{
	int fd, r = ask(door, message, &fd);

	if (r >= 0 && fd < 0)
		return -EBADMSG;
	if (r < 0 && fd >= 0)
		close(fd);
	if (r >= 0)
		*ret_fd = fd;
	return r;
}

static int ask_for_nothing(struct door *door, struct door_message *message)
{
	int fd, r = ask(door, message, &fd);

	if (fd >= 0)
		close(fd);
	return r;
}

int door_mount(struct door *door, int *ret_fuse_fd)
{
	struct door_message message = {.kind = DOOR_MOUNT};

	return ask_for_descriptor(door, &message, ret_fuse_fd);
}

int door_unmount(struct door *door)
{
	struct door_message message = {.kind = DOOR_UNMOUNT};

	return ask_for_nothing(door, &message);
}

int door_who(struct door *door, pid_t pid, struct door_who *ret, int *ret_pidfd)
{
	struct door_message message = {.kind = DOOR_WHO, .number = pid};
	int fd, r = ask_for_descriptor(door, &message, &fd);

	if (r < 0)
		return r;
	if (message.n != sizeof(*ret)) {
		close(fd);
		return -EBADMSG;
	}
	memcpy(ret, message.text, sizeof(*ret));
	ret->executable[sizeof(ret->executable) - 1] = '\0';
	ret->cgroup[sizeof(ret->cgroup) - 1] = '\0';
	*ret_pidfd = fd;
	return 0;
}

bool door_sender(const struct door_message *order, struct door_sender *ret)
{
	if (order->kind != DOOR_SIGNAL || order->n != sizeof(*ret))
		return false;
	memcpy(ret, order->text, sizeof(*ret));
	ret->who.executable[sizeof(ret->who.executable) - 1] = '\0';
	ret->who.cgroup[sizeof(ret->who.cgroup) - 1] = '\0';
	return true;
}

static int set_text(struct door_message *message, const char *text)
{
	size_t n = strlen(text) + 1;

	if (n > sizeof(message->text))
		return -ENAMETOOLONG;
	memcpy(message->text, text, n);
	message->n = (uint32_t)n;
	return 0;
}

int door_open(struct door *door, const char *path, enum door_open how, int *ret_fd)
{
	struct door_message message = {.kind = DOOR_OPEN, .number = (int)how};
	int r = set_text(&message, path);

	return r < 0 ? r : ask_for_descriptor(door, &message, ret_fd);
}

int door_run(struct door *door, const char *command, int *ret_output_fd)
{
	struct door_message message = {.kind = DOOR_RUN};
	int r = set_text(&message, command);

	return r < 0 ? r : ask_for_descriptor(door, &message, ret_output_fd);
}

int door_remove(struct door *door, const char *socket_path)
{
	struct door_message message = {.kind = DOOR_REMOVE};
	int r = set_text(&message, socket_path);

	return r < 0 ? r : ask_for_nothing(door, &message);
}

int door_kill(struct door *door, int run)
{
	struct door_message message = {.kind = DOOR_KILL, .number = run};

	return ask_for_nothing(door, &message);
}

int door_nudge(struct door *door, pid_t pid, uint64_t start_time, int number)
{
	struct door_message message = {.kind = DOOR_NUDGE, .number = pid, .value = number};
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, start_time);
	int r = set_text(&message, text);
	return r < 0 ? r : ask_for_nothing(door, &message);
}

void door_ready(struct door *door)
{
	const struct door_message message = {.kind = DOOR_READY};

	door_send(door->fd, &message, -1);
}

void door_tell(struct door *door, const char *text)
{
	struct door_message message = {.kind = DOOR_TELL};

	if (set_text(&message, text) == 0)
		door_send(door->fd, &message, -1);
}
