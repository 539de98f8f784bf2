#include "cli/names.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"

/* Where the folder of the first n characters ends that is above the one of the first n; 0 is "/".
 */
static size_t above(const char *folder, size_t n)
{
	while (n > 0 && folder[n - 1] != '/')
		n--;
	return n > 0 ? n - 1 : 0;
}

/* The doppler.yaml of the working folder, or of the next one above it that has one. */
static int from_repository(struct names *ret, struct dsec_error *err)
{
	char folder[PATH_MAX], file[PATH_MAX + sizeof("/" REPOSITORY_FILE)];

	*ret = (struct names){0};
	if (!getcwd(folder, sizeof(folder)) || folder[0] != '/')
		return 0; /* it was removed, or cannot be reached from here */
	size_t n = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
	while (true) {
		_cleanup_free_ char *text = NULL;
		size_t size;

		snprintf(file, sizeof(file), "%.*s/" REPOSITORY_FILE, (int)n, folder);
		int r = file_read(file, REPOSITORY_FILE_SIZE_MAX, &text, &size);
		if (r == 0)
			return repository_parse(ret, text, size, file,
						folder + n + (folder[n] == '/'), err);
		if (r != -ENOENT && r != -ENOTDIR && r != -EACCES)
			return dsec_error_set(err, DSEC_ERROR_INVALID, "%s: %s", file,
					      strerror(-r));
		if (n == 0)
			return 0;
		n = above(folder, n);
	}
}

static int take(char to[CATALOG_NAME_MAX + 1], const char *option, const char *variable,
		const char *otherwise, const char *what, struct dsec_error *err)
{
	const char *name = option ? option : getenv(variable);
	const char *from = option ? what : variable;

	if (!name || !name[0]) {
		name = otherwise;
		from = REPOSITORY_FILE;
	}
	if (name[0] && (!catalog_name_valid(name) || strlen(name) > CATALOG_NAME_MAX))
		return dsec_error_set(
			err, DSEC_ERROR_INVALID,
			"%s: \"%s\" is no name of a %s: letters, digits, _, - and . make one%s",
			from, name, what + 2,
			strchr(name, '/') ? " (the daemon is found by --tree or --socket)" : "");
	snprintf(to, CATALOG_NAME_MAX + 1, "%s", name);
	return 0;
}

int names_find(struct names *ret, const struct options *options, struct dsec_error *err)
{
	const char *project = options->project ? options->project : getenv("DOPPLER_PROJECT");
	const char *config = options->config_name ? options->config_name : getenv("DOPPLER_CONFIG");
	struct names found, repository = {0};

	/* A file that nobody needs may be as wrong as it likes. */
	if (!project || !project[0] || !config || !config[0]) {
		int r = from_repository(&repository, err);
		if (r < 0)
			return r;
	}
	int r = take(found.project, options->project, "DOPPLER_PROJECT", repository.project,
		     "--project", err);
	if (r == 0)
		r = take(found.config, options->config_name, "DOPPLER_CONFIG", repository.config,
			 "--config", err);
	if (r == 0)
		*ret = found;
	return r;
}

int names_required(const struct names *names, struct dsec_error *err)
{
	if (!names->project[0])
		return dsec_error_set(
			err, DSEC_ERROR_INVALID,
			"which project? Say -p PROJECT, set DOPPLER_PROJECT, or write "
			"setup: {project: …, config: …} into a doppler.yaml here");
	if (!names->config[0])
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "which config of %s? Say -c CONFIG, set DOPPLER_CONFIG, or "
				      "name it in the doppler.yaml",
				      names->project);
	return 0;
}
