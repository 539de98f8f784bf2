/*
 * path.h: what the name of a config's folder asks for: CONFIG or CONFIG@OPTIONS.
 */
#ifndef DSEC_FS_PATH_H
#define DSEC_FS_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/catalog.h"

#define PATH_OPTIONS_MAX 64 /* the longest OPTIONS */

struct path_options {
	int64_t ttl_ms; /* 0: each secret's own */
	bool fresh;     /* a lease for each open file alone */
};

/* Splits a folder's name. *ret_options is left alone where there is no '@'. 0, or -ENOENT for a
 * name that no config's folder can have: an unknown option, one given twice, a duration that is
 * none or below CATALOG_TTL_MIN_MS. */
int path_parse(const char *name, char ret_config[CATALOG_NAME_MAX + 1],
	       struct path_options *ret_options);

#endif
