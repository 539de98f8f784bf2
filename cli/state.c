#include "cli/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli/file.h"
#include "lease/clock.h"
#include "lease/owner.h"
#include "lease/state_folder.h"

#define LOOK_MS 10 /* how often a lock is tried whose owner is dying */

static void read_owner(int fd, char to[32])
{
	ssize_t n = pread(fd, to, 31, 0);

	to[n > 0 ? n : 0] = '\0';
	to[strspn(to, "0123456789")] = '\0';
}

/* Also when its parent has yet to reap it. */
static bool has_ended(pid_t pid)
{
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return pidfd < 0 ? errno == ESRCH : poll(&ended, 1, 0) > 0;
}

/* A keeper that was killed takes its worker with it, but not in the same moment: that holds the
 * lock until it is gone. */
static bool is_dying(int fd)
{
	char owner[32];

	read_owner(fd, owner);
	return owner[0] && has_ended((pid_t)strtol(owner, NULL, 10));
}

/* 0 or a negative errno: to look at the owner changes errno itself. */
static int lock(int fd)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};

	for (int waited_ms = 0;; waited_ms += LOOK_MS) {
		int r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
		if (r != -EWOULDBLOCK || waited_ms >= STATE_DYING_MS || !is_dying(fd))
			return r;
		nanosleep(&pause, NULL);
	}
}

static int refuse_second(int fd, const char *folder, struct dsec_error *err)
{
	char owner[32];

	read_owner(fd, owner);
	dsec_error_set(err, DSEC_ERROR_FAULT, "another dsec (pid %s) uses the state folder %s",
		       owner[0] ? owner : "unknown", folder);
	return -EBUSY;
}

/* flock(2), since its lock belongs to the open file: it is gone with the daemon, however it dies,
 * and nothing that the daemon opens or closes lets it go before. */
static int take_lock(int folder_fd, const char *folder, int *ret_fd, struct dsec_error *err)
{
	char owner[32];

	int fd = openat(folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot open %s/lock: %s", folder,
				      strerror(errno));
	int n = snprintf(owner, sizeof(owner), "%d\n", (int)getpid());
	int r = lock(fd);
	if (r == -EWOULDBLOCK)
		r = refuse_second(fd, folder, err);
	else if (r < 0)
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "cannot lock %s/lock: %s", folder,
				   strerror(-r));
	else if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, (size_t)n, 0) != n)
		r = dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s/lock: %s", folder,
				   strerror(errno));
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int state_lock(char ret_folder[PATH_MAX], int *ret_lock_fd, const char *folder,
	       struct dsec_error *err)
{
	_cleanup_fd_ int folder_fd = state_folder_open(folder, err);

	if (folder_fd < 0)
		return folder_fd;
	if (!realpath(folder, ret_folder))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));
	return take_lock(folder_fd, ret_folder, ret_lock_fd, err);
}

int state_open(struct state *ret, const char *folder, struct dsec_error *err)
{
	struct state state = {0};
	_cleanup_fd_ int folder_fd = state_folder_open(folder, err);

	if (folder_fd < 0)
		return folder_fd;
	snprintf(state.folder, sizeof(state.folder), "%s", folder);
	/* The salt is made with the id, and the id is not known without it. */
	state.fresh = faccessat(folder_fd, "daemon.salt", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
		      errno == ENOENT;

	int r = identity_load(state.daemon_id, state.folder, &system_clock, err);
	if (r == 0)
		*ret = state;
	return r;
}

/* The folder may have been a worker's before: what lies there is believed to be what it is called
 * only as far as it can do no harm. */
static int give(int folder_fd, const char *name, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid == uid ||
	    !owner_may_have(st.st_uid))
		return 0;
	return fchownat(folder_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int state_give(const char *folder, uid_t uid, gid_t gid, struct dsec_error *err)
{
	int folder_fd = state_folder_open(folder, err), r = 0;

	if (folder_fd < 0)
		return folder_fd;
	DIR *dir = fdopendir(folder_fd); /* takes it over */
	if (!dir || fchown(folder_fd, uid, gid) < 0)
		r = -errno;
	for (struct dirent *entry; dir && r == 0 && (entry = readdir(dir));)
		r = give(folder_fd, entry->d_name, uid, gid);
	if (dir)
		closedir(dir);
	else
		close(folder_fd);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "cannot make %s the worker's (user %u): %s", folder, uid,
				      strerror(-r));
	return 0;
}
