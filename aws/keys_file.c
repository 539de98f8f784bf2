#include "aws/keys_file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/keys.h"
#include "aws/wipe.h"
#include "lease/alloc.h"
#include "lease/io.h"
#include "lease/opener.h"

static int cannot_read(struct dsec_error *err, const char *path, int error)
{
	dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "%s cannot be read: %s", path, strerror(error));
	return -error;
}

int keys_file_read(char **ret, const char *path, struct dsec_error *err)
{
	int fd = opener_open(path, OPENER_READ);
	_cleanup_wipe_ char *text = NULL;
	struct stat stat;
	ssize_t n;

	if (fd < 0)
		return cannot_read(err, path, -fd);
	if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode)) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "%s is no regular file", path);
	}
	text = alloc_zeroed(KEYS_FILE_MAX + 1, 1);
	n = io_read(fd, text, KEYS_FILE_MAX + 1);
	close(fd);
	if (n < 0)
		return cannot_read(err, path, (int)-n);
	if ((size_t)n > KEYS_FILE_MAX)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "%s has more than %lu bytes",
				      path, KEYS_FILE_MAX);
	if (memchr(text, '\0', (size_t)n))
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "%s is no text", path);
	*ret = text;
	text = NULL;
	return 0;
}
