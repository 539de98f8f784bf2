/*
 * process.h: a credential_process: a command that prints keys, run beside everything else.
 */
#ifndef DSEC_AWS_PROCESS_H
#define DSEC_AWS_PROCESS_H

#include <stddef.h>

#include "aws/loop.h"
#include "lease/error.h"

/* It ended well and printed n bytes, which are wiped after the call; or err says what went wrong.
 */
typedef void process_done(void *arg, const char *output, size_t n, const struct dsec_error *err);

struct process;

/* Who runs commands for a process that may not (cli/worker.c, through the door). `run` gives the
 * number of what it started and the pipe that its standard output goes to, or a negative errno; its
 * end is told through process_runner_ended. */
struct process_runner {
	int (*run)(void *arg, const char *command, int *ret_output);
	void (*kill)(void *arg, int run); /* its end is told all the same */
	void *arg;
};

/* From now on; NULL: commands are run by this process itself. The runner is borrowed. */
void process_use(const struct process_runner *next);

/* What `run` has started has ended; the status is as waitpid(2) gives it. From the loop's thread.
 */
void process_runner_ended(int run, int status);

/* Runs the command: no shell, in a process group of its own, with nothing to read and its errors
 * thrown away (they may hold secrets). It may take AWS_CREDENTIAL_PROCESS_TIMEOUT_MS and print
 * AWS_CREDENTIAL_PROCESS_OUTPUT_MAX bytes, or it is killed. `done` is called once, from the loop's
 * dispatch, and may not free the process, which frees itself after it. Fails with
 * DSEC_ERROR_CREDENTIALS. */
int process_start(struct process **ret, struct loop *loop, const char *command, process_done *done,
		  void *arg, struct dsec_error *err);

/* Kills it and waits for its end; `done` is not called. NULL-safe; returns NULL. */
struct process *process_free(struct process *process);

#endif
