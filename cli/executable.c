#include "cli/executable.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USUAL_PATH "/bin:/usr/bin" /* glibc's, where PATH is not set */

static int try_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return access(path, X_OK) < 0 ? -errno : 0;
}

static int refused(const char *name, int number, struct dsec_error *err)
{
	dsec_error_set(err, DSEC_ERROR_INVALID, "%s: %s; nothing was leased", name,
		       strerror(number));
	return number == ENOENT || number == ENOTDIR ? EXECUTABLE_NOT_FOUND : EXECUTABLE_REFUSED;
}

static int search(char to[PATH_MAX], const char *name, struct dsec_error *err)
{
	const char *at = getenv("PATH");
	int worst = ENOENT;

	for (at = at ? at : USUAL_PATH; at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
		int n = (int)strcspn(at, ":");
		if (snprintf(to, PATH_MAX, "%.*s%s%s", n, at, n > 0 ? "/" : "./", name) >= PATH_MAX)
			continue;
		int r = try_path(to);
		if (r == 0)
			return 0;
		if (r == -EACCES)
			worst = EACCES;
	}
	if (worst != ENOENT)
		return refused(name, worst, err);
	dsec_error_set(err, DSEC_ERROR_INVALID,
		       "%s: there is no such command in PATH; nothing was "
		       "leased",
		       name);
	return EXECUTABLE_NOT_FOUND;
}

int executable_find(char to[PATH_MAX], const char *name, struct dsec_error *err)
{
	if (!name[0])
		return refused("\"\"", ENOENT, err);
	if (!strchr(name, '/'))
		return search(to, name, err);
	if (snprintf(to, PATH_MAX, "%s", name) >= PATH_MAX)
		return refused(name, ENAMETOOLONG, err);
	int r = try_path(to);
	return r < 0 ? refused(name, -r, err) : 0;
}

const char *executable_shell(void)
{
	static const char *const known[] = {"/bash", "/dash", "/fish", "/zsh",
					    "/ksh",  "/csh",  "/tcsh"};
	const char *shell = getenv("SHELL");
	size_t n = shell ? strlen(shell) : 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t tail = strlen(known[i]);
		if (n >= tail && strcmp(shell + n - tail, known[i]) == 0)
			return shell;
	}
	return "sh";
}
