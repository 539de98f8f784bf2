/*
 * paths.h: where dsec finds its things when nobody says so: the system's folders for root, the XDG
 * folders for others.
 *
 * All give an absolute path, since the daemon leaves its working folder. `given` is what the user
 * wrote, or NULL for the default. 0 or a negative errno.
 */
#ifndef DSEC_CLI_PATHS_H
#define DSEC_CLI_PATHS_H

#include <limits.h>

#include "lease/error.h"

int paths_config(char to[PATH_MAX], const char *given, struct dsec_error *err);
int paths_state(char to[PATH_MAX], const char *given, struct dsec_error *err);

/* Where a daemon listens whose configuration names no socket. */
int paths_socket(char to[PATH_MAX], struct dsec_error *err);

/* Touches nothing below the mount point itself: a dead daemon's answers ENOTCONN. */
int paths_mountpoint(char to[PATH_MAX], const char *given, struct dsec_error *err);

#endif
