/*
 * bridge.c: the engine's thread's side: turns the file thread's messages into calls of the engine,
 * and what the engine tells into messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/bridge_private.h"
#include "lease/alloc.h"

/* A message that came before there was an engine to ask. */
struct early {
	struct list link;
	struct message *message;
};

/* Messages of the file thread. */

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

static void handle(struct fs *fs, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_REPORT:
		report(fs, message);
		return; /* it turns round */
	case MESSAGE_ACQUIRE:
		bridge_acquire(fs, message);
		break;
	case MESSAGE_ABANDON:
		bridge_abandon(fs, message);
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

void bridge_take_messages(struct fs *fs)
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

void bridge_take_last_opened(struct fs *fs)
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

void bridge_free_early(struct fs *fs)
{
	list_each (at, &fs->early) {
		struct early *early = container_of(at, struct early, link);

		message_free(early->message);
		free(early);
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
		bridge_take_messages(fs);
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

/* Messages to it. */

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

void fs_notice(struct fs *fs, const char *text)
{
	struct message *message = message_new(MESSAGE_NOTICE, 0);

	message->text = alloc_copy(text);
	message_send(&fs->files.inbox, message);
}
