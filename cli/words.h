/*
 * words.h: the words that options of Doppler's commands take, and what is said to a wrong one.
 */
#ifndef DSEC_CLI_WORDS_H
#define DSEC_CLI_WORDS_H

#include <stdbool.h>

#include "lease/download.h"
#include "lease/error.h"

extern const char *const words_transformers[]; /* ended by NULL */

/* NULL gives the default: json. */
int words_format(enum download_format *ret, const char *text, struct dsec_error *err);

/* Of a file that is mounted: NULL goes by the file's name (appsettings*.json, .env, .json). */
int words_mount_format(enum download_format *ret, const char *text, const char *file,
		       struct dsec_error *err);

/* `environment`: the names have to be fit for one. */
int words_transformer(enum download_names *ret, const char *text, bool environment,
		      struct dsec_error *err);

/* A whole number; NULL gives 0. */
int words_count(unsigned long *ret, const char *option, const char *text, struct dsec_error *err);

#endif
