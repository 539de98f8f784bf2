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

/* One of those who had it open has let go. */
static void let_go(struct files *files, struct node *node)
{
	if (--node->opens == 0 && node->fresh)
		fresh_end(files, node, "closed");
	node_settle(&files->nodes, node);
}

/* Page cache kept: a node's bytes never change. An answer that the kernel does not want is one that
 * it had already, from a process that died of it: then the file is open, with the fh that it was
 * given by that process. */
static void reply_open(struct files *files, fuse_req_t req, struct node *node,
		       const struct origin *origin)
{
	struct fuse_file_info info = {.keep_cache = 1};
	bool known = origin->replayed;

	info.fh = handles_open(&files->nodes.handles, node->id, origin->unique, &known);
	if (!known)
		count_open(files, node);
	node->was_open = true;
	if (fuse_reply_open(req, &info) < 0 && !known &&
	    handles_release(&files->nodes.handles, info.fh))
		let_go(files, node);
}

/* Who asks, with a reference to what it is just now: the request is unanswered. */
static struct lease_caller look_at_caller(struct files *files, fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct lease_caller){
		.uid = ctx->uid,
		.gid = ctx->gid,
		.pid = ctx->pid,
		.who = files->watches_readers ? callers_look(&files->callers, ctx->pid) : NULL,
	};
}

static void open_leased(struct files *files, fuse_req_t req, struct node *node,
			const struct lease_caller *caller, const struct origin *origin)
{
	int64_t now_at = files->clock->boottime_at(files->clock);

	for (size_t i = 0; i < node->n_bindings; i++) {
		if (!node->fresh) /* no other read comes from its leases */
			leases_remember(&files->nodes.leases, &node->bindings[i], caller->uid,
					now_at);
		if (files->watches_readers)
			callers_opened(&files->callers, node->bindings[i].lease, caller);
	}
	reply_open(files, req, node, origin);
}

/* With a sentence for .status and a line in the audit log. */
static void refuse(struct files *files, fuse_req_t req, const struct node *node, int error,
		   const char *reason)
{
	struct message *message = message_new(MESSAGE_REFUSED, 0);

	message->tree = tree_ref(node->tree ? node->tree : files->nodes.tree);
	message->entry = node->entry;
	message->error = error;
	message->text = alloc_copy(reason);
	message->caller = look_at_caller(files, req);
	message_send(&files->outbox, message);
	fuse_reply_err(req, error);
}

/* Kept OPENs. */

static void abandon(struct files *files, struct node *node)
{
	struct message *message = message_new(MESSAGE_ABANDON, 0);

	message->acquire = node->acquire;
	if (node->fresh)
		message->holders[SCOPE_SHARED] = node->holder;
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

static void ask_engine(struct files *files, struct node *node, const struct lease_caller *caller,
		       const struct viewer *viewer)
{
	struct message *message = message_new(MESSAGE_ACQUIRE, 0);

	node->acquire = ++files->last_id;
	message->acquire = node->acquire;
	message->node = node->id;
	message->tree = tree_ref(files->nodes.tree);
	message->entry = node->entry;
	message->ttl_ms = node->ttl_ms;
	memcpy(message->holders, viewer->holders, sizeof(message->holders));
	message->text = holders_payer(&files->holders, caller->uid, caller->pid);
	message->caller = *caller;
	who_ref(message->caller.who);
	message_send(&files->outbox, message);
}

static void keep_open(struct files *files, fuse_req_t req, struct node *node, struct viewer *viewer)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	int error = node->fresh ? 0 : holders_watch(&files->holders, viewer, caller->pid);

	if (error) {
		refuse(files, req, node, error, viewer->reason);
		return;
	}

	struct kept *kept = kept_new(files, req);
	if (!kept)
		return;
	kept->node = node;
	kept->caller = look_at_caller(files, req);
	list_append(&node->waiters, &kept->link);
	if (node->acquire == 0)
		ask_engine(files, node, &kept->caller, viewer);
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
	if (node->stored != 0) {
		fuse_reply_err(req, EAGAIN); /* its content may be there, and nobody knows whose */
		return;
	}
	if (node->kind == NODE_UNLEASED)
		node_spend(&files->nodes, node);
	reply_open(files, req, node, &files->origin);
}

static void open_empty(struct files *files, fuse_req_t req, struct node *node,
		       struct viewer *viewer, int flags)
{
	if (flags & O_NONBLOCK)
		open_without_waiting(files, req, node);
	else if (node->kind == NODE_EMPTY)
		fuse_reply_err(req, ESTALE); /* the VFS looks its name up again */
	else
		keep_open(files, req, node, viewer);
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
		fuse_req_t req = kept->req;
		struct lease_caller caller = kept->caller;
		struct origin origin = kept->origin;

		who_ref(caller.who);
		kept_free(kept);
		open_leased(files, req, node, &caller, &origin);
		who_unref(caller.who);
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

static bool store_bytes(struct files *files, const struct node *node, const char *bytes, size_t n)
{
	struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(0);
	char *copy = copy_out(bytes, n);

	buffer.buf[0].mem = copy;
	buffer.buf[0].size = n;
	int r = fuse_lowlevel_notify_store(files->session, node->id, 0, &buffer, 0);
	wipe_out(copy, n);
	return r == 0;
}

/* Content and size into the kernel, before any OPEN of this node has been answered. A process that
 * died between the two may have stored another lease's bytes there: as many bytes take the place of
 * all of them, another number would not. */
static bool store(struct files *files, struct node *node)
{
	struct download bytes = {0};

	if (node->stored != 0 && node->stored != node->size)
		return false;
	node->stored = node->size;
	records_set_stored(&files->nodes.records, node->record, node->size);

	bool stored = node_render(&files->nodes, node, &bytes) == 0 &&
		      store_bytes(files, node, bytes.bytes, bytes.n);
	download_finish(&bytes);
	return stored;
}

/* What comes with the first OPEN's answer costs no READ. If it fails, a READ it is. */
static void open_cached(struct files *files, fuse_req_t req, struct node *node)
{
	struct lease_caller caller = look_at_caller(files, req);

	if (!node->was_open && files->first_open == FS_FIRST_OPEN_STORE)
		store(files, node);
	files->n_cached++;
	open_leased(files, req, node, &caller, &files->origin);
	who_unref(caller.who);
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
	if (node->error) {
		open_fail_leased(files, node, node->error);
	} else if (files->first_open == FS_FIRST_OPEN_STORE && store(files, node)) {
		node_write(&files->nodes, node);
		open_all(files, node);
	} else {
		/* What was stored before is not its bytes: its name leads to another node. */
		if (node->stored != 0 && node->stored != node->size)
			node_retire(&files->nodes, node);
		else
			node_write(&files->nodes, node);
		open_fail_leased(files, node, ESTALE);
	}
}

/* A report's text goes into the page cache with its first OPEN, so that who has it open can read it
 * whoever serves then. Where that cannot be it is read as it comes. */
static void open_report(struct files *files, fuse_req_t req, struct node *node)
{
	if (files->first_open == FS_FIRST_OPEN_STORE && node->opens == 0 && node->text &&
	    node->size > 0)
		store_bytes(files, node, node->text, node->size);
	reply_open(files, req, node, &files->origin);
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
	reply_open(files, req, node, &files->origin);
}

/* A node of a holder that the caller is not. The holder may have ended, or have been forgotten,
 * between the look at the name and this: so the VFS is made to look again, once. Who comes back to
 * the same node has come by a way that does not ask for the name, and would read another's key. */
static void refuse_foreign(struct files *files, fuse_req_t req, struct node *node,
			   const struct viewer *viewer)
{
	pid_t tid = fuse_req_ctx(req)->pid;

	if (viewer->error) {
		refuse(files, req, node, viewer->error, viewer->reason);
	} else if (node->refused != tid) {
		node->refused = tid;
		fuse_reply_err(req, ESTALE);
	} else {
		node->refused = 0;
		refuse(files, req, node, EACCES,
		       "its reader has come to another's file, by a bind mount of that one file "
		       "or through /proc/PID/fd; bind-mount the folder, which gives each reader "
		       "its own, or use scope shared");
	}
}

/* By its config's lists. */
static bool allowed(struct files *files, fuse_req_t req, const struct node *node)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	const struct access_caller caller = {ctx->uid, ctx->gid, ctx->pid};
	const struct config *config = node->entry->config;

	/* .status is for who is refused. */
	if (!config || (node->kind == NODE_REPORT && !config->access.hide) ||
	    access_allows(&config->access, &caller, &files->holders.mounts))
		return true;
	refuse(files, req, node, EACCES, "it is in none of the lists in the config's access.allow");
	return false;
}

/* True when it may: else it is answered. */
static bool may_open(struct files *files, fuse_req_t req, struct node *node, struct viewer *viewer)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);

	if (!allowed(files, req, node))
		return false;
	if (node->fresh) {
		int error = fresh_may_open(files, node, caller->uid, viewer);

		if (error)
			fuse_reply_err(req, error);
		return error == 0;
	}
	holders_view(&files->holders, node->entry->scopes, caller->uid, caller->pid, viewer);
	if (!viewer->error && node->holder == viewer->node)
		return true;
	refuse_foreign(files, req, node, viewer);
	return false;
}

/* Requests. */

void files_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	struct files *files = files_of(req);
	struct node *node = node_of(req, id); /* NULL: the request is gone */
	struct viewer viewer;

	if (!node)
		return;
	if ((info->flags & O_ACCMODE) != O_RDONLY || info->flags & O_TRUNC)
		fuse_reply_err(req, EROFS);
	else if (!node_alive(node, files->clock->boottime_at(files->clock)))
		fuse_reply_err(req, ESTALE);
	else if (node->error)
		fuse_reply_err(req, node->error);
	else if (!may_open(files, req, node, &viewer))
		return;
	else if (node->kind == NODE_PROBE)
		open_probe(files, req, node);
	else if (node->kind == NODE_REPORT)
		open_report(files, req, node);
	else if (node->kind == NODE_UNLEASED || node->kind == NODE_EMPTY)
		open_empty(files, req, node, &viewer, info->flags);
	else if (node->kind == NODE_LEASED)
		open_cached(files, req, node);
	else
		reply_open(files, req, node, &files->origin);
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
		if (node->text)
			reply_part(req, node->text, node->size, size, offset);
		else
			fuse_reply_err(req, ESTALE); /* it died with an earlier process */
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
	bool was_open = handles_release(&files->nodes.handles, info->fh);

	fuse_reply_err(req, 0);
	if (node)
		poll_released(node, info->fh);
	if (node && node->opens > 0 && was_open)
		let_go(files, node);
}
