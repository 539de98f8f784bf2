#include "cli/background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/log.h"

static int wait_for_child(pid_t child, int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	char byte;
	int n;

	do
		n = poll(&readable, 1, BACKGROUND_START_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		log_line(LOG_ERR, "the daemon (pid %d) was not ready within %d s", (int)child,
			 BACKGROUND_START_TIMEOUT_MS / 1000);
		kill(child, SIGTERM);
		return STATUS_FAILED;
	}
	/* The end of the file instead of a byte: it has ended, and has said why itself. */
	return read(fd, &byte, 1) == 1 ? STATUS_FINE : STATUS_FAILED;
}

int background_fork(int *ret_status)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0) {
		log_line(LOG_ERR, "pipe: %s", strerror(errno));
		*ret_status = STATUS_FAILED;
		return -1;
	}
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		setsid();
		return fds[1];
	}
	close(fds[1]);
	if (child < 0) {
		log_line(LOG_ERR, "fork: %s", strerror(errno));
		*ret_status = STATUS_FAILED;
	} else {
		*ret_status = wait_for_child(child, fds[0]);
	}
	close(fds[0]);
	return -1;
}

void background_detach(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_syslog();
	if (null_fd < 0)
		return;
	dup2(null_fd, STDIN_FILENO);
	dup2(null_fd, STDOUT_FILENO);
	dup2(null_fd, STDERR_FILENO);
	close(null_fd);
}

int background_ready(int ready_fd)
{
	int r = 0;

	/* Before the byte: whoever waits for the end of our stderr gets it with the parent's. */
	background_detach();
	if (write(ready_fd, "", 1) != 1)
		r = -EPIPE; /* SIGPIPE is ignored */
	close(ready_fd);
	return r;
}
