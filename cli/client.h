/*
 * client.h: the daemon's API, as the commands use it: one request over its Unix socket.
 */
#ifndef DSEC_CLI_CLIENT_H
#define DSEC_CLI_CLIENT_H

#include <limits.h>

#include "cli/command.h"
#include "lease/error.h"

#define CLIENT_TIMEOUT_MS 15000                /* of a request, whatever the daemon does */
#define CLIENT_ANSWER_MAX (64ul * 1024 * 1024) /* 5,000 leases are about 3 MiB */

/* The socket of the daemon that the options mean: --socket, else the first one in api.listen of the
 * configuration (as far as it can be read), else the default. */
int client_socket(char to[PATH_MAX], const struct options *options, struct dsec_error *err);

/* Asks and waits. `body` is JSON or NULL; *ret (may be NULL) is the answer's body, for free(). An
 * answer that is no success fails with the daemon's own sentence. */
int client_ask(const char *socket, const char *method, const char *path, const char *body,
	       char **ret, struct dsec_error *err);

#endif
