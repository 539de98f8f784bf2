/*
 * policy.h: identity policies: what AWS would refuse of one, and what one allows.
 *
 * Knows Effect, Action, NotAction, Resource, NotResource and the conditions of condition.h. What it
 * cannot judge counts against the caller: it does not fulfil an Allow and does fulfil a Deny.
 */
#ifndef DSEC_TESTS_IAM_POLICY_H
#define DSEC_TESTS_IAM_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "condition.h"

#define POLICY_REASON_MAX 256

struct policy;

/* NULL: MalformedPolicyDocument, and `reason` (POLICY_REASON_MAX bytes) has AWS's message. */
struct policy *policy_parse(const char *document, char *reason);
struct policy *policy_free(struct policy *policy);

enum policy_verdict {
	POLICY_SILENT, /* neither allows nor denies */
	POLICY_ALLOWS,
	POLICY_DENIES, /* by an explicit Deny, which wins over any Allow */
};

enum policy_verdict policy_judge(const struct policy *policy, const struct policy_request *request);

/* How many characters of a document IAM counts against the quotas: white space is free. */
size_t policy_counted_size(const char *document);

#endif
