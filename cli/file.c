#include "cli/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void file_first_line(const char *path, char *to, size_t size)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, to, size - 1) : 0;

	to[n > 0 ? n : 0] = '\0';
	to[strcspn(to, "\n")] = '\0';
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_n)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t n = 0, size = 4096;
	char *text = malloc(size + 1);

	while (text) {
		ssize_t got = read(fd, text + n, size - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || n > max) {
			int r = got < 0 ? -errno : -EFBIG;
			free(text);
			return r;
		}
		n += (size_t)got;
		if (got == 0) {
			text[n] = '\0';
			*ret = text;
			*ret_n = n;
			return 0;
		}
		if (n == size) {
			char *larger = realloc(text, 2 * size + 1);
			if (!larger)
				break;
			text = larger;
			size *= 2;
		}
	}
	free(text);
	return -ENOMEM;
}
