/*
 * session.c: the file thread's loop, over libfuse's low-level interface.
 *
 * The descriptor comes mounted (from fs_mount, later from a keeper that holds it), so the session
 * is opened on /dev/fd/N. One thread and no splice: hand-over between threads costs more than
 * serving a small file, and the device cannot take pages of secret memory anyway.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

/* Requests in a row before messages are looked at again. */
#define REQUESTS_A_TURN 64

void files_init(struct files *files, const struct fs_options *options, struct tree *tree)
{
	uint64_t seed;

	options->clock->random_bytes(options->clock, &seed, sizeof(seed));
	files->clock = options->clock;
	files->pid = getpid();
	files->state_folder = alloc_copy(options->state_folder);
	files->config_file = alloc_copy(options->config_file);
	files->probing = options->first_open == FS_FIRST_OPEN_PROBE;
	/* What works everywhere, until the probe has said more. */
	files->first_open = FS_FIRST_OPEN_ESTALE;
	list_init(&files->questions);
	callers_init(&files->callers, options->clock, &files->outbox);
	nodes_init(&files->nodes, options->first_node_id, seed, tree, &files->outbox);
}

void files_finish(struct files *files)
{
	callers_finish(&files->callers);
	nodes_finish(&files->nodes);
	free(files->state_folder);
	free(files->config_file);
}

/* Asked for: folders that many may search at once, so that a kept LOOKUP delays nobody. Not asked
 * for, though libfuse would: that the kernel drops pages when a time of change moves (a node's time
 * moves when it is bound, its bytes do not), and splice. */
static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct files *files = userdata;

	conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
	conn->time_gran = 1000000;
	files->initialised = true;
}

static const struct fuse_lowlevel_ops serving = {
	.init = init,
	.lookup = files_lookup,
	.forget = files_forget,
	.forget_multi = files_forget_multi,
	.getattr = files_getattr,
	.open = files_open,
	.read = files_read,
	.release = files_release,
	.readdir = files_readdir,
	.statfs = files_statfs,
	.getxattr = files_getxattr,
	.listxattr = files_listxattr,
};

int session_open(struct files *files, int fuse_fd, struct dsec_error *err)
{
	char name[] = "dsec", path[32];
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_lowlevel_ops ops = serving;

	readonly_refuse(&ops);
	snprintf(path, sizeof(path), "/dev/fd/%d", fuse_fd);
	files->session = fuse_session_new(&args, &ops, sizeof(ops), files);
	fuse_opt_free_args(&args);
	if (!files->session || fuse_session_mount(files->session, path) < 0) {
		close(fuse_fd);
		session_close(files);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libfuse cannot open a session");
	}
	/* Read until there is nothing: one system call a request while they keep coming. */
	int flags = fcntl(fuse_fd, F_GETFL);
	fcntl(fuse_fd, F_SETFL, flags | O_NONBLOCK);
	return 0;
}

void session_close(struct files *files)
{
	if (files->session)
		fuse_session_destroy(files->session); /* closes the descriptor */
	files->session = NULL;
}

/* Messages. */

static void stop(struct files *files)
{
	list_each (at, &files->nodes.all) {
		struct node *node = container_of(at, struct node, in_nodes);

		if (!list_empty(&node->waiters))
			open_fail(files, node, ENOTCONN);
	}
	report_fail(files, ENOTCONN);
	callers_finish(&files->callers);
	files->stopping = true;
}

static void lease_changed(struct files *files, const struct message *message)
{
	const struct lease *lease = message->leases[0];

	if (message->event == LEASE_ACTIVE)
		leases_active(&files->nodes.leases, lease);
	else
		nodes_end_lease(&files->nodes, lease->id);
	if (message->event == LEASE_ENDED)
		callers_end_lease(&files->callers, lease->id);
}

void files_take(struct files *files, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_ACQUIRED:
		open_acquired(files, message);
		break;
	case MESSAGE_REPORT:
		report_answered(files, message);
		break;
	case MESSAGE_LEASE:
		lease_changed(files, message);
		break;
	case MESSAGE_DUE:
		if (!nodes_hold(&files->nodes, message->leases[0]->id,
				files->clock->boottime_at(files->clock)))
			break;
		message->kind = MESSAGE_HELD;
		message_send(&files->outbox, message);
		return;
	case MESSAGE_TREE:
		nodes_reload(&files->nodes, message->tree);
		message->tree = NULL;
		break;
	case MESSAGE_CHOSEN:
		files->first_open = (enum fs_first_open)message->first_open;
		files->probing = false;
		break;
	case MESSAGE_STOP:
		stop(files);
		break;
	default:
		break;
	}
	/* What holds a tree is freed where freeing may take its time. */
	message->kind = MESSAGE_DISCARD;
	if (message->tree)
		message_send(&files->outbox, message);
	else
		message_free(message);
}

static void take_messages(struct files *files)
{
	struct queue_item *item = queue_take(&files->inbox);

	while (item) {
		struct queue_item *next = item->next;
		files_take(files, message_of(item));
		item = next;
	}
}

/* Requests. */

static void tell(struct files *files, enum message_kind kind, int error)
{
	struct message *message = message_new(kind, 0);

	message->error = error;
	message_send(&files->outbox, message);
}

/* 0: nothing is there to read; else a negative errno, -ENODEV when the kernel has ended the
 * connection. */
static int serve(struct files *files, struct fuse_buf *buffer)
{
	for (unsigned i = 0; i < REQUESTS_A_TURN; i++) {
		int r = fuse_session_receive_buf(files->session, buffer);

		if (r == -EAGAIN || r == -EINTR)
			return 0;
		if (r == 0)
			return -ENODEV;
		if (r < 0)
			return r;

		/* What the engine said before the request was made comes before it: a reader who
		 * knows that a lease has ended is not given it. */
		if (queue_has(&files->inbox))
			take_messages(files);
		if (files->stopping)
			return 0; /* closing the descriptor answers it */

		bool was_initialised = files->initialised;
		fuse_session_process_buf(files->session, buffer);
		if (files->initialised && !was_initialised)
			tell(files, MESSAGE_STARTED, 0);
	}
	return 0;
}

void *session_run(void *arg)
{
	struct files *files = arg;
	struct fuse_buf buffer = {0};
	struct pollfd fds[] = {
		{.fd = files->inbox.fd, .events = POLLIN},
		{.fd = fuse_session_fd(files->session), .events = POLLIN},
	};
	int r = 0;

	while (!files->stopping) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			take_messages(files);
		if (r == 0 && fds[1].revents && !files->stopping)
			r = serve(files, &buffer);
		if (r < 0 && fds[1].fd >= 0) {
			fds[1].fd = -1; /* only messages from now on */
			tell(files, files->initialised ? MESSAGE_ENDED : MESSAGE_STARTED, -r);
		}
	}
	free(buffer.mem);
	return NULL;
}
