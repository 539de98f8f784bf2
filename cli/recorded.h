/*
 * recorded.h: the leases of a daemon that cannot be asked, from its journal.
 */
#ifndef DSEC_CLI_RECORDED_H
#define DSEC_CLI_RECORDED_H

#include "lease/error.h"

/* In the form in which a daemon tells them, {"leases": […]}, as far as the journal knows; *ret is
 * for free(). -ENOENT where there is no journal, or another negative errno. */
int recorded_leases(char **ret, const char *state_folder, struct dsec_error *err);

#endif
