/* policy_check.h: the rules that IAM holds a policy document to, as far as they show on sight. */
#ifndef DSEC_LEASE_POLICY_CHECK_H
#define DSEC_LEASE_POLICY_CHECK_H

#include <jansson.h>

#include "lease/error.h"

/* 0, or DSEC_ERROR_INVALID with a message that names the place in the document. */
int policy_check(const json_t *policy, struct dsec_error *err);

#endif
