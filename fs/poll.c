/*
 * poll.c: poll(2) on an open file: it can always be read, and says so with POLLPRI and POLLERR too
 * when who reads the name again would read something else: its lease is due to be replaced or has
 * ended, or the configuration has changed.
 *
 * Who waits is known to the kernel by a number that comes with the request, and that stands in the
 * shared memory, so that the next process can wake who waits: it may have missed what they wait
 * for. A notification is sent by the engine's thread; it takes no lock, and says no more than
 * "look again".
 */
#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

#define READABLE (POLLIN | POLLRDNORM)
#define REPLACED (POLLPRI | POLLERR)

/* One that waits for a file: by its fh, the kernel's number of it. */
struct waiting {
	struct list link; /* in node->watchers */
	uint64_t fh, kh;
};

static void wake(struct files *files, uint64_t kh)
{
	struct message *message = message_new(MESSAGE_WAKE, 0);

	message->question = kh;
	message_send(&files->outbox, message);
}

static void waiting_free(struct waiting *waiting)
{
	list_remove(&waiting->link);
	free(waiting);
}

void poll_wake(struct files *files, struct node *node)
{
	list_each (at, &node->watchers) {
		struct waiting *waiting = container_of(at, struct waiting, link);

		wake(files, waiting->kh);
		handles_watch(&files->nodes.handles, waiting->fh, 0);
		waiting_free(waiting);
	}
}

void poll_released(struct node *node, uint64_t fh)
{
	list_each (at, &node->watchers) {
		struct waiting *waiting = container_of(at, struct waiting, link);

		if (waiting->fh == fh)
			waiting_free(waiting);
	}
}

static void wake_one(void *arg, uint64_t kh)
{
	wake(arg, kh);
}

void poll_wake_all(struct files *files)
{
	handles_watched(&files->nodes.handles, wake_one, files);
}

static void wait_for_it(struct files *files, struct node *node, uint64_t fh, uint64_t kh)
{
	struct waiting *waiting = alloc_zeroed(1, sizeof(*waiting));

	poll_released(node, fh);
	waiting->fh = fh;
	waiting->kh = kh;
	list_init(&waiting->link);
	list_append(&node->watchers, &waiting->link);
	handles_watch(&files->nodes.handles, fh, kh);
}

/* The kernel's number of the open file, which libfuse keeps to itself; 0: it does not wait. */
static uint64_t number_of(const struct files *files)
{
	struct fuse_poll_in in;

	if (files->request_n < sizeof(struct fuse_in_header) + sizeof(in))
		return 0;
	memcpy(&in, (const char *)files->request + sizeof(struct fuse_in_header), sizeof(in));
	return in.flags & FUSE_POLL_SCHEDULE_NOTIFY ? in.kh : 0;
}

void files_poll(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info,
		struct fuse_pollhandle *handle)
{
	struct files *files = files_of(req);
	struct node *node = node_of(req, id);
	uint64_t kh = number_of(files);

	if (handle)
		fuse_pollhandle_destroy(handle);
	if (!node)
		return;
	if (node->stale || node->replaced) {
		fuse_reply_poll(req, READABLE | REPLACED);
		return;
	}
	if (kh != 0 && node->opens > 0)
		wait_for_it(files, node, info->fh, kh);
	fuse_reply_poll(req, READABLE);
}

void poll_notify(int fuse_fd, uint64_t kh)
{
	struct fuse_notify_poll_wakeup_out out = {.kh = kh};
	struct fuse_out_header header = {
		.len = sizeof(header) + sizeof(out),
		.error = FUSE_NOTIFY_POLL,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {&out, sizeof(out)}};

	/* One that does not wait any more, or whose connection has ended, misses nothing. */
	(void)!writev(fuse_fd, parts, 2);
}
