/*
 * probe.c: does storing into the page cache before OPEN is answered give a reader everything?
 *
 * A child process reads .dsec/.probe, which the file thread serves like an unleased file: size 0
 * until it is opened. It reads with sendfile(2), as busybox cat does, which takes only what the
 * page cache and the size of that moment give. The child is a copy of a process with threads, so it
 * calls nothing that is not async-signal-safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs_private.h"

/* How long the child may take; it takes a millisecond. */
#define PROBE_TIMEOUT_MS 5000

const char probe_text[] = "dsec asks: does this kernel keep what is stored before an open?\n";

const struct entry probe_entry = {
	.kind = ENTRY_PROBE,
	.name = PROBE_NAME,
	.mode = S_IFREG | 0444,
	.ino = 3,
};

static void read_probe(const char *path, int to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
	/* From the second call on there is nothing left, which ends it. */
	for (;;) {
		ssize_t n = sendfile(to, fd, NULL, sizeof(probe_text));
		if (n <= 0)
			_exit(n < 0);
	}
}

static int64_t now_ms(void)
{
	return system_clock.boottime_at(&system_clock);
}

/* Reads to the end, or to the deadline; returns how many bytes, or -1. */
static ssize_t collect(int from, char *to, size_t size)
{
	int64_t deadline = now_ms() + PROBE_TIMEOUT_MS;
	size_t n = 0;

	while (n < size) {
		int64_t left = deadline - now_ms();
		struct pollfd fd = {.fd = from, .events = POLLIN};

		if (left <= 0 || poll(&fd, 1, (int)left) < 0)
			return -1;
		if (fd.revents == 0)
			continue;

		ssize_t got = read(from, to + n, size - n);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

enum fs_first_open probe_mount(const char *mountpoint)
{
	char path[PATH_MAX], text[sizeof(probe_text) + 1];
	int ends[2];

	if (snprintf(path, sizeof(path), "%s/.dsec/%s", mountpoint, PROBE_NAME) >=
		    (int)sizeof(path) ||
	    pipe2(ends, O_CLOEXEC) < 0)
		return FS_FIRST_OPEN_ESTALE;

	pid_t child = fork();
	if (child == 0)
		read_probe(path, ends[1]);
	close(ends[1]);

	ssize_t n = child < 0 ? -1 : collect(ends[0], text, sizeof(text));
	close(ends[0]);
	/* One that hangs is left to itself where this process may not kill. */
	if (child > 0 && (n >= 0 || kill(child, SIGKILL) == 0)) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return n == (ssize_t)strlen(probe_text) && memcmp(text, probe_text, (size_t)n) == 0
		       ? FS_FIRST_OPEN_STORE
		       : FS_FIRST_OPEN_ESTALE;
}
