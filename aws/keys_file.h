/*
 * keys_file.h: files that hold keys: read whole, never waited for, wiped after use.
 */
#ifndef DSEC_AWS_KEYS_FILE_H
#define DSEC_AWS_KEYS_FILE_H

#include "lease/error.h"

/* The file's text, terminated, for wipe_free. A file of more than KEYS_FILE_MAX bytes, with a NUL
 * in it, or that is no regular file (a FIFO would stop the caller's thread) is refused:
 * DSEC_ERROR_CREDENTIALS, with -ENOENT only when there is none. */
int keys_file_read(char **ret, const char *path, struct dsec_error *err);

#endif
