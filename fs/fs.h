/*
 * fs.h: leases as files: the mount, the file thread that answers /dev/fuse, and its conversation
 * with the engine.
 *
 * Two threads share nothing but immutable objects (catalog, leases) and two queues. The file thread
 * answers from its own tables and never waits; what must wait (the first OPEN of a key, a report)
 * is kept and answered when the engine has spoken. Everything declared here is for the engine's
 * thread.
 */
#ifndef DSEC_FS_FS_H
#define DSEC_FS_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/download.h"
#include "lease/engine.h"
#include "lease/error.h"

/* Mounting (mount.c). */

enum fs_mount_state {
	FS_MOUNT_NONE,    /* nothing is mounted there */
	FS_MOUNT_ALIVE,   /* a dsec that answers */
	FS_MOUNT_STALE,   /* a dsec whose daemon is dead */
	FS_MOUNT_FOREIGN, /* something else is mounted there */
};

/* What is at this path; never blocks on the mount itself for longer than a second (a daemon that
 * does not answer counts as alive). */
enum fs_mount_state fs_mount_state(const char *mountpoint);

/* Mounts and gives the descriptor of /dev/fuse: by mount(2) for root, with allow_other; through
 * fusermount3 for others, with allow_other where /etc/fuse.conf has user_allow_other (*ret_others
 * says whether others can see it). type fuse.dsec, ro, nosuid, nodev, noexec, default_permissions.
 * The folder must exist. */
int fs_mount(const char *mountpoint, int *ret_fuse_fd, bool *ret_others, struct dsec_error *err);

/* Detaches it, also while files are open; nothing mounted there is success, another's mount is left
 * alone and is an error (DSEC_ERROR_INVALID). */
int fs_unmount(const char *mountpoint, struct dsec_error *err);

/* Attributes of the mount's root, by which the command finds the daemon. */
#define FS_ATTRIBUTE_PID      "user.dsec.pid" /* whom to signal and wait for: the keeper */
#define FS_ATTRIBUTE_STATE    "user.dsec.state"
#define FS_ATTRIBUTE_CONFIG   "user.dsec.config"
#define FS_ATTRIBUTE_WORKER   "user.dsec.worker"   /* pid of the process that serves */
#define FS_ATTRIBUTE_RESTARTS "user.dsec.restarts" /* how many have served before it */
#define FS_ATTRIBUTE_SANDBOX  "user.dsec.sandbox"  /* what the process that serves has given up */
#define FS_ATTRIBUTE_MEMORY   "user.dsec.memory"   /* where secrets are, and of how many leases */
#define FS_ATTRIBUTE_NOTICE   "user.dsec.notice"   /* of the keeper's; absent: none */

/* How an unleased file's first OPEN brings content into the page cache (facts/fuse.md). */
enum fs_first_open {
	FS_FIRST_OPEN_PROBE,  /* by a test on the mount at start */
	FS_FIRST_OPEN_STORE,  /* store content and size into the kernel, then answer OPEN */
	FS_FIRST_OPEN_ESTALE, /* answer ESTALE once; the VFS looks the path up again and finds the
				 size */
};

struct fs;
struct shared;

struct fs_options {
	bool watch_readers; /* what fs_watch_readers() says at first */
	int fuse_fd;        /* mounted; fs_start takes it over, also when it fails */
	const char *mountpoint;
	struct catalog *catalog;
	const struct clock *clock;
	const char *version;      /* the text of .dsec/version, without its newline */
	const char *state_folder; /* FS_ATTRIBUTE_STATE */
	const char *config_file;  /* FS_ATTRIBUTE_CONFIG */
	enum fs_first_open first_open;
	/* A caller has opened so many files of that lease: the first time at once, further ones
	 * some time, at the latest within fs_stop. For the engine's thread; may be NULL. Only while
	 * fs_watch_readers() says so. */
	void (*opened)(void *arg, const struct lease *lease, const struct lease_caller *caller,
		       uint64_t count);
	void *opened_arg;
	/* What outlives this process; NULL: nothing does. It outlives the fs. */
	struct shared *shared;
	pid_t keeper_pid;    /* FS_ATTRIBUTE_PID; 0: this process */
	unsigned restarts;   /* FS_ATTRIBUTE_RESTARTS */
	const char *sandbox; /* FS_ATTRIBUTE_SANDBOX; NULL: nothing */
	const char *memory;  /* FS_ATTRIBUTE_MEMORY; NULL: nothing */
};

/* Starts the file thread; returns when INIT is answered and the probe is done: the mount serves.
 * What readers ask for until the first fs_dispatch waits for it. Forks for a moment (the probe).
 * Where an earlier process has served the mount (shared_resumed) it serves after fs_resume only. */
int fs_start(struct fs **ret, const struct fs_options *options, struct dsec_error *err);

/* Every lease that lives was told by fs_lease: takes up what an earlier process left, and serves.
 * Nothing to do where there was none. */
void fs_resume(struct fs *fs);

/* Stops reading, and leaves what is unanswered to the next process on this mount. Nothing may be
 * called after it: this process is to end. */
void fs_hand_over(struct fs *fs);

/* FS_ATTRIBUTE_NOTICE, from now on. */
void fs_notice(struct fs *fs, const char *text);

/* Is somebody to be told who reads? To look costs some microseconds an OPEN. Not at first. */
void fs_watch_readers(struct fs *fs, bool on);

/* Readable when the file thread has asked for something; fs_dispatch hands it to the engine. The
 * engine's thread must never be kept from it for long: a look at .status waits for it. */
int fs_fd(const struct fs *fs);
void fs_dispatch(struct fs *fs, struct engine *engine);

/* The engine's observer calls this for each event of each lease. */
void fs_lease(struct fs *fs, enum lease_event event, const struct lease *lease);

/* The engine's observer calls this for a lease that is due: it is renewed if a file of it is open.
 */
void fs_due(struct fs *fs, const struct lease *lease);

/* Names mean what this catalog says from now on. It is the one that the engine has: engine_reload
 * and fs_reload are called with no fs_dispatch between them. */
/* The engine's observer calls this for a lease that is replaced: who waits for a file of it in
 * poll(2) is woken. */
void fs_rotated(struct fs *fs, const struct lease *lease);

/* The process that a holder of leases is; false: it is none, or has ended. */
bool fs_process(const struct fs *fs, lease_holder holder, pid_t *ret_pid, uint64_t *ret_start);

void fs_reload(struct fs *fs, struct catalog *catalog);

/* For one who cannot open a file, such as who asks a socket: its bytes, as if he opened it by this
 * path below the mountpoint, but that nobody holds its leases by having it open. Those of a
 * container are the caller's, who waits. What cannot be had so is refused with a sentence:
 * CONFIG@fresh, and the leases of a process. */
typedef void fs_given(void *arg, struct download *bytes, const struct dsec_error *err);

/* Answers through `given`, once, at the latest at read_timeout or within fs_stop, with the bytes,
 * which it may take by leaving an empty buffer, or an error; may answer before it returns, and then
 * returns 0. Else returns what fs_give_up takes. */
uint64_t fs_give(struct fs *fs, struct engine *engine, const char *path,
		 const struct lease_caller *caller, fs_given *given, void *arg);
/* He is gone: `given` is not called. */
void fs_give_up(struct fs *fs, uint64_t give);

/* The kernel has ended the connection: somebody unmounted it. Known after an fs_dispatch. */
bool fs_ended(const struct fs *fs);

/* Answers what waits with ENOTCONN, abandons what it has asked the engine for (so it comes before
 * engine_free), ends the file thread, closes the descriptor. It does not unmount. NULL-safe;
 * returns NULL. */
struct fs *fs_stop(struct fs *fs);

enum fs_first_open fs_first_open_chosen(const struct fs *fs);

#endif
