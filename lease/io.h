/*
 * io.h: read(2) and write(2) that no signal cuts short.
 */
#ifndef DSEC_LEASE_IO_H
#define DSEC_LEASE_IO_H

#include <stddef.h>
#include <sys/types.h>

/* Fewer bytes than `size` only where the file ends. How many, or a negative errno. */
ssize_t io_read(int fd, char *to, size_t size);

/* All of it: 0 or a negative errno. */
int io_write(int fd, const char *bytes, size_t n);

#endif
