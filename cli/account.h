/*
 * account.h: can this integration lease: its credentials, its permissions, and the account's room.
 */
#ifndef DSEC_CLI_ACCOUNT_H
#define DSEC_CLI_ACCOUNT_H

#include <stdbool.h>

#include "cli/cloud.h"

/* Asks AWS and prints what it says, a line each, to stdout. False when the integration cannot
 * lease. Changes nothing in AWS. */
bool account_check(struct cloud *cloud, const struct integration *integration);

#endif
