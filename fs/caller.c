#include "fs/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX 4096 /* of the other files in /proc; what is wanted of them stands in front */

#define STAT_PARENT 1 /* fields of /proc/PID/stat, counted from the state behind the name */
#define STAT_START  19

#define ANCESTORS_MAX 1000

static int read_proc(pid_t tid, const char *name, char *to, size_t size)
{
	char path[64];
	size_t n = 0;

	if (tid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (n < size - 1) {
		ssize_t got = read(fd, to + n, size - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	close(fd);
	to[n] = '\0';
	return n > 0 ? (int)n : -ESRCH;
}

/* The name in front of the fields may hold anything, brackets too. */
static int read_stat(pid_t tid, int field, uint64_t *ret)
{
	char text[TEXT_MAX];
	int r = read_proc(tid, "stat", text, sizeof(text));

	if (r < 0)
		return r;

	const char *at = strrchr(text, ')');
	for (int i = 0; at && i <= field; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -EIO;
	*ret = strtoull(at, NULL, 10);
	return 0;
}

/* What stands behind this in its status: within `text`. */
static int read_status(pid_t tid, const char *line, char text[TEXT_MAX], const char **ret)
{
	int r = read_proc(tid, "status", text, TEXT_MAX);

	if (r < 0)
		return r;

	const char *at = strstr(text, line);
	if (!at)
		return -EIO;
	*ret = at + strlen(line);
	return 0;
}

int caller_process(pid_t tid, struct caller *ret)
{
	char text[TEXT_MAX];
	const char *tgid;
	int r = read_status(tid, "\nTgid:\t", text, &tgid);

	if (r < 0)
		return r;
	ret->pid = (pid_t)strtol(tgid, NULL, 10);
	return read_stat(ret->pid, STAT_START, &ret->start);
}

int caller_cgroups(pid_t tid, char to[CALLER_CGROUPS_MAX])
{
	int r = read_proc(tid, "cgroup", to, CALLER_CGROUPS_MAX);

	if (r < 0)
		return r;
	return r < CALLER_CGROUPS_MAX - 1 ? 0 : -ENAMETOOLONG;
}

int caller_mount_namespace(pid_t tid, uint64_t *ret)
{
	char path[64];
	struct stat stat_of;

	if (tid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)tid);
	if (stat(path, &stat_of) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret = stat_of.st_ino;
	return 0;
}

int caller_eldest(pid_t tid, uint64_t namespace, struct caller *ret)
{
	uint64_t of_this = 0;
	int r = caller_mount_namespace(tid, &of_this);

	/* The number may be another's by now. */
	if (r == 0 && of_this != namespace)
		r = -ESRCH;
	if (r == 0)
		r = caller_process(tid, ret);
	for (int i = 0; r == 0 && i < ANCESTORS_MAX; i++) {
		struct caller parent;
		uint64_t pid, of_parent = 0;

		if (read_stat(ret->pid, STAT_PARENT, &pid) < 0 || pid == 0 ||
		    caller_mount_namespace((pid_t)pid, &of_parent) < 0 || of_parent != namespace ||
		    caller_process((pid_t)pid, &parent) < 0)
			break;
		*ret = parent;
	}
	return r;
}

bool caller_has_group(pid_t tid, gid_t gid)
{
	char text[TEXT_MAX], *end;
	const char *at;

	if (read_status(tid, "\nGroups:\t", text, &at) < 0)
		return false;
	while (*at >= '0' && *at <= '9') {
		unsigned long group = strtoul(at, &end, 10);

		if (*end != ' ' && *end != '\n')
			return false; /* it is cut, and may be the beginning of another */
		if (group == gid)
			return true;
		at = *end == ' ' ? end + 1 : end;
	}
	return false;
}
