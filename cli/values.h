/*
 * values.h: keys and values that a daemon has given, on their way into an environment or a file.
 *
 * They lie where secrets lie (secret.h) and are rendered by what renders the files of the mount and
 * the answers of the API, so that a format is the same bytes from all three.
 */
#ifndef DSEC_CLI_VALUES_H
#define DSEC_CLI_VALUES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lease/catalog.h"
#include "lease/download.h"
#include "lease/error.h"

/* Adds bytes to a buffer; -ENOMEM where there is no more memory for secrets. */
int values_append(struct download *to, const char *bytes, size_t n);

/* Reads all of an open file into an empty buffer. 0 or a negative errno; -EFBIG beyond
 * DOWNLOAD_SIZE_MAX. */
int values_read(int fd, struct download *ret);

/* The object of strings in a download of format json; NULL where it is none. Its memory is wiped
 * when it is freed. */
json_t *values_json(const struct download *text);

/* Renders those of the object's values that the choice names, as it says; `dynamics` and `fixed` of
 * the choice count for nothing. */
int values_render(struct download *ret, const json_t *values, const struct download_choice *choice,
		  struct dsec_error *err);

/* The names of a list that is separated by commas, one after the other: begin with *at = the list.
 * Blanks around them do not count; NULL at the end. */
#define VALUES_NAME_MAX DOWNLOAD_KEY_MAX
const char *values_next_name(const char **at, char to[VALUES_NAME_MAX]);

/* Writes the names of the list that the object lacks, separated by ", ", and returns how many there
 * are. */
size_t values_missing(const json_t *values, const char *list, char *to, size_t size);

#endif
