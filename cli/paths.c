#include "cli/paths.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int join(char to[PATH_MAX], const char *folder, const char *rest, struct dsec_error *err)
{
	int n = snprintf(to, PATH_MAX, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, rest);

	if (n < 0 || n >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the path %s/%s is too long", folder,
				      rest);
	return 0;
}

/* The XDG specification: a relative path in one of these is to be ignored. */
static const char *absolute_variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

static int below_home(char to[PATH_MAX], const char *variable, const char *in_home,
		      const char *rest, struct dsec_error *err)
{
	const char *folder = absolute_variable(variable);
	const char *home = absolute_variable("HOME");
	char base[PATH_MAX];

	if (folder)
		return join(to, folder, rest, err);
	if (!home) {
		const struct passwd *user = getpwuid(getuid());
		home = user ? user->pw_dir : NULL;
	}
	if (!home || home[0] != '/')
		return dsec_error_set(err, DSEC_ERROR_INVALID, "neither %s nor HOME is set",
				      variable);
	int r = join(base, home, in_home, err);
	return r < 0 ? r : join(to, base, rest, err);
}

/* Absolute, with the symbolic links of the folder resolved, and the last component left alone. */
static int settle(char to[PATH_MAX], const char *given, struct dsec_error *err)
{
	char for_folder[PATH_MAX], for_name[PATH_MAX], folder[PATH_MAX];
	size_t n = strlen(given);

	if (n >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%.64s… is too long for a path",
				      given);
	memcpy(for_folder, given, n + 1);
	memcpy(for_name, given, n + 1);
	const char *name = basename(for_name);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "/") == 0) {
		if (!realpath(given, to))
			return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", given,
					      strerror(errno));
		return 0;
	}
	if (!realpath(dirname(for_folder), folder))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", for_folder, strerror(errno));
	return join(to, folder, name, err);
}

static int copy(char to[PATH_MAX], const char *path)
{
	snprintf(to, PATH_MAX, "%s", path);
	return 0;
}

int paths_config(char to[PATH_MAX], const char *given, struct dsec_error *err)
{
	if (given)
		return settle(to, given, err);
	if (getuid() == 0)
		return copy(to, "/etc/dsec/dsec.json");
	return below_home(to, "XDG_CONFIG_HOME", ".config", "dsec/dsec.json", err);
}

int paths_state(char to[PATH_MAX], const char *given, struct dsec_error *err)
{
	if (given)
		return settle(to, given, err);
	if (getuid() == 0)
		return copy(to, "/var/lib/dsec");
	return below_home(to, "XDG_STATE_HOME", ".local/state", "dsec", err);
}

static int in_runtime_folder(char to[PATH_MAX], const char *name, struct dsec_error *err)
{
	const char *runtime = absolute_variable("XDG_RUNTIME_DIR");

	if (!runtime)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "XDG_RUNTIME_DIR is not set, as it is in a login session: "
				      "say where");
	return join(to, runtime, name, err);
}

int paths_mountpoint(char to[PATH_MAX], const char *given, struct dsec_error *err)
{
	if (given)
		return settle(to, given, err);
	if (getuid() == 0)
		return copy(to, "/run/dsec");
	return in_runtime_folder(to, "dsec", err);
}

int paths_socket(char to[PATH_MAX], struct dsec_error *err)
{
	if (getuid() == 0)
		return copy(to, "/run/dsec.sock");
	return in_runtime_folder(to, "dsec.sock", err);
}
