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

/* IAM's limit on the inline policies of a user, in characters as policy_size counts them. */
#define POLICY_SIZE_MAX 2048

/* The longest text of a policy that is looked at, white space and all. */
#define POLICY_TEXT_MAX 131072

/* Parses and compacts a policy document (members' order kept). Refuses what IAM would refuse on
 * sight: no object, no Version 2012-10-17 or 2008-10-17, no Statement, a statement without Effect
 * Allow/Deny, without (Not)Action or without (Not)Resource, a Principal, an unknown member, a Sid
 * that repeats or is not alphanumeric, a character beyond U+00FF; and more than
 * POLICY_TEXT_MAX bytes. *ret is for free(). Fails with DSEC_ERROR_INVALID. */
int policy_compact(char **ret, const char *json, size_t n, struct dsec_error *err);

/* The compact policy (or "" for none) with the dead-man statement, for free():
 * {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2022-02-15T17:04:54Z"}}}
 * appended; whole seconds, rounded up, so that the key never dies before what the reader was told.
 * NULL when memory is short. */
char *policy_with_expiry(const char *compact, int64_t end_ms);

/* Characters as IAM counts them: Unicode characters of the document as it is sent, white space
 * between its parts not counted. IAM's documents do not say whether white space within a string
 * counts; here it does, so that a policy is rather refused when the configuration is read than when
 * a reader waits. */
size_t policy_size(const char *policy);

/* How a user under this policy could undo its own expiry or outlive it ("it allows iam:CreateUser,
 * which …"), or NULL: an Allow of anything that changes users, policies or keys, or that assumes or
 * passes a role, whatever its Resource and Condition, unless a Deny without a Condition on all
 * resources takes it back. A permissions boundary can prevent it, which is for the caller to know.
 * The text is static. */
const char *policy_self_undo(const char *compact);

#endif
