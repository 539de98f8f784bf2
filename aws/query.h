/*
 * query.h: what the provider's operations are in AWS's query protocol.
 */
#ifndef DSEC_AWS_QUERY_H
#define DSEC_AWS_QUERY_H

#include <stdbool.h>

#include "aws/answer.h"
#include "aws/form.h"
#include "lease/provider.h"

enum query_service { QUERY_IAM, QUERY_STS };

/* One request. */
struct query {
	enum query_service service;
	const char *action; /* static */
	struct form form;
	struct answer_names names; /* where the answer has the names that are asked for */
};

/* The operation's request; its first one, of those that take two. */
void query_build(struct query *query, const struct provider_call *call);

/* Whose is the key that signs: by STS, which needs no permission, and by IAM. */
void query_caller_identity(struct query *query);
void query_own_user(struct query *query);

/* A virtual MFA device is an entity of its own, which outlives its deactivation. */
bool query_mfa_device_is_virtual(const char *serial);
void query_delete_mfa_device(struct query *query, const char *serial);

void query_finish(struct query *query);

#endif
