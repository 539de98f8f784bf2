#include "cli/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/log.h"
#include "cli/values.h"
#include "lease/alloc.h"
#include "lease/secret.h"

static void forget(char *line)
{
	secret_wipe(line, strlen(line));
	free(line);
}

static bool is_of(const char *line, const char *name)
{
	size_t n = strlen(name);

	return strncmp(line, name, n) == 0 && line[n] == '=';
}

static size_t find(const struct environment *environment, const char *name)
{
	size_t i = 0;

	while (i < environment->n && !is_of(environment->at[i], name))
		i++;
	return i;
}

void environment_init(struct environment *ret)
{
	size_t n = 0;

	while (environ && environ[n])
		n++;
	ret->at = alloc_zeroed(n + 1, sizeof(*ret->at));
	ret->n = n;
	for (size_t i = 0; i < n; i++)
		ret->at[i] = alloc_copy(environ[i]);
}

void environment_set(struct environment *environment, const char *name, const char *value)
{
	size_t i = find(environment, name);

	if (i < environment->n) {
		forget(environment->at[i]);
		environment->at[i] = environment->at[--environment->n];
		environment->at[environment->n] = NULL;
	}
	if (!value)
		return;
	size_t size = strlen(name) + strlen(value) + 2;
	char *line = alloc_zeroed(size, 1);
	snprintf(line, size, "%s=%s", name, value);
	environment->at =
		alloc_resized(environment->at, environment->n + 2, sizeof(*environment->at));
	environment->at[environment->n++] = line;
	environment->at[environment->n] = NULL;
}

static bool is_listed(const char *list, const char *name)
{
	char one[VALUES_NAME_MAX];

	while (values_next_name(&list, one))
		if (strcmp(one, name) == 0)
			return true;
	return false;
}

static bool stays(const struct environment *environment, const char *name, const char *preserve)
{
	if (strcmp(name, "PATH") == 0 || strcmp(name, "PS1") == 0 || strcmp(name, "HOME") == 0)
		return true;
	if (!preserve || strcmp(preserve, "false") == 0 ||
	    find(environment, name) == environment->n)
		return false;
	return !preserve[0] || strcmp(preserve, "true") == 0 || is_listed(preserve, name);
}

/* By these, whoever writes the secrets rules over the programs that run with them. */
static void warn_of_danger(const json_t *values)
{
	static const char *const names[] = {
		"PROMPT_COMMAND", "LD_PRELOAD", "LD_LIBRARY_PATH", "PERL5OPT",     "PYTHONWARNINGS",
		"BROWSER",        "HOSTNAME",   "PHPRC",           "NODE_VERSION", "NODE_OPTIONS",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (json_object_get(values, names[i]))
			log_line(LOG_WARNING,
				 "warning: the config has a secret %s, which changes how programs "
				 "run",
				 names[i]);
}

void environment_add(struct environment *environment, const json_t *values, const char *preserve)
{
	const char *name;
	json_t *value;

	warn_of_danger(values);
	json_object_foreach((json_t *)values, name, value)
	{
		if (!stays(environment, name, preserve))
			environment_set(environment, name, json_string_value(value));
	}
}

void environment_finish(struct environment *environment)
{
	for (size_t i = 0; i < environment->n; i++)
		forget(environment->at[i]);
	free(environment->at);
	*environment = (struct environment){0};
}
