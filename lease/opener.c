#include "lease/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

static struct {
	opener_fn *fn;
	void *arg;
} opener;

void opener_set(opener_fn *fn, void *arg)
{
	opener.fn = fn;
	opener.arg = arg;
}

int opener_open(const char *path, enum opener_how how)
{
	const int common = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd;

	if (opener.fn)
		return opener.fn(opener.arg, path, how);
	fd = how == OPENER_READ ? open(path, O_RDONLY | common)
				: open(path, O_RDWR | O_APPEND | O_CREAT | common, 0600);
	return fd < 0 ? -errno : fd;
}
