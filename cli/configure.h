/*
 * configure.h: a change of dsec.json by a command: tried on a draft beside it, tested with AWS, put
 * in its place whole, and told to the daemon that runs with it.
 */
#ifndef DSEC_CLI_CONFIGURE_H
#define DSEC_CLI_CONFIGURE_H

#include <jansson.h>
#include <limits.h>

#include "cli/command.h"
#include "lease/error.h"

struct configure_change {
	const char *const *path; /* of members */
	size_t n_path;
	const json_t *value;
	const char *integration; /* the one that has to work, unless --no-test */
};

/* The file that the options mean, with its links followed; it need not be there. */
int configure_file(char to[PATH_MAX], const struct options *options, struct dsec_error *err);

/* Makes the change. What is wrong is logged, and then nothing is changed. 0 or a negative errno. */
int configure(const struct options *options, const struct configure_change *change);

/* A file of its own for a secret, mode 0600, beside the configuration: NAME.key. Not where there is
 * one already. */
int configure_key_file(char to[PATH_MAX], const char *config_file, const char *name,
		       const char *secret, struct dsec_error *err);

/* A JSON text from a file, "-" for stdin; json_decref() it. */
int configure_read_json(json_t **ret, const char *file, struct dsec_error *err);

#endif
