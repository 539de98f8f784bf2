/*
 * alloc.h: memory without a way to fail.
 *
 * The engine's state must never be half-made, and most of its steps are taken from a callback that
 * has nobody to answer to. So where memory is short the process ends: the journal and the path in
 * IAM bring every user back at the next start, which is what they are for.
 */
#ifndef DSEC_LEASE_ALLOC_H
#define DSEC_LEASE_ALLOC_H

#include <stddef.h>
#include <stdlib.h>

/* n * size zeroed bytes, for free(). */
void *alloc_zeroed(size_t n, size_t size);

/* The block at `bytes` (NULL: none) as n * size bytes; what is new is not zeroed. */
void *alloc_resized(void *bytes, size_t n, size_t size);

/* A copy for free(); NULL stays NULL. */
char *alloc_copy(const char *text);

static inline void alloc_freep(void *pointer)
{
	free(*(void **)pointer);
}
#define _cleanup_free_ __attribute__((cleanup(alloc_freep)))

#endif
