#include "lease/who.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/container.h"

#define FILE_MAX       4096 /* of a file in /proc that is read; a cgroup's path ends before */
#define STAT_STARTTIME 19   /* in /proc/PID/stat, counted from the state behind the name */

/* Up to the buffer's size, terminated; false when it is not to be had. */
static bool read_file(int folder_fd, const char *name, char to[FILE_MAX])
{
	int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, to, FILE_MAX - 1);
	close(fd);
	to[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool read_executable(int folder_fd, char to[WHO_TEXT_MAX])
{
	ssize_t n = readlinkat(folder_fd, "exe", to, WHO_TEXT_MAX - 1);

	to[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The thread's process. "Tgid:\t123" */
static pid_t read_pid(int folder_fd)
{
	char text[FILE_MAX];
	const char *at = read_file(folder_fd, "status", text) ? strstr(text, "\nTgid:") : NULL;

	return at ? (pid_t)strtol(at + strlen("\nTgid:"), NULL, 10) : 0;
}

/* The time of the start, in ticks since the machine's own. The name in front of it may hold
 * anything, brackets too. */
static uint64_t read_start(int folder_fd)
{
	char text[FILE_MAX];
	const char *at = read_file(folder_fd, "stat", text) ? strrchr(text, ')') : NULL;

	for (int i = 0; at && i <= STAT_STARTTIME; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	return strtoull(at, NULL, 10);
}

/* Has it ended, and is only waited for? */
static bool read_ended(int folder_fd)
{
	char text[FILE_MAX];
	const char *at = read_file(folder_fd, "stat", text) ? strrchr(text, ')') : NULL;

	return !at || at[1] != ' ' || strchr("ZX", at[2]);
}

static int64_t calendar_of(uint64_t start, const struct clock *clock)
{
	int64_t start_at = (int64_t)start * 1000 / sysconf(_SC_CLK_TCK);

	return clock->calendar_ms(clock) - (clock->boottime_at(clock) - start_at);
}

/* Not the command line: that is the process's own memory, and reading it waits for locks that a
 * fault on a file of this very mount may hold. */
static void read_command(int folder_fd, char to[16])
{
	char text[FILE_MAX];

	snprintf(to, 16, "%.15s", read_file(folder_fd, "comm", text) ? text : "");
	to[strcspn(to, "\n")] = '\0';
}

/* The path in the unified hierarchy ("0::/…"); on a machine that has none, in the first one. */
static bool read_cgroup(int folder_fd, char to[WHO_TEXT_MAX])
{
	char text[FILE_MAX], *next = text, *row;

	to[0] = '\0';
	if (!read_file(folder_fd, "cgroup", text))
		return false;
	while ((row = strsep(&next, "\n"))) {
		bool unified = strncmp(row, "0::", 3) == 0;
		const char *controllers = strchr(row, ':');
		const char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (path && (unified || !*to))
			snprintf(to, WHO_TEXT_MAX, "%s", path + 1);
		if (unified)
			break;
	}
	return *to;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* The outermost container, since what runs in it may make cgroups of any name below its own; else
 * the innermost unit of systemd. */
bool who_container(char to[WHO_TEXT_MAX], const char *cgroup)
{
	char path[WHO_TEXT_MAX], *next = path, *part;
	const char *parent = "", *unit = NULL;

	snprintf(path, sizeof(path), "%s", cgroup);
	while ((part = strsep(&next, "/"))) {
		if (container_name(to, WHO_TEXT_MAX, parent, part))
			return true;
		if (ends_with(part, ".service") || ends_with(part, ".scope"))
			unit = part;
		parent = part;
	}
	if (unit)
		snprintf(to, WHO_TEXT_MAX, "%s", unit);
	return unit;
}

int who_open(pid_t tid)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/%d", (int)tid);
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

struct who *who_read(int folder_fd, const struct clock *clock)
{
	char executable[WHO_TEXT_MAX], cgroup[WHO_TEXT_MAX], container[WHO_TEXT_MAX];
	pid_t pid = read_pid(folder_fd);

	if (pid <= 0)
		return NULL;
	struct who *who = alloc_zeroed(1, sizeof(*who));
	who->references = 1;
	who->pid = pid;
	who->start = read_start(folder_fd);
	if (who->start != 0)
		who->started_ms = calendar_of(who->start, clock);
	read_command(folder_fd, who->command);
	if (read_executable(folder_fd, executable))
		who->executable = alloc_copy(executable);
	if (read_cgroup(folder_fd, cgroup)) {
		who->cgroup = alloc_copy(cgroup);
		if (who_container(container, cgroup))
			who->container = alloc_copy(container);
	}
	return who;
}

bool who_same(int folder_fd, const struct who *who)
{
	char executable[WHO_TEXT_MAX], command[sizeof(who->command)];

	if (read_executable(folder_fd, executable))
		return who->executable && strcmp(executable, who->executable) == 0;
	if (errno != EACCES || who->executable)
		return false;             /* it is gone */
	read_command(folder_fd, command); /* "" when it is gone */
	return command[0] && strcmp(command, who->command) == 0;
}

static char *copy(const char *text)
{
	return text && *text ? alloc_copy(text) : NULL;
}

struct who *who_with(const struct who *who, const char *executable)
{
	struct who *with = alloc_zeroed(1, sizeof(*with));

	with->references = 1;
	with->pid = who->pid;
	with->start = who->start;
	with->started_ms = who->started_ms;
	memcpy(with->command, who->command, sizeof(with->command));
	with->executable = copy(executable);
	with->cgroup = copy(who->cgroup);
	with->container = copy(who->container);
	return with;
}

struct who *who_known(pid_t pid, uint64_t start, const char *executable, const char *cgroup,
		      const struct clock *clock)
{
	struct who *who = alloc_zeroed(1, sizeof(*who));
	char container[WHO_TEXT_MAX];

	who->references = 1;
	who->pid = pid;
	who->start = start;
	who->started_ms = calendar_of(start, clock);
	who->executable = copy(executable);
	who->cgroup = copy(cgroup);
	if (who->cgroup && who_container(container, cgroup))
		who->container = alloc_copy(container);
	return who;
}

struct who *who_look(pid_t tid, const struct clock *clock)
{
	int folder_fd = tid > 0 ? who_open(tid) : -ESRCH;

	if (folder_fd < 0)
		return NULL;
	struct who *who = who_read(folder_fd, clock);
	close(folder_fd);
	return who;
}

bool who_lives(pid_t pid, uint64_t start)
{
	int folder_fd = pid > 0 ? who_open(pid) : -ESRCH;

	if (folder_fd < 0)
		return false;
	bool lives = read_start(folder_fd) == start && !read_ended(folder_fd);
	close(folder_fd);
	return lives;
}

struct who *who_ref(struct who *who)
{
	if (who)
		who->references++;
	return who;
}

struct who *who_unref(struct who *who)
{
	if (!who || --who->references > 0)
		return NULL;
	free(who->executable);
	free(who->cgroup);
	free(who->container);
	free(who);
	return NULL;
}
