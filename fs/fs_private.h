/*
 * fs_private.h: the file thread: one loop over /dev/fuse and the messages of the engine's thread.
 *
 * It never waits: not for a lock, the network, a disk or the engine. A request that must wait is
 * kept (struct kept) and answered when its message comes, when its caller is interrupted, or when
 * the thread is stopped.
 *
 * What it sends to the kernel of its own accord is one notification only, the store before the
 * first OPEN's answer of a node: nobody can hold a page of it locked then. Every other notification
 * takes page locks that a READ may hold which this thread has yet to answer, so the engine's thread
 * sends it (facts: a daemon that notifies from the thread that serves ends in uninterruptible
 * sleep). A notification that drops a name is never sent for a folder in which a LOOKUP may be
 * kept: the LOOKUP holds the folder's lock and waits for the engine's thread.
 */
#ifndef DSEC_FS_FS_PRIVATE_H
#define DSEC_FS_FS_PRIVATE_H

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/access.h"
#include "fs/announce.h"
#include "fs/callers.h"
#include "fs/fs.h"
#include "fs/holders.h"
#include "fs/message.h"
#include "fs/node.h"
#include "fs/path.h"
#include "fs/queue.h"
#include "fs/shared.h"
#include "lease/list.h"

/* Requests that may be kept at once; one more is refused with EAGAIN. */
#define FILES_KEPT_MAX SHARED_KEPT_MAX

/* How long the kernel may believe a name or attributes that do not change by themselves: after a
 * reload it may be wrong for as long. */
#define FILES_CACHE_MS 5000

/* How long the end of a mount may wait for the process that announces (announce.h). */
#define FILES_END_MS 5000

/* A request that kills each process that takes it up is refused by the next. */
#define FILES_TRIES_MAX 3

/* Where a request came from. */
struct origin {
	uint64_t unique;
	bool replayed; /* an earlier process had read it, and may have answered it */
};

/* The file thread's own state. */
struct files {
	struct fuse_session *session;
	int epoll_fd; /* the session's descriptor and the inbox's */
	struct shared *shared;
	int fuse_fd;         /* the session's */
	int announce_fd;     /* for announce_deleted; -1: none */
	struct queue inbox;  /* from the engine's thread */
	struct queue outbox; /* to it */
	const struct clock *clock;
	struct nodes nodes;
	struct callers callers;
	_Atomic bool watches_readers;
	_Atomic uint64_t n_cached; /* opens that needed no answer of the engine */
	struct holders holders;
	enum fs_first_open first_open;
	bool probing; /* .dsec/.probe is there */
	bool stopping;
	bool handing_over; /* stop, and leave what is unanswered to the next process */
	bool initialised;  /* INIT is answered */
	bool held;         /* nothing is read before the leases of an earlier process are known */
	uint64_t last_id;  /* of acquires and questions */
	/* The request that libfuse is at, which kept_new keeps. */
	const void *request;
	size_t request_n;
	struct origin origin;
	int replayed_slot; /* where in shared->kept it came from; -1: nowhere */
	int *free_slots;   /* of shared->kept, below kept_used */
	size_t n_free_slots, free_slots_size;
	int answered_slot; /* of what kept_free has freed last, and is answered by now; -1: none */
	struct list questions; /* kept LOOKUPs of reports, oldest first */
	size_t n_kept;
	pid_t pid;
	unsigned restarts;
	char *state_folder, *config_file, *sandbox, *memory;
	char *notice; /* of the keeper's; NULL: none */
};

/* A request that is answered later. */
struct kept {
	struct list link; /* in files->questions or node->waiters */
	struct files *files;
	fuse_req_t req;
	struct lease_caller caller; /* OPEN: with a reference to who it is */
	struct node *node;          /* OPEN */
	uint64_t question;          /* LOOKUP */
	struct origin origin;
	int slot; /* in shared->kept; -1: it had no room */
};

/* session.c */

/* Opens the session on a mounted descriptor, which it takes over, also when it fails. */
int session_open(struct files *files, int fuse_fd, struct dsec_error *err);
int session_watch(struct files *files, struct dsec_error *err); /* before session_run */
void session_close(struct files *files);
void *session_run(void *arg); /* the thread; arg is the files */

/* All but queues, session and shared memory, which are there already; takes over the reference to
 * the tree. */
void files_init(struct files *files, const struct fs_options *options, struct tree *tree);
void files_finish(struct files *files);

/* Does what a message of the engine's thread says, and sends it back or frees it. */
void files_take(struct files *files, struct message *message);

static inline struct files *files_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* NULL for a node that the kernel knows and we do not: it is from an earlier life. The request is
 * answered then, and gone: the VFS looks the path up again. */
static inline struct node *node_of(fuse_req_t req, fuse_ino_t id)
{
	struct node *node = nodes_find(&files_of(req)->nodes, id);

	if (!node)
		fuse_reply_err(req, ESTALE);
	return node;
}

/* kept.c */

/* NULL: there are too many, and the request is answered. */
struct kept *kept_new(struct files *files, fuse_req_t req);
void kept_free(struct kept *kept); /* leaves its list; the request is the caller's to answer */

/* Begins with what an earlier process kept. */
void kept_begin(struct files *files);
void kept_finish(struct files *files);
/* What was freed last is answered: the next process need not. */
void kept_settle(struct files *files);
void kept_clear(struct files *files, int slot);

/* replay.c */

/* Has libfuse work on a request. */
void files_process(struct files *files, const void *bytes, size_t n);

/* What an earlier process had read and not answered, in the order in which it came. */
void files_replay(struct files *files);

/* lookup.c */

void files_lookup(fuse_req_t req, fuse_ino_t folder, const char *name);
void files_forget(fuse_req_t req, fuse_ino_t id, uint64_t lookups);
void files_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void files_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void files_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		   struct fuse_file_info *info);
double cache_seconds(int64_t ms);
void reply_entry(struct files *files, fuse_req_t req, struct node *node, int64_t entry_ms);
/* The config that a name in a project's folder means, with its options; NULL: there is none. */
const struct entry *find_config(const struct entry *project, const char *name,
				struct path_options *options);
/* May the caller see what belongs to this config (NULL: to none)? */
bool shown_to(struct files *files, fuse_req_t req, const struct config *config);
double attributes_seconds(const struct node *node);

/* open.c */

void files_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void files_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		struct fuse_file_info *info);
void files_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void open_acquired(struct files *files, const struct message *message);
/* Answers every kept OPEN of a node. */
void open_fail(struct files *files, struct node *node, int error);

/* fresh.c: CONFIG@fresh, a lease for each open file alone */

/* A node of its own for each look at a file that needs leases. */
void fresh_look_up(struct files *files, fuse_req_t req, const struct node *folder,
		   const struct entry *entry);
/* May this caller open the node? 0 or a positive errno. */
int fresh_may_open(const struct files *files, struct node *node, uid_t uid, struct viewer *ret);
/* Nobody has it open any more, or ever will: its leases end. */
void fresh_end(struct files *files, struct node *node, const char *how);

/* poll.c */

void files_poll(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info,
		struct fuse_pollhandle *handle);
void poll_wake(struct files *files, struct node *node); /* who waits for it looks again */
void poll_wake_all(struct files *files);                /* and whom an earlier process knew */
void poll_released(struct node *node, uint64_t fh);
void poll_notify(int fuse_fd, uint64_t kh); /* for the engine's thread */

/* report.c */

void report_ask(struct files *files, fuse_req_t req, const struct entry *entry);
void report_answered(struct files *files, const struct message *message);
void report_fail(struct files *files, int error);

/* attributes.c */

void files_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void files_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size);
void files_listxattr(fuse_req_t req, fuse_ino_t id, size_t size);
void files_statfs(fuse_req_t req, fuse_ino_t id);

/* readonly.c: EROFS for whatever would change something. */

void readonly_refuse(struct fuse_lowlevel_ops *ops);

/* probe.c */

#define PROBE_NAME ".probe"
extern const struct entry probe_entry;
extern const char probe_text[];

/* Which way of answering a first OPEN works on this kernel: reads the probe on the fresh mount as a
 * program would that uses sendfile(2). For the engine's thread, while the file thread serves. */
enum fs_first_open probe_mount(const char *mountpoint);

#endif
