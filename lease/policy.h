/*
 * policy.h: the inline policy of a leased user: compact, with its end in it, and counted as IAM
 * counts.
 */
#ifndef DSEC_LEASE_POLICY_H
#define DSEC_LEASE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/error.h"

#define POLICY_SIZE_MAX 2048 /* IAM: characters of inline policy a user, white space not counted   \
			      */

/* Parses and compacts a policy document (members' order kept). Refuses what IAM would refuse on
 * sight: no object, no Version 2012-10-17 or 2008-10-17, no Statement, a statement without Effect
 * Allow/Deny, without (Not)Action or without (Not)Resource, a Principal, an unknown member, a Sid
 * that repeats or is not alphanumeric. *ret is for free(). Fails with DSEC_ERROR_INVALID. */
int policy_compact(char **ret, const char *json, size_t n, struct dsec_error *err);

/* The compact policy (or "" for none) with the dead-man statement, for free():
 * {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2022-02-15T17:04:54Z"}}}
 * appended; whole seconds, rounded up, so that the key never dies before what the reader was told.
 * NULL when memory is short. */
char *policy_with_expiry(const char *compact, int64_t end_ms);

/* Characters as IAM counts them: Unicode characters, white space outside... and inside of strings
 * not counted. */
size_t policy_size(const char *policy);

/* A reason why a user under this policy could undo its own expiry (iam:*, sts:AssumeRole, …:
 * anything that can change users, policies or keys, or assume roles), or NULL. With a permissions
 * boundary nothing is said. The text is static. */
const char *policy_self_undo(const char *compact);

#endif
