/*
 * executable.h: the program that a command means, as execvp(3) would find it, before it is run.
 */
#ifndef DSEC_CLI_EXECUTABLE_H
#define DSEC_CLI_EXECUTABLE_H

#include <limits.h>

#include "lease/error.h"

/* As shells, env(1) and timeout(1) say it. */
#define EXECUTABLE_NOT_FOUND 127
#define EXECUTABLE_REFUSED   126

/* 0, or the exit status that says why, with a sentence. */
int executable_find(char to[PATH_MAX], const char *name, struct dsec_error *err);

/* $SHELL where it is one that takes -c as sh does, else "sh". */
const char *executable_shell(void);

#endif
