/*
 * mount.c: what is mounted where, and mounting and unmounting it.
 *
 * A mount whose daemon is dead or stuck must not block us: what is there is read from mountinfo,
 * which touches no filesystem, and only a child process ever asks the mount itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

#define MOUNT_TYPE       "fuse.dsec"
#define ALIVE_TIMEOUT_MS 1000
#define FUSE_CONF        "/etc/fuse.conf"

/* A mountpoint as mountinfo writes it, without touching what is mounted there: only its folder is
 * resolved. NULL: no such folder. For free(). */
static char *mountpoint_path(const char *mountpoint)
{
	_cleanup_free_ char *copy = alloc_copy(mountpoint);
	size_t n = strlen(copy);
	char *path = NULL;

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';

	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	if (strcmp(copy, "/") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
		return realpath(copy, NULL);
	if (slash)
		*slash = '\0';

	_cleanup_free_ char *folder = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (folder && asprintf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < 0)
		abort();
	return path;
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		unsigned code;
		if (text[0] == '\\' && sscanf(text + 1, "%3o", &code) == 1) {
			*to++ = (char)code;
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* The type of the last mount at a path, which is the one that is seen. False: none. */
static bool mounted_type(const char *path, char ret_type[64])
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!file)
		return false;
	while (getline(&line, &size, file) > 0) {
		char at[PATH_MAX], type[64];
		const char *rest = strstr(line, " - ");

		if (!rest || sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1 ||
		    sscanf(rest, " - %63s", type) != 1)
			continue;
		unescape(at);
		if (strcmp(at, path) != 0)
			continue;
		found = true;
		memcpy(ret_type, type, sizeof(type));
	}
	fclose(file);
	return found;
}

/* Asks the mount itself. A child that waits for a stuck daemon cannot be killed until that answers
 * or dies, so nobody waits for the child: its parent ends at once and leaves it to init. */
static bool is_dead(const char *path)
{
	int ends[2];
	char dead = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;

	pid_t child = fork();
	if (child == 0) {
		struct statvfs stat;

		if (fork() == 0 && statvfs(path, &stat) < 0 && errno == ENOTCONN) {
			ssize_t n = write(ends[1], "d", 1);
			(void)n;
		}
		_exit(0);
	}
	close(ends[1]);

	struct pollfd fd = {.fd = ends[0], .events = POLLIN};
	if (child > 0) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		if (poll(&fd, 1, ALIVE_TIMEOUT_MS) > 0 && read(ends[0], &dead, 1) < 0)
			dead = 0;
	}
	close(ends[0]);
	return dead;
}

enum fs_mount_state fs_mount_state(const char *mountpoint)
{
	_cleanup_free_ char *path = mountpoint_path(mountpoint);
	char type[64];

	if (!path || !mounted_type(path, type))
		return FS_MOUNT_NONE;
	if (strcmp(type, MOUNT_TYPE) != 0)
		return FS_MOUNT_FOREIGN;
	return is_dead(path) ? FS_MOUNT_STALE : FS_MOUNT_ALIVE;
}

/* Mounting. */

/* May this user let others in? */
static bool others_allowed(void)
{
	if (geteuid() == 0)
		return true;

	FILE *file = fopen(FUSE_CONF, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	bool allowed = false;

	if (!file)
		return false;
	while (!allowed && getline(&line, &size, file) > 0) {
		char word[32], more[2];
		allowed = sscanf(line, "%31s %1s", word, more) == 1 &&
			  strcmp(word, "user_allow_other") == 0;
	}
	fclose(file);
	return allowed;
}

/* libfuse tells why a mount failed to its log alone. */
static char mount_log[256];

static void keep_log(enum fuse_log_level level, const char *format, va_list args)
{
	if (mount_log[0] == '\0')
		vsnprintf(mount_log, sizeof(mount_log), format, args);
}

/* By mount(2) for root, through fusermount3 for others: libfuse knows how. The session serves only
 * to mount. */
static int mount_with(const char *mountpoint, char *options, struct dsec_error *err)
{
	char name[] = "dsec", flag[] = "-o";
	char *argv[] = {name, flag, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	static const struct fuse_lowlevel_ops none;
	int fd = -1;

	mount_log[0] = '\0';
	fuse_set_log_func(keep_log);
	struct fuse_session *session = fuse_session_new(&args, &none, sizeof(none), NULL);
	if (session && fuse_session_mount(session, mountpoint) == 0)
		fd = fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 3);
	int error = errno;
	if (session)
		fuse_session_destroy(session); /* closes its descriptor, leaves the mount */
	fuse_opt_free_args(&args);
	fuse_set_log_func(NULL);
	if (fd >= 0)
		return fd;
	mount_log[strcspn(mount_log, "\n")] = '\0';
	return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot mount at %s: %s", mountpoint,
			      mount_log[0] ? mount_log : strerror(error));
}

int fs_mount(const char *mountpoint, int *ret_fuse_fd, bool *ret_others, struct dsec_error *err)
{
	bool others = others_allowed();
	char options[128];

	snprintf(options, sizeof(options),
		 "fsname=dsec,subtype=dsec,ro,nosuid,nodev,noexec,default_permissions%s",
		 others ? ",allow_other" : "");

	int fd = mount_with(mountpoint, options, err);
	if (fd < 0)
		return fd;
	*ret_fuse_fd = fd;
	*ret_others = others;
	return 0;
}

/* Unmounting. */

static int run_fusermount(const char *path)
{
	char program[] = "fusermount3", unmount[] = "-u", lazy[] = "-z", quiet[] = "-q",
	     end[] = "--", *empty[] = {NULL};
	char *argv[] = {program, unmount, lazy, quiet, end, (char *)path, NULL};
	pid_t child;
	int status, error = posix_spawnp(&child, program, NULL, NULL, argv, empty);

	if (error)
		return -error;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int fs_unmount(const char *mountpoint, struct dsec_error *err)
{
	_cleanup_free_ char *path = mountpoint_path(mountpoint);
	char type[64];

	if (!path || !mounted_type(path, type))
		return 0;
	if (strcmp(type, MOUNT_TYPE) != 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s is a mount of type %s, not dsec's", path, type);

	int r = umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
	if (r == -EPERM)
		r = run_fusermount(path);
	if (r == 0 || r == -EINVAL) /* somebody was faster */
		return 0;
	return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot unmount %s: %s", path, strerror(-r));
}
