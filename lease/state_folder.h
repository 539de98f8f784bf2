/*
 * state_folder.h: the folder of what a daemon must not forget (/var/lib/dsec): private, and durable
 * from the first file on.
 */
#ifndef DSEC_LEASE_STATE_FOLDER_H
#define DSEC_LEASE_STATE_FOLDER_H

#include "lease/error.h"

/* Makes the folder, and those above it that are missing, with mode 0700, and opens it. One that is
 * there must belong to this user and be closed to all others, since who can write in it can have
 * any IAM user of the integrations removed. Returns a descriptor or a negative errno. */
int state_folder_open(const char *folder, struct dsec_error *err);

/* Makes the names of new, renamed and removed files in the folder durable. */
int state_folder_sync(int folder_fd, const char *folder, struct dsec_error *err);

#endif
