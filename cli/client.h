/*
 * client.h: the daemon's API, as the commands use it: one request over its Unix socket.
 */
#ifndef DSEC_CLI_CLIENT_H
#define DSEC_CLI_CLIENT_H

#include <limits.h>
#include <stddef.h>

#include "cli/command.h"
#include "lease/error.h"

#define CLIENT_TIMEOUT_MS 15000                /* of a request, whatever the daemon does */
#define CLIENT_PATH_MAX   65536                /* with its query */
#define CLIENT_ANSWER_MAX (64ul * 1024 * 1024) /* 5,000 leases are about 3 MiB */

/* The socket of the daemon that the options mean: --socket, else the first one in api.listen of the
 * configuration (as far as it can be read), else the default. */
int client_socket(char to[PATH_MAX], const struct options *options, struct dsec_error *err);

/* An answer of whatever status. */
struct client_answer {
	long status;
	char *text; /* terminated; NULL: empty */
	size_t n;
};
void client_answer_finish(struct client_answer *answer); /* wipes it */
#define _cleanup_answer_ __attribute__((cleanup(client_answer_finish)))

/* Asks and waits. `body` is JSON or NULL; the path has its query, which is encoded. Fails only when
 * nothing answers. */
int client_request(const char *socket, const char *method, const char *path, const char *body,
		   struct client_answer *ret, struct dsec_error *err);

/* Sets *err to the daemon's own sentence in an answer that is no success; returns what
 * dsec_error_set() does. */
int client_refused(const struct client_answer *answer, struct dsec_error *err);

/* The same, where only success is of use: *ret (may be NULL) is its body, for free(). */
int client_ask(const char *socket, const char *method, const char *path, const char *body,
	       char **ret, struct dsec_error *err);

#endif
