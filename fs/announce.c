#include "fs/announce.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME_BYTES 256 /* of the longest name, with its end */
#define FUSE_FD    3
#define PIPE_FD    4

/* Small enough for a pipe to take it whole. */
struct deleted {
	uint64_t folder, node; /* folder 0: there is nothing more */
	char name[NAME_BYTES];
};

static void notify(const struct deleted *deleted)
{
	size_t n = strnlen(deleted->name, NAME_BYTES - 1);
	struct fuse_notify_delete_out out = {
		.parent = deleted->folder,
		.child = deleted->node,
		.namelen = (uint32_t)n,
	};
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + sizeof(out) + n + 1),
		.error = FUSE_NOTIFY_DELETE,
	};
	struct iovec parts[] = {
		{&header, sizeof(header)},
		{&out, sizeof(out)},
		{(void *)deleted->name, n + 1},
	};

	/* ENOENT: the kernel does not know the name (any more). */
	(void)!writev(FUSE_FD, parts, 3);
}

/* Keeps nothing of the process that it was but two descriptors, and so holds up nobody. */
static void run(int fuse_fd, int pipe_fd)
{
	struct deleted deleted;
	ssize_t n;

	/* Out of the way of their new numbers first. */
	fuse_fd = fcntl(fuse_fd, F_DUPFD, PIPE_FD + 1);
	pipe_fd = fcntl(pipe_fd, F_DUPFD, PIPE_FD + 1);
	int null_fd = open("/dev/null", O_RDWR);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (null_fd < 0 || dup2(null_fd, fd) < 0)
			_exit(1); /* nobody is to wait for the end of what we print */
	if (dup2(fuse_fd, FUSE_FD) < 0 || dup2(pipe_fd, PIPE_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, PIPE_FD + 1, ~0U, 0);
	prctl(PR_SET_NAME, "dsec-announce");
	signal(SIGINT, SIG_IGN); /* with its group: it ends when there is nothing to announce */
	signal(SIGTERM, SIG_IGN);
	while ((n = read(PIPE_FD, &deleted, sizeof(deleted))) == sizeof(deleted) ||
	       (n < 0 && errno == EINTR))
		if (n > 0 && deleted.folder == 0)
			break;
		else if (n > 0)
			notify(&deleted);
	_exit(0);
}

int announce_start(int fuse_fd)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[1], F_SETFL, O_NONBLOCK);

	pid_t pid = fork();
	if (pid == 0) {
		/* Its own child does the work, and is nobody's to wait for. */
		if (fork() == 0)
			run(fuse_fd, ends[0]);
		_exit(0);
	}
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return -1;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ends[1];
}

bool announce_end(int fd)
{
	static const struct deleted nothing;

	return write(fd, &nothing, sizeof(nothing)) == sizeof(nothing);
}

void announce_deleted(int fd, uint64_t folder, uint64_t node, const char *name)
{
	struct deleted deleted = {.folder = folder, .node = node};

	if (fd < 0 || strlen(name) >= NAME_BYTES)
		return;
	memcpy(deleted.name, name, strlen(name));
	(void)!write(fd, &deleted, sizeof(deleted));
}
