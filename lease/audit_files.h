/*
 * audit_files.h: the files of an audit log, and their lines.
 *
 * Besides the file itself those are its own rotated ones (FILE.to-NUMBER: the last line's number)
 * and those of logrotate (FILE.1, FILE-20220215), as long as they are not compressed.
 */
#ifndef DSEC_LEASE_AUDIT_FILES_H
#define DSEC_LEASE_AUDIT_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lease/error.h"

#define AUDIT_FILES_MAX 4096

struct audit_files {
	char **paths; /* the oldest lines first */
	size_t n;
	size_t n_compressed; /* that were passed over */
};

/* Rotated files without a single line that has a number are left out. */
int audit_files_find(struct audit_files *ret, const char *file, struct dsec_error *err);
/* These, in the order of their lines. */
int audit_files_sort(struct audit_files *ret, const char *const *paths, size_t n,
		     struct dsec_error *err);
void audit_files_finish(struct audit_files *files);

/* The number at the end of one of its own rotated files; 0: it is none. */
uint64_t audit_files_number(const char *file, const char *path);

/* The next line, without its newline. Longer ones than AUDIT_LINE_MAX are cut, and `overlong`. */
struct audit_line {
	char text[32768 + 1];
	size_t n;
	bool ended;    /* by a newline: the last line of a file may not be */
	bool overlong; /* no line of ours */
};
bool audit_line_read(FILE *from, struct audit_line *ret); /* false: there is none */

/* The number that stands in a line's text ({"n":7,…); 0: none. */
uint64_t audit_line_number(const char *text, size_t n);

#endif
