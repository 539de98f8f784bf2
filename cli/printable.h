/*
 * printable.h: what others have written, on its way to a terminal.
 */
#ifndef DSEC_CLI_PRINTABLE_H
#define DSEC_CLI_PRINTABLE_H

#include <jansson.h>

/* Makes each string in a value of JSON one that a terminal shows and does not obey. */
void printable_json(json_t *value);

#endif
