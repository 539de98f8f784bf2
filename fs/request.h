/*
 * request.h: a request as it comes from /dev/fuse, before libfuse has looked at it.
 */
#ifndef DSEC_FS_REQUEST_H
#define DSEC_FS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 where there is none: the buffer was cleared, or is too short. */
uint64_t request_unique(const void *bytes, size_t n);

/* How long a request is that lies in a buffer of n bytes; 0: none lies there. */
size_t request_size(const void *bytes, size_t n);

/* From here on no request lies there: it needs no answer any more. */
void request_clear(void *bytes);

bool request_is_init(const void *bytes, size_t n);
bool request_is_forget(const void *bytes, size_t n); /* which is never answered */

/* Answers it with an errno, past libfuse. */
void request_refuse(int fuse_fd, const void *bytes, size_t n, int error);

#endif
