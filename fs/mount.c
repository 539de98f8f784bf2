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
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fs.h"
#include "lease/alloc.h"

#define MOUNT_TYPE       "fuse.dsec"
#define ALIVE_TIMEOUT_MS 4000
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

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && is_octal(text[1]) && is_octal(text[2]) &&
		    is_octal(text[3])) {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
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

/* Says on a descriptor when the mount is dead. It keeps no other open: it may be stuck for long. */
static void ask_mount(const char *path, int to)
{
	struct statfs stat;

	dup2(to, 0);
	close_range(1, ~0U, 0);
	if (statfs(path, &stat) < 0 && errno == ENOTCONN && write(0, "d", 1) < 0)
		_exit(1);
	_exit(0);
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
		if (fork() == 0)
			ask_mount(path, ends[1]);
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

static int mount_directly(const char *mountpoint, struct dsec_error *err)
{
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot open /dev/fuse: %s",
				      strerror(errno));
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions,allow_other", fd,
		 (unsigned)geteuid(), (unsigned)getegid());
	if (mount("dsec", mountpoint, MOUNT_TYPE, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		  options) == 0)
		return fd;

	int error = errno;
	close(fd);
	return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot mount at %s: %s", mountpoint,
			      strerror(error));
}

/* Runs fusermount3 with `more` as its descriptor 3 and its standard error on a pipe, the beginning
 * of which is what it said. 0 when it succeeded; else a negative errno. */
static int run_fusermount(char *const argv[], int more, char said[256])
{
	char commfd[] = "_FUSE_COMMFD=3", *environment[] = {commfd, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], status = -1;
	size_t n = 0;
	ssize_t got = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	if (more >= 0)
		posix_spawn_file_actions_adddup2(&actions, more, 3);
	int error = posix_spawnp(&child, "fusermount3", &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	while (error == 0 && (got = read(ends[0], said + n, 255 - n)) > 0)
		n += (size_t)got;
	close(ends[0]);
	said[n] = '\0';
	said[strcspn(said, "\n")] = '\0';
	while (error == 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			error = errno;
	if (error)
		snprintf(said, 256, "fusermount3: %s", strerror(error));
	return error ? -error : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* The descriptor that fusermount3 sends over the socket it was given, or -1. */
static int receive_descriptor(int from)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -1;

	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static int mount_by_helper(const char *mountpoint, bool others, struct dsec_error *err)
{
	char program[] = "fusermount3", flag[] = "-o", end[] = "--", options[128], said[256];
	char *argv[] = {program, flag, options, end, (char *)mountpoint, NULL};
	int ends[2];

	snprintf(options, sizeof(options),
		 "fsname=dsec,subtype=dsec,ro,nosuid,nodev,noexec,default_permissions%s",
		 others ? ",allow_other" : "");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "socketpair: %s", strerror(errno));

	int r = run_fusermount(argv, ends[1], said);
	close(ends[1]);
	int fd = r == 0 ? receive_descriptor(ends[0]) : -1;
	close(ends[0]);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot mount at %s: %s", mountpoint,
				      r < 0 ? said : "fusermount3 gave no descriptor");
	return fd;
}

int fs_mount(const char *mountpoint, int *ret_fuse_fd, bool *ret_others, struct dsec_error *err)
{
	bool others = others_allowed();
	int fd = geteuid() == 0 ? mount_directly(mountpoint, err)
				: mount_by_helper(mountpoint, others, err);

	if (fd < 0)
		return fd;
	*ret_fuse_fd = fd;
	*ret_others = others;
	return 0;
}

/* Unmounting. */

static int unmount_by_helper(char *path, char said[256])
{
	char program[] = "fusermount3", unmount[] = "-u", lazy[] = "-z", end[] = "--";
	char *argv[] = {program, unmount, lazy, end, path, NULL};

	return run_fusermount(argv, -1, said);
}

int fs_unmount(const char *mountpoint, struct dsec_error *err)
{
	_cleanup_free_ char *path = mountpoint_path(mountpoint);
	char type[64], said[256];

	if (!path || !mounted_type(path, type))
		return 0;
	if (strcmp(type, MOUNT_TYPE) != 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s is a mount of type %s, not dsec's", path, type);

	int r = umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
	snprintf(said, sizeof(said), "%s", strerror(-r));
	if (r == -EPERM)
		r = unmount_by_helper(path, said);
	if (r == 0 || r == -EINVAL) /* somebody was faster */
		return 0;
	return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot unmount %s: %s", path, said);
}
