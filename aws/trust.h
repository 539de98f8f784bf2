/*
 * trust.h: the certificates of a private CA, read by dsec itself: the process that speaks TLS may
 * not be one that can open the file (opener.h).
 */
#ifndef DSEC_AWS_TRUST_H
#define DSEC_AWS_TRUST_H

#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "lease/error.h"

#define TRUST_FILE_MAX                                                                             \
	(4ul * 1024 * 1024) /* the bundles of all public CAs are a quarter of one                  \
			     */

/* What was read, and of which file as it was then. All zero: nothing. */
struct trust {
	char *bytes;
	size_t n;
	dev_t device;
	ino_t inode;
	struct timespec changed;
};

/* Reads the file unless it is as it was. DSEC_ERROR_INVALID with what is wrong. */
int trust_read(struct trust *trust, const char *path, struct dsec_error *err);
void trust_finish(struct trust *trust);

#endif
