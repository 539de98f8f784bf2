/*
 * scratch.h: memory for a text with secrets in it, while it is written and sent.
 *
 * It is what the arena of secret.h is made of: never swapped, never dumped, unreadable from outside
 * where the kernel has memfd_secret(2), gone in a forked child. Unlike the arena's bytes it may be
 * written to. Any thread takes and returns it, and none waits for another.
 *
 * The kernel cannot pin such pages: what goes to /dev/fuse is copied once more, and that copy
 * wiped.
 */
#ifndef DSEC_LEASE_SCRATCH_H
#define DSEC_LEASE_SCRATCH_H

#include <stddef.h>

/* What is locked for it at least, once it is used. */
#define SCRATCH_KEPT                                                                               \
	8u /* two threads, each growing a text from one buffer into the next, and room */
#define SCRATCH_KEPT_SIZE (16ul * 1024)

/* At least *size bytes, all zero; *size becomes how many there are. NULL: there is no memory, or
 * RLIMIT_MEMLOCK is reached. */
void *scratch_new(size_t *size);

/* Wipes it and gives it back; size as scratch_new said. NULL-safe. */
void scratch_free(void *bytes, size_t size);

#endif
