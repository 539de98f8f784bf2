/*
 * audit_verify.h: is the audit log what was written?
 */
#ifndef DSEC_LEASE_AUDIT_VERIFY_H
#define DSEC_LEASE_AUDIT_VERIFY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lease/audit_chain.h"
#include "lease/audit_files.h"

#define AUDIT_HEAD_DIGITS_MIN 16 /* of a head that somebody gives */

struct audit_verdict {
	bool good;
	uint64_t lines, first; /* read; the first one's number */
	struct audit_head head;
	uint64_t n_torn; /* fragments that the chain accounts for */
	/* What is wrong first, and where; line 0: with the files as a whole. */
	char problem[DSEC_ERROR_MESSAGE_MAX], file[PATH_MAX];
	uint64_t line;
};

/* Goes through the files in their order, up to the first line that was changed, cut out or put in.
 * The head that was kept (number 0: none) has to be among the lines; and so has the one whose first
 * digits `wanted` has (NULL: none). An error is one of reading. */
int audit_verify(struct audit_verdict *ret, const struct audit_files *files,
		 const struct secret *key, const struct audit_head *kept, const char *wanted,
		 struct dsec_error *err);

#endif
