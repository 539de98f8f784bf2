/*
 * left.h: what a daemon that has ended left behind in AWS, from its journal.
 */
#ifndef DSEC_CLI_LEFT_H
#define DSEC_CLI_LEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lease/catalog.h"
#include "lease/error.h"

/* How many leases the journal of this state folder holds; 0 where there is no journal. Or a
 * negative errno. */
ssize_t left_count(const char *state_folder, struct dsec_error *err);

/* Logs each user that may still exist, until when its key is good for anything, and who will remove
 * it. `catalog` tells whose policies carry their end; NULL when it is not known. `keys_deleted`:
 * it is certain that no key is left. Returns as left_count; logs nothing when that is 0. */
ssize_t left_report(const char *state_folder, const struct catalog *catalog, bool keys_deleted);

#endif
