/*
 * fuzz_catalog.c: any text as a configuration. What loads must keep catalog.h's promises.
 *
 * One that ends with a newline is its owner's alone.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog.h"
#include "lease/download.h"
#include "lease/json_text.h"
#include "lease/policy.h"

#define ARENA_SIZE (32ul * 1024) /* less than a static secret may have */
#define FILE_NAME  "/f/dsec.json"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

/* The configuration. */
static const uint8_t *input;
static size_t input_size;

static int read_input(bool private, char **ret, size_t *ret_n)
{
	if (private && (input_size == 0 || input[input_size - 1] != '\n'))
		return -EPERM;
	*ret = malloc(input_size + 1);
	check(*ret);
	memcpy(*ret, input, input_size);
	*ret_n = input_size;
	return 0;
}

/* A file's text is what its name says behind the folder; some names are errors. */
static int read_file(const struct catalog_system *system, const char *path, size_t max,
		     bool private, char **ret, size_t *ret_n)
{
	const char *text = strncmp(path, "/f/", 3) == 0 ? path + 3 : path;
	static const int errors[] = {0, -ENOENT, -EACCES, -EFBIG, -EISDIR};
	size_t n = strlen(text);

	if (strcmp(path, FILE_NAME) == 0)
		return read_input(private, ret, ret_n);
	if (private && n % 7 == 0)
		return -EPERM;
	if (n % 11 < sizeof(errors) / sizeof(errors[0]) && errors[n % 11])
		return errors[n % 11];
	*ret = strdup(strcmp(text, "blank") == 0 ? " \t\r\n" : text);
	*ret_n = *ret ? strlen(*ret) : 0;
	return *ret ? 0 : -ENOMEM;
}

static int find_user(const struct catalog_system *system, const char *name, uid_t *ret,
		     gid_t *ret_primary_group)
{
	*ret = *ret_primary_group = (unsigned char)*name;
	return strlen(name) % 2 ? 0 : -ENOENT;
}

static int find_group(const struct catalog_system *system, const char *name, gid_t *ret)
{
	*ret = (unsigned char)*name;
	return strlen(name) % 2 ? 0 : -ENOENT;
}

static void check_dynamic(const struct dynamic_secret *secret)
{
	char *whole = policy_with_expiry(secret->policy, secret->ttl_ms);

	check(secret->integration && catalog_key_valid(secret->name));
	check(whole && policy_size(whole) > policy_size(secret->policy));
	check(policy_size(secret->integration->expiry_in_policy ? whole : secret->policy) <=
	      POLICY_SIZE_MAX);
	check(secret->ttl_ms >= CATALOG_TTL_MIN_MS && secret->ttl_ms <= secret->max_ttl_ms);
	check(secret->min_validity_ms >= 0 && secret->min_validity_ms < secret->ttl_ms);
	check(secret->max_leases > 0 && secret->max_rate > 0 && secret->max_rate_per_ms > 0);
	check(secret->max_rate_per_holder > 0 && secret->max_rate_per_holder_ms > 0);
	check(*secret->policy || secret->n_policy_arns > 0);
	check(catalog_min_validity(secret, secret->ttl_ms) <= secret->min_validity_ms);
	check(catalog_min_validity(secret, CATALOG_TTL_MIN_MS) <= CATALOG_TTL_MIN_MS / 2);
	free(whole);
}

static void check_config(const struct catalog *catalog, const struct project *project,
			 const struct config *config)
{
	struct download_key *keys;
	size_t n, index;

	check(catalog_config(catalog, project->name, config->name) == config);
	check(catalog_name_valid(config->name) && catalog_name_valid(config->environment));
	check(config->access.mode != 0 && !(config->access.mode & ~(mode_t)0444));
	for (size_t i = 0; i < config->n_dynamics; i++) {
		check(!config_dynamic(config, ".", &index));
		check(config_dynamic(config, config->dynamics[i].name, &index) && index == i);
		check_dynamic(&config->dynamics[i]);
	}
	check(download_keys(&keys, &n, config, NULL) == 0);
	/* No two keys met. */
	check(n == 3 + config->n_statics + config->n_dynamics * PROPERTIES);
	free(keys);
}

static void check_catalog(const struct catalog *catalog)
{
	const char *socket = catalog_api_socket(catalog);
	bool hides = false;

	check(!socket || *socket == '/');
	for (size_t i = 0; i < catalog->n_integrations; i++) {
		const struct integration *integration = &catalog->integrations[i];
		check(catalog_integration(catalog, integration->name) == integration);
		check(*integration->endpoint && *integration->sts_endpoint);
		check(integration->path[strlen(integration->path) - 1] == '/');
	}
	for (size_t i = 0; i < catalog->n_projects; i++) {
		const struct project *project = &catalog->projects[i];
		check(!catalog_config(catalog, project->name, "."));
		for (size_t j = 0; j < project->n_configs; j++) {
			check_config(catalog, project, &project->configs[j]);
			hides = hides || project->configs[j].access.hide;
		}
	}
	check(catalog_hides(catalog) == hides && !catalog_config(catalog, ".", "."));
}

/* What is no JSON has places all the same. */
static void locate(const char *text, size_t n)
{
	static const struct json_step steps[] = {
		{.key = "projects"}, {.key = "app"}, {.index = 2}, {.key = "d\"ev"}};

	for (size_t i = 0; i <= sizeof(steps) / sizeof(steps[0]); i++) {
		size_t offset = json_locate(text, n, steps, i);
		check(offset <= n && json_line(text, n, offset) <= json_line(text, n, n));
	}
	check(json_line(text, n, SIZE_MAX) == json_line(text, n, n));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	check(secret_arena_init(ARENA_SIZE, NULL) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct catalog_system system = {
		.read_file = read_file, .user = find_user, .group = find_group};
	static struct catalog_problems problems;
	struct catalog *catalog = NULL;
	bool refused = false;

	input = data;
	input_size = size;
	int r = catalog_load(&catalog, FILE_NAME, &system, &problems);

	for (size_t i = 0; i < problems.n; i++) {
		char text[1024];
		catalog_problem_text(&problems.at[i], "dsec.json", text, sizeof(text));
		refused = refused || !problems.at[i].warning;
		check(i == 0 || problems.at[i - 1].line <= problems.at[i].line);
	}
	check((r < 0) == refused);
	if (r == 0)
		check_catalog(catalog);
	locate((const char *)data, size);
	catalog_unref(catalog);
	check(secret_arena_used() == 0);
	return 0;
}
