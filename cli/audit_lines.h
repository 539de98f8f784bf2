/*
 * audit_lines.h: the lines of an audit log that somebody asks for, as people read them.
 */
#ifndef DSEC_CLI_AUDIT_LINES_H
#define DSEC_CLI_AUDIT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lease/clock.h"

struct audit_question {
	const char *user, *lease;  /* NULL: all */
	char since[CLOCK_ISO_MAX]; /* times of one form are in order as texts are */
	bool json;                 /* as they are */
};

/* Prints those of the file's lines that are asked for to stdout, and returns how many there are.
 * Whatever is no line of a log is passed over. */
size_t audit_lines_print(FILE *from, const struct audit_question *question);

#endif
