/*
 * pipe_file.h: secrets as a file that is never on a disk: a named pipe, written anew for each
 * reader.
 */
#ifndef DSEC_CLI_PIPE_FILE_H
#define DSEC_CLI_PIPE_FILE_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>

#include "lease/download.h"
#include "lease/error.h"

struct pipe_file {
	char path[PATH_MAX]; /* absolute; "": there is none */
	char next[PATH_MAX]; /* beside it */
	char *text;          /* in memory that a forked process has, too */
	size_t n;
	unsigned long max_reads; /* 0: no limit */
	pthread_mutex_t lock;
	bool removed;
};

/* Could the pipe be made? Fails with the sentence with which making it would. */
int pipe_file_check(const char *path, struct dsec_error *err);

/* Makes the pipe, mode 0600, where nothing may be yet. Keeps a copy of the text. */
int pipe_file_make(struct pipe_file *ret, const char *path, const struct download *text,
		   unsigned long max_reads, struct dsec_error *err);

/* Serves readers from now on, on a thread of its own. */
void pipe_file_serve(struct pipe_file *file);

/* Wipes the text. */
void pipe_file_forget(struct pipe_file *file);

/* Removes the pipe from the folder. */
void pipe_file_remove(struct pipe_file *file);

#endif
