/*
 * profile.c: a profile of the shared files, ~/.aws/credentials and ~/.aws/config.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/keys.h"
#include "aws/keys_file.h"
#include "aws/wipe.h"
#include "lease/alloc.h"
#include "lease/owner.h"

#define HOME_MAX 4096

/* The members of one section that matter here; they point into the file's text. */
struct section {
	const char *id, *secret, *token, *command;
};

static char *trimmed(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n > 0 && strchr(" \t\r", text[n - 1]))
		text[--n] = '\0';
	return text;
}

/* "[name]", or in the config file "[profile name]" except for default. */
static bool is_header_of(char *line, const char *profile, bool config)
{
	char *end = strchr(line, ']');
	char *name;

	if (!end)
		return false;
	*end = '\0';
	name = trimmed(line + 1);
	if (config && strncmp(name, "profile", 7) == 0 && strchr(" \t", name[7]) && name[7])
		return strcmp(trimmed(name + 8), profile) == 0;
	return strcmp(name, profile) == 0 && (!config || strcmp(profile, "default") == 0);
}

static void take_member(struct section *section, char *line)
{
	char *equals = strchr(line, '=');
	const char *name, *value;

	if (!equals)
		return;
	*equals = '\0';
	name = trimmed(line);
	value = trimmed(equals + 1);
	if (strcmp(name, "aws_access_key_id") == 0)
		section->id = value;
	else if (strcmp(name, "aws_secret_access_key") == 0)
		section->secret = value;
	else if (strcmp(name, "aws_session_token") == 0)
		section->token = value;
	else if (strcmp(name, "credential_process") == 0)
		section->command = value;
}

/* Cuts the text into its lines. An indented line belongs to the member above it, and none of those
 * that matter here goes on. */
static void read_section(struct section *section, char *text, const char *profile, bool config)
{
	bool within = false;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (*line == '[')
			within = is_header_of(line, profile, config);
		else if (within && !strchr("#; \t", *line))
			take_member(section, line);
	}
}

static const char *home(char *to, size_t size)
{
	const char *set = getenv("HOME");
	struct passwd entry, *found = NULL;

	if (set && *set)
		return set;
	return getpwuid_r(owner_uid(), &entry, to, size, &found) == 0 && found ? found->pw_dir : "";
}

/* The configured path, else the environment's, else the one in the home folder. For free(). */
static char *file_path(const char *configured, const char *variable, const char *name)
{
	const char *set = getenv(variable);
	char buffer[HOME_MAX];
	char *path;

	if (configured)
		return alloc_copy(configured);
	if (set && *set)
		return alloc_copy(set);
	if (asprintf(&path, "%s/.aws/%s", home(buffer, sizeof(buffer)), name) < 0)
		abort();
	return path;
}

/* As other clients do: keys in the credentials file, then a command, then keys in the config file.
 */
static int choose(struct keys **ret, char **ret_command, const struct section *credentials,
		  const struct section *config, struct dsec_error *err)
{
	const struct section *keys = credentials->id || credentials->secret ? credentials : config;
	const char *command = credentials->command ? credentials->command : config->command;

	if (keys != credentials && command) {
		*ret_command = alloc_copy(command);
		return 0;
	}
	if (!keys->id || !keys->secret)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "has no %s (SSO and roles are read through a "
				      "credential_process)",
				      keys->id ? "aws_secret_access_key" : "aws_access_key_id");
	return keys_new_from_text(ret, keys->id, keys->secret, keys->token, 0, err);
}

/* A file that is not there is one without the profile. */
static int read_file(struct section *section, char **ret_text, const char *path,
		     const char *profile, bool config, struct dsec_error *err)
{
	int r = keys_file_read(ret_text, path, err);

	if (r == 0)
		read_section(section, *ret_text, profile, config);
	return r == -ENOENT ? 0 : r;
}

int keys_from_profile(struct keys **ret, char **ret_command, const struct credentials *from,
		      struct dsec_error *err)
{
	struct section credentials = {0}, config = {0};
	_cleanup_wipe_ char *credentials_text = NULL;
	_cleanup_wipe_ char *config_text = NULL;
	_cleanup_free_ char *credentials_path = file_path(
		from->shared_credentials_file, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
	_cleanup_free_ char *config_path =
		file_path(from->config_file, "AWS_CONFIG_FILE", "config");
	int r;

	*ret = NULL;
	*ret_command = NULL;
	r = read_file(&credentials, &credentials_text, credentials_path, from->profile, false, err);
	if (r == 0)
		r = read_file(&config, &config_text, config_path, from->profile, true, err);
	if (r < 0)
		return r;
	r = choose(ret, ret_command, &credentials, &config, err);
	if (r < 0)
		dsec_error_wrap(err, "profile %s in %s and %s", from->profile, credentials_path,
				config_path);
	return r;
}
