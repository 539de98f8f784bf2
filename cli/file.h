/*
 * file.h: small files, and descriptors that close themselves.
 */
#ifndef DSEC_CLI_FILE_H
#define DSEC_CLI_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "lease/alloc.h" /* _cleanup_free_ */

static inline void close_fdp(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(close_fdp)))

/* The first line, without its end, cut at size; "" where there is none or it cannot be read. */
void file_first_line(const char *path, char *to, size_t size);

/* The whole of a file of at most `max` bytes, terminated, for free(). 0 or a negative errno; -EFBIG
 * for a longer one. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_n);

#endif
