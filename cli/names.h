/*
 * names.h: which config is meant: by --project and --config, by the environment, or by the
 * doppler.yaml of the folder that one works in.
 */
#ifndef DSEC_CLI_NAMES_H
#define DSEC_CLI_NAMES_H

#include "cli/command.h"
#include "lease/catalog.h"
#include "lease/error.h"

struct names {
	char project[CATALOG_NAME_MAX + 1], config[CATALOG_NAME_MAX + 1]; /* "": nobody names it */
};

/* Each of the two names by itself: from its option, else from DOPPLER_PROJECT or DOPPLER_CONFIG,
 * else from a doppler.yaml in this folder or the next one above that has one. What nobody names is
 * "". A name that cannot be one, or a doppler.yaml that says nothing sensible, is an error. */
int names_find(struct names *ret, const struct options *options, struct dsec_error *err);

/* Fails, with a sentence that says how to name it, where one of the two is "". */
int names_required(const struct names *names, struct dsec_error *err);

#define REPOSITORY_FILE          "doppler.yaml"
#define REPOSITORY_FILE_SIZE_MAX (64ul * 1024)

/* Reads the text of a doppler.yaml: `setup` is {project, config} or a list of such with a `path`
 * each; of a list the entry counts whose path is the longest that `below` (the working folder,
 * relative to the file's; "" for that folder itself) lies in. What it does not name becomes "".
 * `file` names it in errors. */
int repository_parse(struct names *ret, const char *text, size_t n, const char *file,
		     const char *below, struct dsec_error *err);

#endif
