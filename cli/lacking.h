/*
 * lacking.h: which permissions an integration's own user lacks.
 */
#ifndef DSEC_CLI_LACKING_H
#define DSEC_CLI_LACKING_H

#include <stdbool.h>

#include "cli/cloud.h"

/* Has AWS evaluate what the user with this ARN may do, against what the configuration needs of it,
 * and prints each action that it lacks to stdout. False when there is one. What AWS does not tell
 * is printed as such and counts as fine. */
bool lacking_check(struct cloud *cloud, struct provider *provider,
		   const struct integration *integration, const char *arn);

#endif
