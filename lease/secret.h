/*
 * secret.h: bytes that must never be printed, swapped, dumped or left behind.
 *
 * A `struct secret` is immutable and reference-counted; it may be shared between threads. Its bytes
 * lie in one arena of the process: memfd_secret(2) where the kernel has it, else locked memory that
 * is left out of cores. There is no conversion to a string: bytes are copied into a buffer that the
 * caller wipes (secret_wipe), and that is all. The last unref wipes the bytes at once, on whatever
 * thread, without taking a lock; new secrets are made by one thread at a time.
 *
 * A forked child has no arena: a secret that it touches is a fault. So the arena is made after the
 * fork into the background. While memfd_secret's memory is held, the machine cannot hibernate (it
 * can suspend).
 */
#ifndef DSEC_LEASE_SECRET_H
#define DSEC_LEASE_SECRET_H

#include <stddef.h>

#include "lease/error.h"

#define SECRET_SIZE_MAX 65536u /* the longest single value: 64 KiB */

struct secret;

/* Reserves the arena; `bytes` is its size for the life of the process. Falls back from memfd_secret
 * to locked memory, and says which in secret_arena_kind(). Fails with DSEC_ERROR_NO_SPACE when
 * RLIMIT_MEMLOCK allows neither. Called once, before any other function here. */
int secret_arena_init(size_t bytes, struct dsec_error *err);

/* How many bytes this process may lock for all that is secret: RLIMIT_MEMLOCK, raised as far as may
 * be. SIZE_MAX: any number. What a privilege lets it lock besides does not count, since a worker
 * gives that up. */
size_t secret_lockable(void);

/* What secret_arena_init takes of that for so many bytes. */
size_t secret_arena_cost(size_t bytes);

/* Wipes the arena and gives it back. No secret may be used any more, not even for unref. */
void secret_arena_finish(void);

/* An arena that outlives the process, so that the next one finds the bytes of live leases. */

/* A descriptor (close-on-exec) of such memory, which whoever makes it need not map: memfd_secret(2)
 * where there is one, else a plain memfd, whose pages are locked only while somebody maps it. Or a
 * negative errno. */
int secret_memory_create(void);

/* secret_arena_init on that memory. The first process gives it its size; what others ask for is
 * ignored. What is in it belongs to nobody until secret_adopt. The descriptor stays the caller's.
 * Its pages are taken by secret_arena_take, or as secrets need them. */
int secret_arena_init_shared(int fd, size_t bytes, struct dsec_error *err);

/* Takes every page of a new arena: a page fault that finds no memory later has nobody to tell. Each
 * page of memfd_secret(2) is taken out of the kernel's own map, on every processor, which makes
 * some milliseconds in all: for whoever serves already, and soon after. */
void secret_arena_take(void);

/* The secret that another process had at this place (secret_place). -EINVAL: there can be none, or
 * the bytes belong to another secret. Before the first secret_new. */
int secret_adopt(struct secret **ret, size_t place, size_t n);
size_t secret_place(const struct secret *secret);

/* Wipes what no secret of this process has. */
void secret_arena_sweep(void);

/* Gives the mapping back and leaves the bytes, for the next process. */
void secret_arena_leave(void);

/* A digest under a key that lies in the arena and nowhere else: it says nothing about short secrets
 * to who cannot read the arena, and the same to each process that shares it. */
#define SECRET_DIGEST_SIZE 16
void secret_digest(unsigned char to[SECRET_DIGEST_SIZE], const char *context,
		   const struct secret *secret);
void secret_digest_bytes(unsigned char to[SECRET_DIGEST_SIZE], const void *bytes, size_t n);

/* "memfd_secret", "locked memory" or "none". */
const char *secret_arena_kind(void);
size_t secret_arena_size(void); /* bytes */
size_t secret_arena_used(void); /* bytes, in units of 16; on any thread */

/* A new secret with one reference. Fails with DSEC_ERROR_NO_SPACE. The caller wipes its own copy.
 */
int secret_new(struct secret **ret, const void *bytes, size_t n, struct dsec_error *err);
struct secret *secret_ref(struct secret *secret);
struct secret *secret_unref(struct secret *secret); /* NULL-safe; returns NULL */

size_t secret_size(const struct secret *secret);

/* Copies up to n bytes from `offset` and returns how many. */
size_t secret_copy(const struct secret *secret, size_t offset, void *to, size_t n);

/* Overwrites memory in a way that the compiler may not leave out. NULL-safe. */
void secret_wipe(void *bytes, size_t n);

static inline void secret_unrefp(struct secret **secret)
{
	secret_unref(*secret);
}
#define _cleanup_secret_ __attribute__((cleanup(secret_unrefp)))

#endif
