/*
 * condition.h: the Condition block of a policy's statement.
 */
#ifndef DSEC_TESTS_IAM_CONDITION_H
#define DSEC_TESTS_IAM_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* One call that is to be authorised; all borrowed. */
struct policy_request {
	const char *action;   /* "iam:CreateUser" */
	const char *resource; /* an ARN, or "*" where the action has none */
	int64_t now_ms;       /* aws:CurrentTime */
	const char *user_name, *user_id, *user_arn, *account;
	const char *source_ip;
	bool secure_transport;
	const char *region;
	/* Condition keys of the call itself, such as "iam:PolicyARN" to a string, or
	 * "aws:TagKeys" to an array of them. NULL: none. */
	const json_t *keys;
};

enum condition_result {
	CONDITION_NO,
	CONDITION_YES,
	CONDITION_UNKNOWN, /* an operator or a key that this program does not evaluate */
};

/* False: not a Condition that IAM accepts; `reason` has POLICY_REASON_MAX bytes. */
bool condition_validate(const json_t *condition, char *reason);

enum condition_result condition_judge(const json_t *condition,
				      const struct policy_request *request);

/* `pattern` with its policy variables (${aws:username}, …) filled in, for free(). An unknown one
 * gives NULL: what bears it matches nothing, as in AWS. */
char *condition_expand(const char *pattern, const struct policy_request *request);

#endif
