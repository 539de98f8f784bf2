/*
 * door_who.c: who a process is, from /proc. Everything is read while a pidfd says that the number
 * still means that process.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/door_keeper.h"

#define STAT_START_TIME 20 /* fields from the state, which follows the name, to the start */
#define CGROUP_ROOT     "/sys/fs/cgroup"

static ssize_t read_small(pid_t pid, const char *name, char *to, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, to, size - 1);
	int error = errno;
	close(fd);
	if (n < 0)
		return -error;
	to[n] = '\0';
	return n;
}

/* The name of a process may hold blanks and parentheses: what follows begins at the last one. */
static uint64_t start_time(pid_t pid)
{
	char text[1024];

	if (read_small(pid, "stat", text, sizeof(text)) < 0)
		return 0;
	const char *at = strrchr(text, ')');
	for (unsigned i = 0; at && i < STAT_START_TIME; i++) {
		at = strchr(at + 1, ' ');
	}
	return at ? strtoull(at, NULL, 10) : 0;
}

static void find_cgroup(pid_t pid, struct door_who *ret)
{
	char text[4096], path[PATH_MAX], *rest = NULL;
	struct stat st;

	if (read_small(pid, "cgroup", text, sizeof(text)) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strncmp(line, "0::", 3) != 0 || strlen(line + 3) >= sizeof(ret->cgroup))
			continue;
		snprintf(ret->cgroup, sizeof(ret->cgroup), "%s", line + 3);
		snprintf(path, sizeof(path), CGROUP_ROOT "%s", ret->cgroup);
		if (stat(path, &st) == 0)
			ret->cgroup_inode = st.st_ino;
	}
}

static void find_executable(pid_t pid, struct door_who *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(path, ret->executable, sizeof(ret->executable) - 1);
	ret->executable[n > 0 ? n : 0] = '\0';
}

static bool has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) != 0;
}

int door_find_out(pid_t pid, struct door_who *ret, int *ret_pidfd)
{
	char path[64];
	struct stat st;

	/* A thread's number, which is what a request has, is that of its process only for the
	 * first: Linux 6.9 opens any with PIDFD_THREAD (O_EXCL). */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, O_EXCL);
	if (pidfd < 0 && errno == EINVAL)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : -ESRCH;

	memset(ret, 0, sizeof(*ret)); /* also what lies between its members */
	ret->start_time = start_time(pid);
	find_executable(pid, ret);
	find_cgroup(pid, ret);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	if (stat(path, &st) == 0)
		ret->mount_namespace = st.st_ino;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) == 0)
		ret->uid = st.st_uid;
	if (has_ended(pidfd)) {
		close(pidfd);
		return -ESRCH;
	}
	*ret_pidfd = pidfd;
	return 0;
}

void door_find_sender(pid_t pid, uid_t uid, struct door_sender *ret)
{
	int pidfd = -1;

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	ret->uid = uid;
	if (pid <= 0 || door_find_out(pid, &ret->who, &pidfd) < 0)
		memset(&ret->who, 0, sizeof(ret->who)); /* gone while it was looked at */
	if (pidfd >= 0)
		close(pidfd);
}
