/*
 * secret_arena.h: the arena behind secret.h: where its memory comes from, and for its tests what
 * lies in it.
 */
#ifndef DSEC_LEASE_SECRET_ARENA_H
#define DSEC_LEASE_SECRET_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "lease/error.h"

enum secret_arena_source {
	SECRET_ARENA_BEST,   /* memfd_secret(2), else locked memory */
	SECRET_ARENA_LOCKED, /* as on a kernel without memfd_secret(2) */
};

/* Memory as the arena's, zeroed, for munmap(2); `bytes` is a multiple of the page's size. NULL with
 * errno set. */
void *secret_map(size_t bytes);

/* secret_arena_init, told where to take the memory from. */
int secret_arena_init_from(enum secret_arena_source source, size_t bytes, struct dsec_error *err);

/* The arena's first byte. */
const void *secret_arena_address(void);

/* Are these bytes anywhere in the arena? */
bool secret_arena_contains(const void *bytes, size_t n);

#endif
