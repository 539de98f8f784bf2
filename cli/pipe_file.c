#include "cli/pipe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/io.h"
#include "lease/secret.h"

static int settle(struct pipe_file *file, const char *path, struct dsec_error *err)
{
	char for_folder[PATH_MAX], for_name[PATH_MAX], folder[PATH_MAX];

	if (strlen(path) >= PATH_MAX || path[strlen(path) - 1] == '/')
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "--mount: %.64s is no path of a file", path);
	memcpy(for_folder, path, strlen(path) + 1);
	memcpy(for_name, path, strlen(path) + 1);
	const char *name = basename(for_name);
	if (!realpath(dirname(for_folder), folder))
		return dsec_error_set(err, DSEC_ERROR_INVALID, "--mount: %s: %s", for_folder,
				      strerror(errno));
	const char *root = strcmp(folder, "/") == 0 ? "" : folder;
	if (snprintf(file->path, PATH_MAX, "%s/%s", root, name) >= PATH_MAX ||
	    snprintf(file->next, PATH_MAX, "%s/.%s.dsec-%d", root, name, (int)getpid()) >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "--mount: the path is too long");
	return 0;
}

static int cannot(const struct pipe_file *file, int number, struct dsec_error *err)
{
	const char *hint =
		number == EEXIST ? ": another dsec run may use it; remove it if none does" : "";

	return dsec_error_set(err, DSEC_ERROR_INVALID, "--mount: %s: %s%s", file->path,
			      strerror(number), hint);
}

int pipe_file_check(const char *path, struct dsec_error *err)
{
	struct pipe_file file = {0};
	struct stat found;

	int r = settle(&file, path, err);
	if (r < 0)
		return r;
	return lstat(file.path, &found) == 0 ? cannot(&file, EEXIST, err) : 0;
}

int pipe_file_make(struct pipe_file *ret, const char *path, const struct download *text,
		   unsigned long max_reads, struct dsec_error *err)
{
	int r = settle(ret, path, err);

	if (r == 0 && mkfifo(ret->path, 0600) < 0)
		r = cannot(ret, errno, err);
	if (r < 0) {
		ret->path[0] = '\0';
		return r;
	}
	ret->max_reads = max_reads;
	ret->text = alloc_zeroed(text->n + 1, 1);
	ret->n = text->n;
	memcpy(ret->text, text->bytes, text->n);
	pthread_mutex_init(&ret->lock, NULL);
	return 0;
}

/* The pipe that has its reader leaves the folder before it is written: the next reader finds a pipe
 * of its own, and no reader gets what another leaves over. False when it is the last one. */
static bool replace(struct pipe_file *file, bool last)
{
	bool more = false;

	pthread_mutex_lock(&file->lock);
	if (last && !file->removed) {
		unlink(file->path);
		file->removed = true;
	} else if (!file->removed) {
		unlink(file->next);
		more = mkfifo(file->next, 0600) == 0 && rename(file->next, file->path) == 0;
	}
	pthread_mutex_unlock(&file->lock);
	return more;
}

static void *serve(void *arg)
{
	struct pipe_file *file = arg;
	bool more = true;

	for (unsigned long n = 1; more; n++) {
		int fd = open(file->path, O_WRONLY | O_CLOEXEC); /* until a reader has come */
		if (fd < 0)
			break;
		more = replace(file, file->max_reads > 0 && n >= file->max_reads);
		io_write(fd, file->text, file->n); /* fails when the reader has gone */
		close(fd);
	}
	return NULL;
}

void pipe_file_serve(struct pipe_file *file)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, file) == 0)
		pthread_detach(thread);
}

void pipe_file_forget(struct pipe_file *file)
{
	secret_wipe(file->text, file->n);
	free(file->text);
	file->text = NULL;
	file->n = 0;
}

void pipe_file_remove(struct pipe_file *file)
{
	if (!file->path[0])
		return;
	pthread_mutex_lock(&file->lock);
	if (!file->removed)
		unlink(file->path);
	file->removed = true;
	unlink(file->next); /* of a holder that was killed */
	pthread_mutex_unlock(&file->lock);
}
