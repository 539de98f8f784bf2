/*
 * bridge.c: the engine's thread's side: starting and stopping the file thread, and turning its
 * messages into calls of the engine.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "fs/give.h"
#include "fs/watch.h"
#include "lease/alloc.h"

/* How long INIT may take to come: it is there when the mount is. */
#define INIT_TIMEOUT_MS 10000

struct fs {
	struct files files; /* the file thread's, but for its queues and its session's descriptor */
	pthread_t thread;
	struct shared *own_shared; /* NULL: it is another's */
	char *mountpoint;
	bool running, started, ended;
	bool resumed; /* it waits for fs_resume, or has had it */
	int start_error;
	const struct clock *clock;
	char *version;
	struct tree *tree;     /* the current one */
	struct engine *engine; /* NULL before the first fs_dispatch */
	struct list early;     /* what was asked before that */
	struct table pending;  /* by their number */
	struct list all_pending;
	struct watches watches;
	struct gives gives;
	enum fs_first_open first_open;
	uint64_t n_counted; /* of files.n_cached: the engine knows of them */
	void (*opened)(void *arg, const struct lease *lease, const struct lease_caller *caller,
		       uint64_t count);
	void *opened_arg;
};

/* An engine_acquire whose answer is to come. */
struct pending {
	struct table_node by_acquire;
	struct list in_all;
	struct fs *fs;
	uint64_t acquire, node, ticket;
	bool calling, answered;
};

struct early {
	struct list link;
	struct message *message;
};

/* Acquiring. */

static bool same_acquire(const struct table_node *node, const void *acquire)
{
	return container_of(node, struct pending, by_acquire)->acquire ==
	       *(const uint64_t *)acquire;
}

static struct pending *find_pending(const struct fs *fs, uint64_t acquire)
{
	uint64_t hash = table_hash(&fs->pending, &acquire, sizeof(acquire));
	struct table_node *node = table_find(&fs->pending, hash, same_acquire, &acquire);

	return node ? container_of(node, struct pending, by_acquire) : NULL;
}

static void pending_free(struct pending *pending)
{
	table_remove(&pending->fs->pending, &pending->by_acquire);
	list_remove(&pending->in_all);
	free(pending);
}

static void answer(const struct pending *pending, const struct lease *const *leases, size_t n,
		   int error)
{
	struct message *message = message_new(MESSAGE_ACQUIRED, n);

	message->acquire = pending->acquire;
	message->node = pending->node;
	message->error = error;
	for (size_t i = 0; i < n; i++)
		message->leases[i] = lease_ref(leases[i]);
	message_send(&pending->fs->files.inbox, message);
}

static void acquired(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct pending *pending = arg;

	if (err)
		answer(pending, NULL, 0, dsec_error_errno(err->kind));
	else
		answer(pending, leases, n, 0);
	pending->answered = true;
	if (!pending->calling)
		pending_free(pending);
}

static void acquire(struct fs *fs, const struct message *message)
{
	const struct entry *entry = message->entry;
	struct acquire request = {
		.project = entry->config->project,
		.config = entry->config->name,
		.secrets = entry->secrets,
		.ttl_ms = message->ttl_ms,
		.caller = message->caller,
	};
	memcpy(request.holders, message->holders, sizeof(request.holders));

	struct pending *pending = alloc_zeroed(1, sizeof(*pending));

	pending->fs = fs;
	pending->acquire = message->acquire;
	pending->node = message->node;
	list_init(&pending->in_all);
	list_append(&fs->all_pending, &pending->in_all);
	table_insert(&fs->pending, &pending->by_acquire,
		     table_hash(&fs->pending, &pending->acquire, sizeof(pending->acquire)));
	/* The bits are those of a catalog that the engine may not have any more. */
	if (message->tree != fs->tree) {
		answer(pending, NULL, 0, ESTALE);
		pending_free(pending);
		return;
	}
	pending->calling = true;
	pending->ticket = engine_acquire(fs->engine, &request, acquired, pending);
	pending->calling = false;
	if (pending->answered)
		pending_free(pending);
}

static void abandon(struct fs *fs, const struct message *message)
{
	struct pending *pending = find_pending(fs, message->acquire);

	if (pending) {
		engine_abandon(fs->engine, pending->ticket);
		pending_free(pending);
	} else if (message->holders[SCOPE_SHARED]) {
		/* Its answer is on the way, and nobody is there to take it. */
		engine_end_holder(fs->engine, message->holders[SCOPE_SHARED], "not handed out");
	}
}

/* Reports. */

static void count_cached(struct fs *fs)
{
	uint64_t n = fs->files.n_cached;

	engine_count_cached(fs->engine, n - fs->n_counted);
	fs->n_counted = n;
}

static void report(struct fs *fs, struct message *message)
{
	const struct entry *entry = message->entry;

	switch (entry->kind) {
	case ENTRY_STATUS:
		message->text =
			engine_status_text(fs->engine, entry->config->project, entry->config->name);
		break;
	case ENTRY_LEASES:
		message->text = engine_leases_json(fs->engine);
		break;
	default:
		count_cached(fs);
		message->text = engine_metrics_text(fs->engine);
		break;
	}
	if (!message->text)
		message->error = ENOMEM;
	message_send(&fs->files.inbox, message);
}

static void watch(struct fs *fs, const struct message *message)
{
	lease_holder holder = message->holders[0];

	if (holder >> 56 == HOLDER_PROCESS)
		watch_process(&fs->watches, holder, &message->watched);
	else if (message->namespace)
		watch_namespace(&fs->watches, holder, message->watched.pid, message->namespace);
	else if (message->text)
		watch_cgroup(&fs->watches, holder, message->text, message->unified);
	/* Else it is a cgroup that is not to be seen from here: its leases end at their TTL. */
}

static void holder_ended(void *arg, lease_holder holder)
{
	struct fs *fs = arg;
	struct message *message = message_new(MESSAGE_HOLDER_ENDED, 0);

	message->holders[0] = holder;
	message_send(&fs->files.inbox, message);
	engine_end_holder(fs->engine, holder,
			  holder >> 56 == HOLDER_PROCESS ? "its process has ended"
							 : "its container has ended");
}

static void refused(struct fs *fs, const struct message *message)
{
	const struct entry *entry = message->entry;
	struct dsec_error err;

	dsec_error_set(&err,
		       message->error == EACCES ? DSEC_ERROR_NOT_ALLOWED : DSEC_ERROR_THROTTLED,
		       "a reader was refused: %s", message->text);
	engine_refused(fs->engine, entry->config->project, entry->config->name, entry->secrets,
		       &message->caller, &err);
}

/* Refused when it has ended or is being renewed already: then there is nothing to do. */
static void renew(struct fs *fs, const struct lease *lease)
{
	struct dsec_error ignored;

	engine_renew(fs->engine, lease->id, lease->slot.ttl_ms, &ignored);
}

static void tell_opened(const struct fs *fs, const struct message *message)
{
	if (fs->opened)
		fs->opened(fs->opened_arg, message->leases[0], &message->caller, message->count);
}

/* The kernel frees pages as they are, so what a dead lease has left in them is overwritten before.
 * Only of a file that nobody has open and nobody can open again: an open one is a snapshot, and a
 * READ may hold its pages locked. Only of a dead lease: a pipe into which sendfile(2) has put pages
 * shares them, and its reader would find zeroes for a value that is still good. Where it fails,
 * pages are dropped as they are. */
static void zero_pages(struct fuse_session *session, uint64_t node, size_t size)
{
	static char zeroes[64 * 1024];
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += sizeof(zeroes)) {
		size_t left = size - at;
		struct fuse_bufvec buffer =
			FUSE_BUFVEC_INIT(left < sizeof(zeroes) ? left : sizeof(zeroes));

		buffer.buf[0].mem = zeroes;
		r = fuse_lowlevel_notify_store(session, node, (off_t)at, &buffer, 0);
	}
}

/* Messages. */

static void handle(struct fs *fs, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_REPORT:
		report(fs, message);
		return; /* it turns round */
	case MESSAGE_ACQUIRE:
		acquire(fs, message);
		break;
	case MESSAGE_ABANDON:
		abandon(fs, message);
		break;
	case MESSAGE_WAKE:
		poll_notify(fs->files.fuse_fd, message->question);
		break;
	case MESSAGE_WATCH:
		watch(fs, message);
		break;
	case MESSAGE_REFUSED:
		refused(fs, message);
		break;
	case MESSAGE_LET_GO:
		engine_end_holder(fs->engine, message->holders[0], message->text);
		break;
	case MESSAGE_HELD:
		renew(fs, message->leases[0]);
		break;
	case MESSAGE_INVALIDATE:
		zero_pages(fs->files.session, message->node, message->size);
		fuse_lowlevel_notify_inval_inode(fs->files.session, message->node, 0, 0);
		break;
	case MESSAGE_FORGET:
		fuse_lowlevel_notify_inval_entry(fs->files.session, message->node, message->text,
						 strlen(message->text));
		break;
	case MESSAGE_STARTED:
		fs->started = true;
		fs->start_error = message->error;
		break;
	case MESSAGE_ENDED:
		fs->ended = true;
		break;
	case MESSAGE_READ:
		tell_opened(fs, message);
		break;
	case MESSAGE_VIEWED:
		give_viewed(&fs->gives, fs->tree, message);
		break;
	default:
		break;
	}
	message_free(message);
}

static bool needs_engine(const struct message *message)
{
	return message->kind == MESSAGE_REPORT || message->kind == MESSAGE_ACQUIRE ||
	       message->kind == MESSAGE_ABANDON || message->kind == MESSAGE_HELD ||
	       message->kind == MESSAGE_LET_GO || message->kind == MESSAGE_WATCH ||
	       message->kind == MESSAGE_REFUSED;
}

static void take_messages(struct fs *fs)
{
	struct queue_item *item = queue_take(&fs->files.outbox);

	while (item) {
		struct queue_item *next = item->next;
		struct message *message = message_of(item);

		if (!fs->engine && needs_engine(message)) {
			struct early *early = alloc_zeroed(1, sizeof(*early));
			early->message = message;
			list_init(&early->link);
			list_append(&fs->early, &early->link);
		} else {
			handle(fs, message);
		}
		item = next;
	}
}

void fs_dispatch(struct fs *fs, struct engine *engine)
{
	fs->engine = engine;
	list_each (at, &fs->early) {
		struct early *early = container_of(at, struct early, link);

		list_remove(&early->link);
		handle(fs, early->message);
		free(early);
	}
	/* What a holder has asked for before its end is heard before its end; and some are found to
	 * have ended while that is done. */
	watch_collect(&fs->watches);
	do {
		take_messages(fs);
		watch_tell(&fs->watches, holder_ended, fs);
	} while (watch_has_ended(&fs->watches));
}

uint64_t fs_give(struct fs *fs, struct engine *engine, const char *path,
		 const struct lease_caller *caller, fs_given *given, void *arg)
{
	return give_begin(&fs->gives, engine, fs->tree, path, caller, given, arg);
}

void fs_give_up(struct fs *fs, uint64_t give)
{
	give_abandon(&fs->gives, give);
}

void fs_watch_readers(struct fs *fs, bool on)
{
	fs->files.watches_readers = on;
}

int fs_fd(const struct fs *fs)
{
	return fs->watches.fd;
}

bool fs_ended(const struct fs *fs)
{
	return fs->ended;
}

enum fs_first_open fs_first_open_chosen(const struct fs *fs)
{
	return fs->first_open;
}

void fs_lease(struct fs *fs, enum lease_event event, const struct lease *lease)
{
	if (event == LEASE_GONE)
		return; /* it ended before */
	if (event == LEASE_ACTIVE && lease_holder_kind(lease->slot.holder) == HOLDER_STOCK)
		return; /* nobody can be given it before it is somebody's */

	struct message *message = message_new(MESSAGE_LEASE, 1);
	message->event = event;
	message->leases[0] = lease_ref(lease);
	message_send(&fs->files.inbox, message);
}

void fs_due(struct fs *fs, const struct lease *lease)
{
	struct message *message = message_new(MESSAGE_DUE, 1);

	message->leases[0] = lease_ref(lease);
	message_send(&fs->files.inbox, message);
}

bool fs_process(const struct fs *fs, lease_holder holder, pid_t *ret_pid, uint64_t *ret_start)
{
	struct caller caller;

	if (holder >> 56 != HOLDER_PROCESS || !watch_find(&fs->watches, holder, &caller))
		return false;
	*ret_pid = caller.pid;
	*ret_start = caller.start;
	return true;
}

void fs_rotated(struct fs *fs, const struct lease *lease)
{
	struct message *message = message_new(MESSAGE_ROTATED, 1);

	message->leases[0] = lease_ref(lease);
	message_send(&fs->files.inbox, message);
}

void fs_reload(struct fs *fs, struct catalog *catalog)
{
	struct tree *tree;

	if (tree_new(&tree, catalog, fs->version, fs->clock->calendar_ms(fs->clock), NULL) < 0)
		abort(); /* memory is short: see alloc.h */

	struct message *message = message_new(MESSAGE_TREE, 0);
	message->tree = tree_ref(tree);
	message_send(&fs->files.inbox, message);
	tree_unref(fs->tree);
	fs->tree = tree;
}

/* Starting and stopping. */

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
			take_messages(fs);
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
	list_each (at, &fs->all_pending) {
		struct pending *pending = container_of(at, struct pending, in_all);

		engine_abandon(fs->engine, pending->ticket);
		pending_free(pending);
	}
	list_each (at, &fs->early) {
		struct early *early = container_of(at, struct early, link);

		message_free(early->message);
		free(early);
	}
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

/* Of what the thread still had to say only who has read what is of use. */
static void take_last_opened(struct fs *fs)
{
	struct queue_item *item = queue_take(&fs->files.outbox);

	while (item) {
		struct queue_item *next = item->next;
		struct message *message = message_of(item);

		if (message->kind == MESSAGE_READ)
			tell_opened(fs, message);
		message_free(message);
		item = next;
	}
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
	take_last_opened(fs);
}

void fs_notice(struct fs *fs, const char *text)
{
	struct message *message = message_new(MESSAGE_NOTICE, 0);

	message->text = alloc_copy(text);
	message_send(&fs->files.inbox, message);
}

struct fs *fs_stop(struct fs *fs)
{
	if (!fs)
		return NULL;
	if (fs->running) {
		message_send(&fs->files.inbox, message_new(MESSAGE_STOP, 0));
		pthread_join(fs->thread, NULL);
		take_last_opened(fs);
	}
	return fs_free(fs);
}
