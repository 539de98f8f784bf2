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

/* What a command that is run gets back. */
static struct {
	mode_t mask;
	struct rlimit core, locked;
	sighandler_t pipe_handler;
} before;

void harden_process(void)
{
	struct rlimit no_core;

	open_standard_descriptors();
	before.mask = umask(077);
	prctl(PR_SET_DUMPABLE, 0);
	/* The hard limit stays: what is run may want its cores, and could not raise it again. */
	getrlimit(RLIMIT_CORE, &before.core);
	no_core = (struct rlimit){.rlim_cur = 0, .rlim_max = before.core.rlim_max};
	setrlimit(RLIMIT_CORE, &no_core);
	getrlimit(RLIMIT_MEMLOCK, &before.locked);
	raise_lock_limit();
	/* A reader of our output or a peer of a connection that goes away is an error to handle,
	 * not a reason to die with leases in hand. */
	before.pipe_handler = signal(SIGPIPE, SIG_IGN);
}

void harden_for_good(void)
{
	const struct rlimit no_core = {0};

	setrlimit(RLIMIT_CORE, &no_core);
}

void harden_undo(void)
{
	umask(before.mask);
	setrlimit(RLIMIT_CORE, &before.core);
	setrlimit(RLIMIT_MEMLOCK, &before.locked);
	signal(SIGPIPE, before.pipe_handler);
}
