/* sandbox_layers.h: the layers of sandbox.h one by one, for it and for their tests. */
#ifndef DSEC_CLI_SANDBOX_LAYERS_H
#define DSEC_CLI_SANDBOX_LAYERS_H

#include "cli/sandbox.h"

/* Each: 0 and *ret_on says whether the kernel has it; or a negative errno. */

int sandbox_drop_capabilities(bool *ret_on, struct dsec_error *err);
int sandbox_landlock(const struct sandbox *sandbox, int *ret_version, struct dsec_error *err);
int sandbox_seccomp(bool *ret_on, struct dsec_error *err);

#endif
