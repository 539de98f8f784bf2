/*
 * bridge_start.c: the file thread is started, told to begin or to hand over, and stopped.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/bridge_private.h"
#include "lease/alloc.h"

/* How long INIT may take to come: it is there when the mount is. */
#define INIT_TIMEOUT_MS 10000

static int start_thread(struct fs *fs, struct dsec_error *err)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&fs->thread, NULL, session_run, &fs->files);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot start a thread: %s",
				      strerror(error));
	fs->running = true;
	return 0;
}

static int wait_started(struct fs *fs, struct dsec_error *err)
{
	int64_t deadline = fs->clock->boottime_at(fs->clock) + INIT_TIMEOUT_MS;

	while (!fs->started) {
		int64_t left = deadline - fs->clock->boottime_at(fs->clock);
		struct pollfd fd = {.fd = fs->files.outbox.fd, .events = POLLIN};

		if (left <= 0)
			return dsec_error_set(err, DSEC_ERROR_TIMEOUT,
					      "the kernel does not begin to talk on /dev/fuse");
		if (poll(&fd, 1, (int)left) > 0)
			bridge_take_messages(fs);
	}
	if (fs->start_error)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "/dev/fuse: %s",
				      strerror(fs->start_error));
	return 0;
}

static void choose_first_open(struct fs *fs)
{
	struct shared *shared = fs->files.shared;
	struct message *message;

	if (fs->first_open == FS_FIRST_OPEN_PROBE)
		fs->first_open = (enum fs_first_open)atomic_load(&shared->first_open);
	if (fs->first_open == FS_FIRST_OPEN_PROBE)
		fs->first_open = probe_mount(fs->mountpoint);
	atomic_store(&shared->first_open, (uint32_t)fs->first_open);
	message = message_new(MESSAGE_CHOSEN, 0);
	message->first_open = fs->first_open;
	message_send(&fs->files.inbox, message);
}

static int take_shared(struct fs *fs, const struct fs_options *options, struct dsec_error *err)
{
	fs->files.shared = options->shared;
	if (options->shared)
		return 0;

	int r = shared_map_private(&fs->own_shared, err);
	fs->files.shared = fs->own_shared;
	return r;
}

/* Queues and session: what can fail. */
static int open_files(struct fs *fs, int fuse_fd, struct dsec_error *err)
{
	struct files *files = &fs->files;
	int r = queue_init(&files->inbox);

	if (r == 0)
		r = queue_init(&files->outbox);
	if (r == 0)
		r = watches_init(&fs->watches, files->outbox.fd);
	if (r < 0) {
		close(fuse_fd);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "no descriptors: %s", strerror(-r));
	}
	r = session_open(files, fuse_fd, err);
	return r < 0 ? r : session_watch(files, err);
}

static void free_queue(struct queue *queue)
{
	struct queue_item *item = queue->fd < 0 ? NULL : queue_take(queue);

	while (item) {
		struct queue_item *next = item->next;
		message_free(message_of(item));
		item = next;
	}
	queue_finish(queue);
}

static struct fs *fs_free(struct fs *fs)
{
	bridge_abandon_all(fs);
	bridge_free_early(fs);
	gives_finish(&fs->gives);
	if (fs->tree)
		files_finish(&fs->files);
	if (fs->files.announce_fd >= 0)
		close(fs->files.announce_fd);
	session_close(&fs->files);
	free_queue(&fs->files.inbox);
	free_queue(&fs->files.outbox);
	watches_finish(&fs->watches);
	tree_unref(fs->tree);
	table_finish(&fs->pending);
	shared_unmap(fs->own_shared);
	free(fs->mountpoint);
	free(fs->version);
	free(fs);
	return NULL;
}

int fs_start(struct fs **ret, const struct fs_options *options, struct dsec_error *err)
{
	struct fs *fs = alloc_zeroed(1, sizeof(*fs));

	fs->watches.fd = fs->watches.inotify_fd = fs->watches.timer_fd = -1;
	list_init(&fs->watches.all);
	list_init(&fs->watches.ended);
	fs->clock = options->clock;
	fs->first_open = options->first_open;
	fs->mountpoint = alloc_copy(options->mountpoint);
	fs->version = alloc_copy(options->version);
	fs->opened = options->opened;
	fs->opened_arg = options->opened_arg;
	fs->files.inbox.fd = fs->files.outbox.fd = -1;
	fs->files.epoll_fd = fs->files.announce_fd = -1;
	list_init(&fs->early);
	list_init(&fs->all_pending);
	gives_init(&fs->gives, &fs->files.inbox);
	table_init(&fs->pending, 0);

	int r = open_files(fs, options->fuse_fd, err);
	if (r == 0)
		r = take_shared(fs, options, err);
	if (r == 0)
		r = tree_new(&fs->tree, options->catalog, options->version,
			     options->clock->calendar_ms(options->clock), err);
	if (r == 0) {
		fs->files.announce_fd = announce_start(fs->files.fuse_fd);
		files_init(&fs->files, options, tree_ref(fs->tree));
		fs->resumed = fs->files.held;
		r = start_thread(fs, err);
	}
	if (r == 0)
		r = wait_started(fs, err);
	if (r < 0) {
		fs_stop(fs);
		return r;
	}
	if (!fs->resumed)
		choose_first_open(fs);
	*ret = fs;
	return 0;
}

void fs_resume(struct fs *fs)
{
	if (!fs->resumed)
		return;
	message_send(&fs->files.inbox, message_new(MESSAGE_RESUME, 0));
	choose_first_open(fs);
}

void fs_hand_over(struct fs *fs)
{
	message_send(&fs->files.inbox, message_new(MESSAGE_HAND_OVER, 0));
	pthread_join(fs->thread, NULL);
	fs->running = false;
	bridge_take_last_opened(fs);
}

struct fs *fs_stop(struct fs *fs)
{
	if (!fs)
		return NULL;
	if (fs->running) {
		message_send(&fs->files.inbox, message_new(MESSAGE_STOP, 0));
		pthread_join(fs->thread, NULL);
		bridge_take_last_opened(fs);
	}
	return fs_free(fs);
}
