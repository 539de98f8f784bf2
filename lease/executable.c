#include "lease/executable.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	executable_fn *fn;
	void *arg;
} through;

void executable_use(executable_fn *fn, void *arg)
{
	through.fn = fn;
	through.arg = arg;
}

int executable_of(pid_t pid, char *to, size_t size)
{
	char link[32];

	if (through.fn)
		return through.fn(through.arg, pid, to, size);
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(link, to, size - 1);
	if (n < 0)
		return -errno;
	to[n] = '\0';
	return 0;
}
