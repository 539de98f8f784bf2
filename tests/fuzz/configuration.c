/*
 * Whatever stands in dsec.json, it is read into a catalog or refused with at least one problem.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lease/catalog.h"
#include "lease/secret.h"

#define ARENA_SIZE (1024u * 1024u)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct dsec_error err;

	return secret_arena_init(ARENA_SIZE, &err);
}

static int no_file(const struct catalog_system *system, const char *path, size_t max, bool private,
		   char **ret, size_t *ret_n)
{
	return -ENOENT;
}

static int any_user(const struct catalog_system *system, const char *name, uid_t *ret,
		    gid_t *ret_primary_group)
{
	*ret = 1000;
	*ret_primary_group = 1000;
	return 0;
}

static int any_group(const struct catalog_system *system, const char *name, gid_t *ret)
{
	*ret = 1000;
	return 0;
}

static const struct catalog_system fuzzed_system = {
	.read_file = no_file,
	.user = any_user,
	.group = any_group,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct catalog_problems problems;
	char text[1024];
	struct catalog *catalog = NULL;
	bool refused = false;

	int r = catalog_parse(&catalog, (const char *)data, size, "/etc/dsec/dsec.json", true,
			      &fuzzed_system, &problems);
	for (size_t i = 0; i < problems.n; i++) {
		refused |= !problems.at[i].warning;
		catalog_problem_text(&problems.at[i], "dsec.json", text, sizeof(text));
	}
	if ((r == 0) != (catalog != NULL) || (r == 0) == refused)
		abort();
	catalog_unref(catalog);
	return 0;
}
