/*
 * open.c: the moment at which a reader is given bytes.
 *
 * The first OPEN of an unleased file asks the engine and is kept, with every other OPEN of that
 * node that comes meanwhile. When the leases have come, content and size are stored into the kernel
 * and all are answered: the reader finds the true size at its first fstat, and no READ is needed.
 * Where the kernel cannot do that, all are answered ESTALE, and the VFS looks the path up again by
 * itself, now with the true size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"
#include "lease/secret.h"

static void count_open(const struct files *files, struct node *node)
{
	if (node->opens++ == 0)
		node->open_since_at = files->clock->boottime_at(files->clock);
}

static void let_go(struct files *files, struct node *node)
{
	if (--node->opens == 0 && node->fresh)
		fresh_end(files, node, "closed");
	node_settle(&files->nodes, node);
}

/* Page cache kept: a node's bytes never change. fh is a number of its own for each open file, which
 * a later worker can be told. */
static void reply_open(struct files *files, fuse_req_t req, struct node *node)
{
	struct fuse_file_info info = {.fh = ++files->last_id, .keep_cache = 1};

	count_open(files, node);
	if (fuse_reply_open(req, &info) < 0) /* interrupted: no RELEASE will come */
		let_go(files, node);
}

static void open_leased(struct files *files, fuse_req_t req, struct node *node,
			const struct lease_caller *caller)
{
	if (node->fresh) { /* no other read comes from its leases */
		reply_open(files, req, node);
		return;
	}

	int64_t now_at = files->clock->boottime_at(files->clock);

	for (size_t i = 0; i < node->n_bindings; i++) {
		leases_remember(&files->nodes.leases, &node->bindings[i], caller->uid, now_at);
		callers_opened(&files->callers, node->bindings[i].lease, caller);
	}
	reply_open(files, req, node);
}

/* Kept OPENs. */

/* Leases that nobody else is ever given. */
static void ask_for_fresh(struct message *message, const struct node *node)
{
	for (int scope = 0; scope < SCOPES; scope++)
		message->holders[scope] = node->holder;
}

static void abandon(struct files *files, struct node *node)
{
	struct message *message = message_new(MESSAGE_ABANDON, 0);

	message->acquire = node->acquire;
	if (node->fresh)
		ask_for_fresh(message, node);
	message_send(&files->outbox, message);
	node->acquire = 0;
}

/* The lease goes on: the next reader finds it. A fresh one ends, for it has none. */
static void interrupted(fuse_req_t req, void *data)
{
	struct kept *kept = data;
	struct files *files = kept->files;
	struct node *node = kept->node;

	kept_free(kept);
	if (list_empty(&node->waiters))
		abandon(files, node);
	fuse_reply_err(req, EINTR);
	node_settle(&files->nodes, node);
}

/* Who asks, with a reference to what it is just now: the request is unanswered. */
static struct lease_caller look_at_caller(struct files *files, fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct lease_caller){
		.uid = ctx->uid,
		.gid = ctx->gid,
		.pid = ctx->pid,
		.who = callers_look(&files->callers, ctx->pid),
	};
}

static void ask_engine(struct files *files, struct node *node, const struct lease_caller *caller)
{
	struct message *message = message_new(MESSAGE_ACQUIRE, 0);

	node->acquire = ++files->last_id;
	message->acquire = node->acquire;
	message->node = node->id;
	message->tree = tree_ref(files->nodes.tree);
	message->entry = node->entry;
	message->ttl_ms = node->ttl_ms;
	if (node->fresh)
		ask_for_fresh(message, node);
	else
		message->holders[SCOPE_USER] = lease_holder_user(caller->uid);
	message->caller = *caller;
	who_ref(message->caller.who);
	message_send(&files->outbox, message);
}

static void keep_open(struct files *files, fuse_req_t req, struct node *node)
{
	struct kept *kept = kept_new(files, req);

	if (!kept)
		return;
	kept->node = node;
	kept->caller = look_at_caller(files, req);
	list_append(&node->waiters, &kept->link);
	if (node->acquire == 0)
		ask_engine(files, node, &kept->caller);
	/* Last: it calls back at once when the interrupt came first. */
	fuse_req_interrupt_func(req, interrupted, kept);
}

/* O_NONBLOCK says that the caller would rather have nothing than wait, and who says so of a file
 * only looks: tar (which opens an empty file that not all may read, to see whether it could), grep
 * -r, file. They see what stat has shown, an empty file, and lease nothing. Nothing may be stored
 * into a node that is open, so the node is spent. */
static void open_without_waiting(struct files *files, fuse_req_t req, struct node *node)
{
	if (!list_empty(&node->waiters)) {
		fuse_reply_err(req, EAGAIN); /* its content is on the way */
		return;
	}
	if (node->kind == NODE_UNLEASED)
		node_spend(&files->nodes, node);
	reply_open(files, req, node);
}

static void open_empty(struct files *files, fuse_req_t req, struct node *node, int flags)
{
	if (flags & O_NONBLOCK)
		open_without_waiting(files, req, node);
	else if (node->kind == NODE_EMPTY)
		fuse_reply_err(req, ESTALE); /* the VFS looks its name up again */
	else
		keep_open(files, req, node);
}

void open_fail(struct files *files, struct node *node, int error)
{
	struct list waiters;

	node->acquire = 0;
	list_take_all(&waiters, &node->waiters);
	list_each (at, &waiters) {
		fuse_req_t req = container_of(at, struct kept, link)->req;

		kept_free(container_of(at, struct kept, link));
		fuse_reply_err(req, error);
	}
	node_settle(&files->nodes, node);
}

/* Its leases are there, and yet nobody is given them by this node. */
static void open_fail_leased(struct files *files, struct node *node, int error)
{
	if (node->fresh)
		fresh_end(files, node, "not handed out");
	open_fail(files, node, error);
}

static void open_all(struct files *files, struct node *node)
{
	struct list waiters;

	node->acquire = 0;
	count_open(files, node); /* it must not settle before all are answered */
	list_take_all(&waiters, &node->waiters);
	list_each (at, &waiters) {
		struct kept *kept = container_of(at, struct kept, link);

		/* First who it was: the answer lets it go. */
		open_leased(files, kept->req, node, &kept->caller);
		kept_free(kept);
	}
	let_go(files, node);
}

/* The device cannot take rendered bytes where they lie: it pins pages, which those of secrets do
 * not allow. The copy is wiped as soon as the kernel has it. */
static char *copy_out(const char *bytes, size_t n)
{
	char *copy = alloc_zeroed(n + 1, 1);

	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

static void wipe_out(char *copy, size_t n)
{
	secret_wipe(copy, n);
	free(copy);
}

/* Content and size into the kernel, before any OPEN of this node has been answered. */
static bool store(struct files *files, const struct node *node)
{
	struct download bytes = {0};
	struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(0);
	int r = node_render(&files->nodes, node, &bytes);

	if (r == 0) {
		char *copy = copy_out(bytes.bytes, bytes.n);

		buffer.buf[0].mem = copy;
		buffer.buf[0].size = bytes.n;
		r = fuse_lowlevel_notify_store(files->session, node->id, 0, &buffer, 0);
		wipe_out(copy, bytes.n);
	}
	download_finish(&bytes);
	return r == 0;
}

/* The answer's leases in the order of the entry's bits: the answer may be to a question that was
 * asked before a reload. */
static bool sort_leases(const struct entry *entry, const struct message *message,
			const struct lease *ret[CATALOG_DYNAMICS_MAX])
{
	size_t n = 0;

	for (uint64_t left = entry->secrets; left; left &= left - 1, n++) {
		const char *name = entry->config->dynamics[__builtin_ctzll(left)].name;

		ret[n] = NULL;
		for (size_t i = 0; i < message->n_leases && !ret[n]; i++)
			if (strcmp(message->leases[i]->slot.secret, name) == 0)
				ret[n] = message->leases[i];
		if (!ret[n])
			return false;
	}
	return true;
}

void open_acquired(struct files *files, const struct message *message)
{
	const struct lease *leases[CATALOG_DYNAMICS_MAX];
	struct node *node = nodes_find(&files->nodes, message->node);

	if (!node || node->acquire != message->acquire)
		return; /* all who asked were interrupted */
	if (message->error) {
		open_fail(files, node, message->error);
		return;
	}
	if (node->stale || !sort_leases(node->entry, message, leases)) {
		open_fail_leased(files, node, ESTALE);
		return;
	}
	node_bind(&files->nodes, node, leases);
	if (node->error)
		open_fail_leased(files, node, node->error);
	else if (files->first_open == FS_FIRST_OPEN_STORE && store(files, node))
		open_all(files, node);
	else
		open_fail_leased(files, node, node->fresh ? EIO : ESTALE);
}

/* The probe is served as an unleased file is, but for the engine. */
static void open_probe(struct files *files, fuse_req_t req, struct node *node)
{
	struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(0);
	int r = -ESTALE;

	buffer.buf[0].mem = (void *)probe_text;
	buffer.buf[0].size = strlen(probe_text);
	if (node->opens == 0 && node->size == 0)
		r = fuse_lowlevel_notify_store(files->session, node->id, 0, &buffer, 0);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	node->size = strlen(probe_text);
	reply_open(files, req, node);
}

/* Each name leads a caller to a node of its own; another's is reached through /proc/PID/fd. 0 or a
 * positive errno. */
static int may_open(const struct files *files, struct node *node, uid_t uid)
{
	if (node->fresh)
		return fresh_may_open(files, node, uid);
	return node->holder == 0 || node->holder == lease_holder_user(uid) ? 0 : EACCES;
}

/* Requests. */

static void open_cached(struct files *files, fuse_req_t req, struct node *node)
{
	struct lease_caller caller = look_at_caller(files, req);

	files->n_cached++;
	open_leased(files, req, node, &caller);
	who_unref(caller.who);
}

void files_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	struct files *files = files_of(req);
	uid_t uid = fuse_req_ctx(req)->uid;
	struct node *node = node_of(req, id); /* NULL: the request is gone */
	int error;

	if (!node)
		return;
	if ((info->flags & O_ACCMODE) != O_RDONLY || info->flags & O_TRUNC)
		fuse_reply_err(req, EROFS);
	else if (!node_alive(node, files->clock->boottime_at(files->clock)))
		fuse_reply_err(req, ESTALE);
	else if (node->error)
		fuse_reply_err(req, node->error);
	else if ((error = may_open(files, node, uid)) != 0)
		fuse_reply_err(req, error);
	else if (node->kind == NODE_PROBE)
		open_probe(files, req, node);
	else if (node->kind == NODE_UNLEASED || node->kind == NODE_EMPTY)
		open_empty(files, req, node, info->flags);
	else if (node->kind == NODE_LEASED)
		open_cached(files, req, node);
	else
		reply_open(files, req, node);
}

static void reply_part(fuse_req_t req, const char *bytes, size_t n, size_t size, off_t offset)
{
	if (offset >= (off_t)n) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}

	size_t left = n - (size_t)offset;
	fuse_reply_buf(req, bytes + offset, size < left ? size : left);
}

static void reply_rendered(fuse_req_t req, const struct download *bytes, size_t size, off_t offset)
{
	size_t left = offset < (off_t)bytes->n ? bytes->n - (size_t)offset : 0;
	size_t n = size < left ? size : left;
	char *copy = copy_out(bytes->bytes + (n > 0 ? offset : 0), n);

	fuse_reply_buf(req, copy, n);
	wipe_out(copy, n);
}

/* Rendered anew each time, so that no copy stays; what is in the page cache does not come here. */
static void read_rendered(fuse_req_t req, const struct node *node, size_t size, off_t offset)
{
	struct download bytes = {0};
	int r = node->entry ? node_render(&files_of(req)->nodes, node, &bytes) : -ESTALE;

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_rendered(req, &bytes, size, offset);
	download_finish(&bytes);
}

void files_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		struct fuse_file_info *info)
{
	const struct node *node = node_of(req, id);

	if (!node)
		return;
	switch (node->kind) {
	case NODE_STATIC:
	case NODE_LEASED:
		read_rendered(req, node, size, offset);
		break;
	case NODE_EMPTY:
		fuse_reply_buf(req, NULL, 0);
		break;
	case NODE_REPORT:
		reply_part(req, node->text, node->size, size, offset);
		break;
	case NODE_PROBE:
		reply_part(req, probe_text, node->size, size, offset);
		break;
	case NODE_FOLDER:
	case NODE_UNLEASED: /* no OPEN of it has been answered */
		fuse_reply_err(req, EBADF);
		break;
	}
}

void files_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	struct files *files = files_of(req);
	struct node *node = nodes_find(&files->nodes, id);

	fuse_reply_err(req, 0);
	if (node && node->opens > 0)
		let_go(files, node);
}
