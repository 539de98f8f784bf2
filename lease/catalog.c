#include "lease/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"

/* Lifetime. */

static struct catalog_store *store_of(struct catalog *catalog)
{
	return (struct catalog_store *)catalog;
}

struct catalog *catalog_ref(struct catalog *catalog)
{
	atomic_fetch_add_explicit(&store_of(catalog)->refs, 1, memory_order_relaxed);
	return catalog;
}

struct catalog *catalog_unref(struct catalog *catalog)
{
	if (catalog &&
	    atomic_fetch_sub_explicit(&store_of(catalog)->refs, 1, memory_order_acq_rel) == 1)
		catalog_store_free(store_of(catalog));
	return NULL;
}

static int refuse_reading(struct catalog_problems *problems, int error)
{
	*problems = (struct catalog_problems){.n = 1};
	snprintf(problems->at[0].message, sizeof(problems->at[0].message),
		 error == -EFBIG ? "the file is longer than 4 MiB" : "cannot be read: %s",
		 strerror(-error));
	return error;
}

int catalog_load(struct catalog **ret, const char *file, const struct catalog_system *system,
		 struct catalog_problems *problems)
{
	bool private = true;
	char *text;
	size_t n;
	int r = system->read_file(system, file, CATALOG_FILE_SIZE_MAX, private, &text, &n);

	if (r == -EPERM) {
		private = false;
		r = system->read_file(system, file, CATALOG_FILE_SIZE_MAX, private, &text, &n);
	}
	if (r < 0)
		return refuse_reading(problems, r);
	r = catalog_parse(ret, text, n, file, private, system, problems);
	secret_wipe(text, n);
	free(text);
	return r;
}

void catalog_problem_text(const struct catalog_problem *problem, const char *file, char *to,
			  size_t size)
{
	char line[16] = "";

	if (problem->line > 0)
		snprintf(line, sizeof(line), "%u: ", problem->line);
	snprintf(to, size, "%s:%s%s%s%s%s", file, *line ? "" : " ", line,
		 problem->warning ? "warning: " : "", problem->path, *problem->path ? ": " : "");
	size_t n = strlen(to);
	snprintf(to + n, size - n, "%s", problem->message);
}

/* Lookups. */

int catalog_compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int catalog_compare_configs(const void *a, const void *b)
{
	return strcmp(((const struct config *)a)->name, ((const struct config *)b)->name);
}

/* bsearch(3) on nothing is undefined where the list is NULL. */
static const void *find(const char *name, const void *list, size_t n, size_t size)
{
	return n > 0 ? bsearch(&name, list, n, size, catalog_compare_names) : NULL;
}

const struct project *catalog_project(const struct catalog *catalog, const char *project)
{
	return find(project, catalog->projects, catalog->n_projects, sizeof(*catalog->projects));
}

const struct config *catalog_config(const struct catalog *catalog, const char *project,
				    const char *config)
{
	const struct project *in = catalog_project(catalog, project);
	const struct config key = {.name = config};

	if (!in || in->n_configs == 0)
		return NULL;
	return bsearch(&key, in->configs, in->n_configs, sizeof(key), catalog_compare_configs);
}

const struct integration *catalog_integration(const struct catalog *catalog, const char *name)
{
	return find(name, catalog->integrations, catalog->n_integrations,
		    sizeof(*catalog->integrations));
}

const struct dynamic_secret *config_dynamic(const struct config *config, const char *name,
					    size_t *ret_index)
{
	const struct dynamic_secret *found =
		find(name, config->dynamics, config->n_dynamics, sizeof(*config->dynamics));

	if (found)
		*ret_index = (size_t)(found - config->dynamics);
	return found;
}

bool catalog_hides(const struct catalog *catalog)
{
	for (size_t i = 0; i < catalog->n_projects; i++)
		for (size_t j = 0; j < catalog->projects[i].n_configs; j++)
			if (catalog->projects[i].configs[j].access.hide)
				return true;
	return false;
}

const char *catalog_api_socket(const struct catalog *catalog)
{
	const size_t prefix = strlen(CATALOG_UNIX_PREFIX);

	for (size_t i = 0; i < catalog->n_api_listen; i++)
		if (strncmp(catalog->api_listen[i], CATALOG_UNIX_PREFIX, prefix) == 0)
			return catalog->api_listen[i] + prefix;
	return NULL;
}

int64_t catalog_min_validity(const struct dynamic_secret *secret, int64_t ttl_ms)
{
	return secret->min_validity_ms < ttl_ms / 2 ? secret->min_validity_ms : ttl_ms / 2;
}

/* Names. */

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

bool catalog_made_of(const char *text, const char *others)
{
	while (*(text += strspn(text, LETTERS DIGITS)) && strchr(others, *text))
		text++;
	return !*text;
}

bool catalog_name_valid(const char *name)
{
	return *name && *name != '.' && strlen(name) <= CATALOG_NAME_MAX &&
	       catalog_made_of(name, "_.-");
}

bool catalog_key_valid(const char *key)
{
	size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_" DIGITS);

	return n > 0 && n <= CATALOG_NAME_MAX && !key[n] && !strchr(DIGITS, *key);
}
