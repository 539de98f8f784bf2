#include "cli/harden.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* With a standard descriptor closed, the next open would get its number, and a message to stderr
 * would go into the journal or down /dev/fuse. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Secrets live in locked memory, which counts against this limit, 8 MiB as a rule. */
static void raise_lock_limit(void)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &limit);
	}
}

void harden_process(void)
{
	const struct rlimit no_core = {0};

	open_standard_descriptors();
	umask(077);
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	raise_lock_limit();
	/* A reader of our output or a peer of a connection that goes away is an error to handle,
	 * not a reason to die with leases in hand. */
	signal(SIGPIPE, SIG_IGN);
}
