/*
 * complete.h: what can come next on a command line, for the completions of bash, zsh and fish.
 */
#ifndef DSEC_CLI_COMPLETE_H
#define DSEC_CLI_COMPLETE_H

#include <stddef.h>

#define COMPLETE_COMMAND    "__complete" /* what the shells call: for no person */
#define COMPLETE_TIMEOUT_MS 2000         /* a daemon that hangs is not to hang the shell */

/* The words behind "dsec", the last of which is being written. Prints the words that it may become,
 * each with its description behind a tab; or ":files", ":command N" (a command line begins at the
 * word N, from 0) for what the shell completes by itself. Never leases. Returns STATUS_FINE. */
int complete(size_t n, char *const *words);

#endif
