/*
 * wipe.h: an allocator that leaves nothing behind: whatever is freed or moved is overwritten first.
 *
 * libcurl, OpenSSL, expat and jansson are given it, because each of them copies keys (passwords,
 * headers, request and answer buffers) and frees the copies as they are. The blocks are malloc's,
 * so it does no harm where one of them frees what plain malloc gave.
 */
#ifndef DSEC_AWS_WIPE_H
#define DSEC_AWS_WIPE_H

#include <stddef.h>

void *wipe_malloc(size_t n);
void *wipe_calloc(size_t n, size_t size);
void *wipe_realloc(void *old, size_t n);
char *wipe_strdup(const char *text);
void wipe_free(void *bytes); /* NULL-safe */

static inline void wipe_freep(void *pointer)
{
	wipe_free(*(void **)pointer);
}
#define _cleanup_wipe_ __attribute__((cleanup(wipe_freep)))

#endif
