#include "aws/trust.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/io.h"
#include "lease/opener.h"

static bool is_same(const struct trust *trust, const struct stat *st)
{
	return trust->bytes && trust->device == st->st_dev && trust->inode == st->st_ino &&
	       trust->n == (size_t)st->st_size && trust->changed.tv_sec == st->st_mtim.tv_sec &&
	       trust->changed.tv_nsec == st->st_mtim.tv_nsec;
}

static int read_open(struct trust *trust, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if ((size_t)st.st_size > TRUST_FILE_MAX)
		return -EFBIG;
	if (is_same(trust, &st))
		return 0;
	trust_finish(trust);
	*trust = (struct trust){
		.bytes = alloc_zeroed((size_t)st.st_size + 1, 1),
		.n = (size_t)st.st_size,
		.device = st.st_dev,
		.inode = st.st_ino,
		.changed = st.st_mtim,
	};
	ssize_t n = io_read(fd, trust->bytes, trust->n);
	if (n == (ssize_t)trust->n)
		return 0;
	trust_finish(trust);
	return n < 0 ? (int)n : -EIO;
}

int trust_read(struct trust *trust, const char *path, struct dsec_error *err)
{
	int fd = opener_open(path, OPENER_READ);
	int r = fd < 0 ? fd : read_open(trust, fd);

	if (fd >= 0)
		close(fd);
	if (r < 0)
		dsec_error_set(err, DSEC_ERROR_INVALID, "the ca_file %s cannot be read: %s", path,
			       strerror(-r));
	return r;
}

void trust_finish(struct trust *trust)
{
	free(trust->bytes);
	*trust = (struct trust){0};
}
