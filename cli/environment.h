/*
 * environment.h: the environment of a command that is run with secrets.
 */
#ifndef DSEC_CLI_ENVIRONMENT_H
#define DSEC_CLI_ENVIRONMENT_H

#include <jansson.h>
#include <stdbool.h>

struct environment {
	char **at; /* as execve(2) takes it */
	size_t n;
};

/* A copy of this process's. */
void environment_init(struct environment *ret);

/* Sets one, in the place of the one that there was; NULL removes it. */
void environment_set(struct environment *environment, const char *name, const char *value);

/* Adds the values, which win over what is there: but PATH, PS1 and HOME stay what they are, and so
 * do those that `preserve` names (a list with commas; "" or "true": all that are there; NULL or
 * "false": none). */
void environment_add(struct environment *environment, const json_t *values, const char *preserve);

void environment_finish(struct environment *environment); /* wipes it */

#endif
