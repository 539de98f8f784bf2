/*
 * ask.h: questions to a person at a terminal. They are written to stderr, so that stdout is the
 * command's.
 */
#ifndef DSEC_CLI_ASK_H
#define DSEC_CLI_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "lease/error.h"

#define ASK_LINE_MAX 1024
#define ASK_TEXT_MAX (64ul * 1024)

/* Is there a person: stdin and stderr are a terminal. */
bool ask_possible(void);

/* A line; an empty one gives `otherwise`, and where that is NULL the question comes again. */
int ask_line(char to[ASK_LINE_MAX], const char *question, const char *otherwise,
	     struct dsec_error *err);

/* The same without showing what is typed. The caller wipes it. */
int ask_secret(char to[ASK_LINE_MAX], const char *question, struct dsec_error *err);

/* Lines until they are a JSON text, or one with a dot alone; *ret is for free(). */
int ask_json(char **ret, const char *question, struct dsec_error *err);

#endif
