#include "cli/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "fs/fs.h"

/* What the child that looks sends back, in one write that no pipe splits: it ends where the
 * strings end. */
struct found {
	int error; /* positive errno, or 0 */
	int pid, worker, restarts;
	char notice[256], sandbox[256], memory[256];
	char strings[PIPE_BUF - 4 * sizeof(int) - 768]; /* state NUL config NUL */
};

static int read_text(int fd, const char *name, char *to, size_t size)
{
	ssize_t n = fgetxattr(fd, name, to, size - 1);

	if (n < 0)
		return errno;
	to[n] = '\0';
	return 0;
}

static int read_number(int fd, const char *name, int otherwise)
{
	char text[32];

	return read_text(fd, name, text, sizeof(text)) ? otherwise : (int)strtol(text, NULL, 10);
}

static void look(const char *mountpoint, struct found *ret)
{
	char pid[32];
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret = (struct found){0};
	if (fd < 0) {
		ret->error = errno;
		return;
	}
	char *state = ret->strings;
	ret->error = read_text(fd, FS_ATTRIBUTE_PID, pid, sizeof(pid));
	if (!ret->error)
		ret->error = read_text(fd, FS_ATTRIBUTE_STATE, state, sizeof(ret->strings) / 2);
	if (!ret->error)
		ret->error = read_text(fd, FS_ATTRIBUTE_CONFIG, state + strlen(state) + 1,
				       sizeof(ret->strings) / 2);
	if (!ret->error) {
		ret->pid = (int)strtol(pid, NULL, 10);
		if (ret->pid <= 0)
			ret->error = EPROTO;
	}
	if (!ret->error) { /* an older version's mount does not say */
		ret->worker = read_number(fd, FS_ATTRIBUTE_WORKER, ret->pid);
		ret->restarts = read_number(fd, FS_ATTRIBUTE_RESTARTS, 0);
		if (read_text(fd, FS_ATTRIBUTE_NOTICE, ret->notice, sizeof(ret->notice)))
			ret->notice[0] = '\0';
		if (read_text(fd, FS_ATTRIBUTE_SANDBOX, ret->sandbox, sizeof(ret->sandbox)))
			ret->sandbox[0] = '\0';
		if (read_text(fd, FS_ATTRIBUTE_MEMORY, ret->memory, sizeof(ret->memory)))
			ret->memory[0] = '\0';
	}
	close(fd);
}

/* A request that a hanging daemon does not answer holds its process, from some point on even
 * against SIGKILL. So another process looks, and nobody waits for it when it takes too long. */
static int look_with_deadline(const char *mountpoint, struct found *ret)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return errno;
	pid_t child = fork();
	if (child == 0) {
		struct found found;
		/* Whoever reads our output to its end must not wait for a child that hangs. */
		dup2(fds[1], 0);
		close_range(1, ~0U, 0);
		look(mountpoint, &found);
		_exit(write(0, &found, sizeof(found)) == sizeof(found) ? 0 : 1);
	}
	int number = child < 0 ? errno : 0;
	close(fds[1]);
	if (child > 0) {
		struct pollfd readable = {.fd = fds[0], .events = POLLIN};
		if (poll(&readable, 1, PEER_TIMEOUT_MS) != 1)
			number = ETIMEDOUT;
		else if (read(fds[0], ret, sizeof(*ret)) != sizeof(*ret))
			number = EIO;
		if (number)
			kill(child, SIGKILL);
		else
			waitpid(child, NULL, 0);
	}
	close(fds[0]);
	return number ? number : ret->error;
}

int peer_look(const char *mountpoint, struct peer *ret, struct dsec_error *err)
{
	struct found found = {0};
	struct peer peer;

	switch (look_with_deadline(mountpoint, &found)) {
	case 0:
		break;
	case ETIMEDOUT:
		return dsec_error_set(err, DSEC_ERROR_TIMEOUT,
				      "the daemon that serves %s does not answer", mountpoint);
	case EACCES:
	case EPERM:
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "%s is another user's mount, which cannot be looked into",
				      mountpoint);
	default:
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s does not say who serves it",
				      mountpoint);
	}
	peer = (struct peer){
		.pid = found.pid,
		.worker = found.worker,
		.restarts = (unsigned)found.restarts,
	};
	snprintf(peer.notice, sizeof(peer.notice), "%s", found.notice);
	snprintf(peer.sandbox, sizeof(peer.sandbox), "%s", found.sandbox);
	snprintf(peer.memory, sizeof(peer.memory), "%s", found.memory);
	snprintf(peer.state, sizeof(peer.state), "%s", found.strings);
	snprintf(peer.config, sizeof(peer.config), "%s", found.strings + strlen(found.strings) + 1);
	*ret = peer;
	return 0;
}

int peer_open(const char *mountpoint, struct peer *ret, int *ret_pidfd, struct dsec_error *err)
{
	char path[64], name[32];
	struct peer peer = {0}, again = {0};

	int r = peer_look(mountpoint, &peer, err);
	if (r < 0)
		return r;
	int pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	if (pidfd < 0)
		return dsec_error_set(
			err, DSEC_ERROR_FAULT,
			"the daemon that serves %s (pid %d) cannot be seen from here: %s",
			mountpoint, (int)peer.pid, strerror(errno));
	/* That it still answers with this pid means that the pid was its own all the while; that
	 * its name is right, that its pids are ours (the mount may be seen from another namespace).
	 */
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer.pid);
	file_first_line(path, name, sizeof(name));
	r = peer_look(mountpoint, &again, err);
	if (r == 0 && (again.pid != peer.pid || strcmp(name, "dsec") != 0))
		r = dsec_error_set(err, DSEC_ERROR_FAULT,
				   "pid %d, as %s names its daemon, is no dsec here", (int)peer.pid,
				   mountpoint);
	if (r < 0) {
		close(pidfd);
		return r;
	}
	*ret = peer;
	*ret_pidfd = pidfd;
	return 0;
}

int peer_signal(int pidfd, const struct peer *peer, int number, struct dsec_error *err)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0 || errno == ESRCH)
		return 0;
	if (errno == EPERM)
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "the daemon (pid %d) is another user's", (int)peer->pid);
	return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot signal the daemon (pid %d): %s",
			      (int)peer->pid, strerror(errno));
}

int peer_expect(const char *mountpoint)
{
	switch (fs_mount_state(mountpoint)) {
	case FS_MOUNT_ALIVE:
		return 0;
	case FS_MOUNT_STALE:
		log_line(LOG_ERR,
			 "the daemon that served %s is dead; 'dsec mount' takes its mount over",
			 mountpoint);
		return -ENOTCONN;
	case FS_MOUNT_FOREIGN:
		log_line(LOG_ERR, "what is mounted on %s is no dsec", mountpoint);
		return -EBUSY;
	case FS_MOUNT_NONE:
		break;
	}
	log_line(LOG_ERR, "no dsec is mounted on %s", mountpoint);
	return -ENOENT;
}

int peer_tell(const struct options *options,
	      int (*tell)(const char *mountpoint, struct dsec_error *err))
{
	char mountpoint[PATH_MAX];
	struct dsec_error err;

	int r = paths_mountpoint(mountpoint, options->n_operands ? options->operands[0] : NULL,
				 &err);
	if (r == 0 && peer_expect(mountpoint) < 0)
		return STATUS_FAILED;
	if (r == 0)
		r = tell(mountpoint, &err);
	if (r < 0)
		log_error(LOG_ERR, &err, NULL);
	return r < 0 ? STATUS_FAILED : STATUS_FINE;
}
