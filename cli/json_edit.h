/*
 * json_edit.h: a member more in a JSON text that people write, with the rest of it left as it is.
 */
#ifndef DSEC_CLI_JSON_EDIT_H
#define DSEC_CLI_JSON_EDIT_H

#include <jansson.h>
#include <stddef.h>

#include "lease/error.h"

#define JSON_EDIT_DEPTH_MAX 8

/* Adds the value at the path of members: behind what its object has, indented as the text is, or on
 * the same line where the object is. Objects on the way that are not there are made. *ret is for
 * free(). Fails where the member is there already, or something on the way is no object. */
int json_edit_add(char **ret, const char *text, size_t n, const char *const *path, size_t n_path,
		  const json_t *value, struct dsec_error *err);

#endif
