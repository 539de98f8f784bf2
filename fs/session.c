/*
 * session.c: the file thread's loop, over libfuse's low-level interface.
 *
 * The descriptor comes mounted (from fs_mount, or from a keeper that holds it), so the session is
 * opened on /dev/fd/N. One thread and no splice: hand-over between threads costs more than serving
 * a small file, and the device cannot take pages of secret memory anyway.
 *
 * A request is read into the shared memory, whose place for it was marked as empty before, and is
 * marked so again when it is answered or kept: what a killed process leaves unanswered is there for
 * the next one (replay.c). The kernel begins a conversation once in the life of a mount: INIT is
 * kept, and told to each libfuse anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "fs/request.h"
#include "lease/alloc.h"

/* Requests in a row before messages are looked at again. */
#define REQUESTS_A_TURN 64

/* Watchers of its names hear of it: it has one in each folder of its config that is known. */
static void announce(const struct files *files, const struct node *node)
{
	if (!node->entry || node->lookups == 0)
		return;
	list_each (at, &files->nodes.folders) {
		const struct node *folder = container_of(at, struct node, in_folders);

		if (folder->entry && folder->entry->ino == node->entry->parent->ino)
			announce_deleted(files->announce_fd, folder->id, node->id,
					 node->entry->name);
	}
}

static void retired(void *arg, struct node *node)
{
	if (node->kind == NODE_STATIC)
		announce(arg, node);
	poll_wake(arg, node);
}

void files_init(struct files *files, const struct fs_options *options, struct tree *tree)
{
	files->clock = options->clock;
	files->watches_readers = options->watch_readers;
	files->pid = options->keeper_pid ? options->keeper_pid : getpid();
	files->restarts = options->restarts;
	files->state_folder = alloc_copy(options->state_folder);
	files->config_file = alloc_copy(options->config_file);
	files->sandbox = alloc_copy(options->sandbox);
	files->memory = alloc_copy(options->memory);
	files->first_open = options->first_open;
	if (files->first_open == FS_FIRST_OPEN_PROBE)
		files->first_open = (enum fs_first_open)atomic_load(&files->shared->first_open);
	files->probing = files->first_open == FS_FIRST_OPEN_PROBE;
	/* What works everywhere, until the probe has said more. */
	if (files->probing)
		files->first_open = FS_FIRST_OPEN_ESTALE;
	files->held = shared_resumed(files->shared);
	files->replayed_slot = files->answered_slot = -1;
	list_init(&files->questions);
	callers_init(&files->callers, options->clock, &files->outbox);
	kept_begin(files);
	nodes_init(&files->nodes, files->shared, tree, &files->outbox);
	files->nodes.retired = retired;
	files->nodes.arg = files;
	holders_init(&files->holders, files->shared, &files->outbox);
}

void files_finish(struct files *files)
{
	callers_finish(&files->callers);
	nodes_finish(&files->nodes);
	holders_finish(&files->holders);
	kept_finish(files);
	free(files->notice);
	free(files->state_folder);
	free(files->config_file);
	free(files->sandbox);
	free(files->memory);
}

/* Asked for: folders that many may search at once, so that a kept LOOKUP delays nobody (libfuse
 * before 3.17, Debian 12's too, keeps that to itself: there it delays who looks a name up in the
 * same folder that the kernel does not know). Not asked for, though libfuse would: that the kernel
 * drops pages when a time of change moves (a node's time moves when it is bound, its bytes do not),
 * and splice. */
static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct files *files = userdata;

	conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
	conn->time_gran = 1000000;
	conn->max_write = SHARED_WRITE_MAX;
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
	.opendir = files_opendir,
	.poll = files_poll,
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

	files->epoll_fd = -1;
	readonly_refuse(&ops);
	snprintf(path, sizeof(path), "/dev/fd/%d", fuse_fd);
	files->session = fuse_session_new(&args, &ops, sizeof(ops), files);
	fuse_opt_free_args(&args);
	if (!files->session || fuse_session_mount(files->session, path) < 0) {
		close(fuse_fd);
		session_close(files);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libfuse cannot open a session");
	}
	files->fuse_fd = fuse_session_fd(files->session);
	/* Read until there is nothing: one system call a request while they keep coming. */
	int flags = fcntl(fuse_fd, F_GETFL);
	fcntl(fuse_fd, F_SETFL, flags | O_NONBLOCK);
	return 0;
}

static int watch(const struct files *files, int operation, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(files->epoll_fd, operation, fd, &event);
}

/* An epoll set and no poll(2): that would register with both, and leave both, for each request. */
int session_watch(struct files *files, struct dsec_error *err)
{
	files->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (watch(files, EPOLL_CTL_ADD, files->inbox.fd, EPOLLIN) < 0 ||
	    watch(files, EPOLL_CTL_ADD, files->fuse_fd, 0) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "epoll: %s", strerror(errno));
	return 0;
}

void session_close(struct files *files)
{
	if (files->epoll_fd >= 0)
		close(files->epoll_fd);
	files->epoll_fd = -1;
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

static void replaced(void *arg, struct node *node)
{
	node->replaced = true;
	announce(arg, node);
	poll_wake(arg, node);
}

/* Leases whose holder an earlier process knew, and which nobody is any more: nobody is ever given
 * them, and no end of their holder will come. */
struct orphans {
	struct files *files;
	struct message **messages;
	size_t n, size;
};

static bool is_orphan(const struct files *files, const struct lease *lease)
{
	switch (lease->slot.holder >> 56) {
	case HOLDER_CONTAINER:
	case HOLDER_PROCESS:
		return !holders_known(&files->holders, lease->slot.holder);
	case HOLDER_OPEN:
		return !nodes_open(&files->nodes, lease->id);
	default:
		return false;
	}
}

static void gather_orphan(void *arg, const struct lease *lease)
{
	struct orphans *orphans = arg;
	struct message *message;

	if (!is_orphan(orphans->files, lease))
		return;
	message = message_new(MESSAGE_LET_GO, 1);
	message->holders[0] = lease->slot.holder;
	message->text = alloc_copy("its holder is not known any more");
	message->leases[0] = lease_ref(lease);
	if (orphans->n == orphans->size) {
		orphans->size = orphans->size ? 2 * orphans->size : 16;
		orphans->messages =
			alloc_resized(orphans->messages, orphans->size, sizeof(struct message *));
	}
	orphans->messages[orphans->n++] = message;
}

static void end_orphans(struct files *files)
{
	struct orphans orphans = {.files = files};

	leases_each(&files->nodes.leases, gather_orphan, &orphans);
	for (size_t i = 0; i < orphans.n; i++) {
		/* A request that is replayed must not find it. */
		nodes_end_lease(&files->nodes, orphans.messages[i]->leases[0]->id);
		message_send(&files->outbox, orphans.messages[i]);
	}
	free(orphans.messages);
}

/* Who that is, for one whose request did not come by the kernel: it waits all the same. */
static void view(struct files *files, struct message *message)
{
	struct viewer viewer;
	pid_t tid = message->caller.pid;

	holders_view(&files->holders, message->scopes, message->caller.uid, tid, &viewer);
	message->error = viewer.error ? viewer.error : holders_watch(&files->holders, &viewer, tid);
	if (message->error)
		message->text = alloc_copy(viewer.reason);
	memcpy(message->holders, viewer.holders, sizeof(message->holders));
	message->kind = MESSAGE_VIEWED;
	message_send(&files->outbox, message);
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
	case MESSAGE_ROTATED:
		nodes_of_lease(&files->nodes, message->leases[0]->id, replaced, files);
		break;
	case MESSAGE_HOLDER_ENDED:
		holders_ended(&files->holders, message->holders[0]);
		break;
	case MESSAGE_TREE:
		nodes_reload(&files->nodes, message->tree);
		message->tree = NULL;
		break;
	case MESSAGE_CHOSEN:
		files->first_open = (enum fs_first_open)message->first_open;
		files->probing = false;
		break;
	case MESSAGE_VIEW:
		view(files, message);
		return;
	case MESSAGE_STOP:
		stop(files);
		break;
	case MESSAGE_HAND_OVER:
		callers_finish(&files->callers);
		files->handing_over = files->stopping = true;
		break;
	case MESSAGE_RESUME:
		holders_restore(&files->holders);
		nodes_restore(&files->nodes);
		end_orphans(files);
		poll_wake_all(files);
		files_replay(files);
		files->held = false;
		break;
	case MESSAGE_NOTICE:
		free(files->notice);
		files->notice = message->text;
		message->text = NULL;
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
		kept_settle(files);
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

/* Bytes of a request, 0 when there is none, or a negative errno: -ENODEV when the kernel has ended
 * the connection. */
static ssize_t receive(const struct files *files)
{
	struct shared *shared = files->shared;
	ssize_t n;

	request_clear(shared->current);
	do /* ENOENT: it was taken back while it was read */
		n = read(files->fuse_fd, shared->current, sizeof(shared->current));
	while (n < 0 && (errno == EINTR || errno == ENOENT));
	if (n == 0)
		return -ENODEV;
	return n > 0 ? n : errno == EAGAIN ? 0 : -errno;
}

/* The conversation's beginning is kept before it is answered. */
static void process_init(struct files *files, const void *bytes, size_t n)
{
	struct shared *shared = files->shared;

	if (!shared_resumed(shared) && n <= sizeof(shared->init)) {
		memcpy(shared->init, bytes, n);
		atomic_store(&shared->init_n, (uint32_t)n);
	}
	files_process(files, bytes, n);
	if (files->initialised)
		tell(files, MESSAGE_STARTED, 0);
}

static void process_current(struct files *files, size_t n)
{
	struct shared *shared = files->shared;

	if (!files->initialised) {
		process_init(files, shared->current, n);
	} else if (request_is_forget(shared->current, n)) {
		/* It needs no answer, and must not count twice. */
		_cleanup_free_ unsigned char *bytes = alloc_zeroed(n, 1);

		memcpy(bytes, shared->current, n);
		request_clear(shared->current);
		files_process(files, bytes, n);
	} else {
		files_process(files, shared->current, n);
	}
}

/* 0: nothing is there to read; else a negative errno. */
static int serve(struct files *files)
{
	for (unsigned i = 0; i < REQUESTS_A_TURN; i++) {
		ssize_t n = receive(files);

		if (n <= 0)
			return (int)n;
		/* What the engine said before the request was made comes before it: a reader who
		 * knows that a lease has ended is not given it. */
		if (queue_has(&files->inbox))
			take_messages(files);
		if (files->stopping)
			return 0; /* the next process, or closing the descriptor, answers it */
		process_current(files, (size_t)n);
	}
	request_clear(files->shared->current);
	return 0;
}

/* Waits, and takes what messages there are. Is there a request, too? */
static bool wait_for_work(struct files *files)
{
	struct epoll_event events[2];
	int n = epoll_wait(files->epoll_fd, events, 2, -1);
	bool requests = false;

	for (int i = 0; i < n; i++)
		if (events[i].data.fd == files->inbox.fd)
			take_messages(files);
		else
			requests = true;
	return requests;
}

/* The end. */

/* What lies there, if anything does. */
static void refuse_current(const struct files *files)
{
	void *current = files->shared->current;
	size_t n = request_size(current, sizeof(files->shared->current));

	if (n > 0 && !request_is_forget(current, n))
		request_refuse(files->fuse_fd, current, n, ENOTCONN);
	request_clear(current);
}

/* Who announces has the device open too, and waits for a folder's lock that a LOOKUP has, which
 * nobody would read any more: the connection would never end, and the LOOKUP's caller never be
 * answered. So whatever comes is refused until that process has ended. */
static void end_announcing(const struct files *files)
{
	int64_t until_at = files->clock->boottime_at(files->clock) + FILES_END_MS, left;
	bool told = false;

	refuse_current(files); /* it was read, and then came the end */
	while (files->announce_fd >= 0 &&
	       (left = until_at - files->clock->boottime_at(files->clock)) > 0) {
		told = told || announce_end(files->announce_fd);

		struct pollfd fds[] = {
			{.fd = files->announce_fd, .events = told ? 0 : POLLOUT},
			{.fd = files->fuse_fd, .events = POLLIN},
		};
		if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & POLLERR || fds[1].revents & (POLLERR | POLLHUP))
			return; /* it has ended; or the connection has, and so it does */
		if (fds[1].revents & POLLIN && receive(files) > 0)
			refuse_current(files);
	}
}

/* An earlier process has had it. */
static void resume(struct files *files)
{
	const struct shared *shared = files->shared;
	size_t n = atomic_load(&shared->init_n);
	unsigned char bytes[SHARED_INIT_MAX];

	memcpy(bytes, shared->init, n <= sizeof(bytes) ? n : 0);
	process_init(files, bytes, n <= sizeof(bytes) ? n : 0);
	if (!files->initialised)
		tell(files, MESSAGE_STARTED, EPROTO);
}

void *session_run(void *arg)
{
	struct files *files = arg;
	bool watching = false; /* the device */
	int r = 0;

	if (files->held)
		resume(files);
	while (!files->stopping) {
		if (r == 0 && !watching && !files->held)
			watching = watch(files, EPOLL_CTL_MOD, files->fuse_fd, EPOLLIN) == 0;

		bool requests = wait_for_work(files);

		if (r == 0 && requests && !files->held && !files->stopping)
			r = serve(files);
		if (r < 0 && watching) {
			/* Only messages from now on. */
			watch(files, EPOLL_CTL_DEL, files->fuse_fd, 0);
			watching = false;
			tell(files, files->initialised ? MESSAGE_ENDED : MESSAGE_STARTED, -r);
		}
	}
	if (!files->handing_over && r == 0)
		end_announcing(files);
	return NULL;
}
