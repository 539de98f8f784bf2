/*
 * mountable.h: may this user mount, and who will see the mount.
 */
#ifndef DSEC_CLI_MOUNTABLE_H
#define DSEC_CLI_MOUNTABLE_H

#include <stdbool.h>

/* Prints what will not work, and why, to stdout. False when a mount is impossible. */
bool mountable_check(void);

#endif
