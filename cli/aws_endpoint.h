/*
 * aws_endpoint.h: the API's container credentials endpoint, made ready for one command: AWS's SDKs
 * ask it for the lease of a dynamic secret, and again before that ends.
 */
#ifndef DSEC_CLI_AWS_ENDPOINT_H
#define DSEC_CLI_AWS_ENDPOINT_H

#include <limits.h>

#include "cli/environment.h"
#include "cli/source.h"
#include "lease/error.h"

struct aws_endpoint {
	char socket[PATH_MAX]; /* of the daemon, where the token is made and ended */
	char token_id[64];     /* "": there is none */
	char folder[PATH_MAX]; /* of the token's file; "": there is none */
	char token_file[PATH_MAX];
};

/* Makes a token for the config, in a file for this user alone, and sets the environment so that the
 * SDKs use it and nothing else. Fails where the daemon does not listen on loopback TCP, or gives
 * this user no token: that is for root and the members of api.admin_group. */
int aws_endpoint_open(struct aws_endpoint *ret, struct environment *environment,
		      const struct source *source, const char *name, struct dsec_error *err);

/* The token lives as long as one of the processes that hold it: that which made it, and each that
 * calls this. */
void aws_endpoint_hold(const struct aws_endpoint *endpoint);

/* Removes the file and ends the token. */
void aws_endpoint_close(struct aws_endpoint *endpoint);

#endif
