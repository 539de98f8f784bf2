#include "tests/lease/catalog_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_SIZE (1ul * 1024 * 1024)

static const struct file {
	const char *path, *text;
	bool open; /* others may read it */
	int error;
} files[] = {
	{"/etc/dsec/aws-main.key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n", false, 0},
	{"/etc/dsec/open.key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n", true, 0},
	{"/etc/dsec/empty.key", " \n", false, 0},
	{"/etc/dsec/huge", "", false, -EFBIG},
	{"/etc/dsec/locked", "", false, -EACCES},
	{"/etc/dsec/folder", "", false, -EISDIR},
	{"/etc/ssl/ca.pem", "-----BEGIN CERTIFICATE-----\n", true, 0},
	{"/etc/dsec/credentials", "[default]\n", false, 0},
	{"/etc/dsec/policy.json",
	 "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": "
	 "\"s3:Get*\", \"Resource\": \"*\"}\n}\n",
	 true, 0},
	{"/etc/dsec/broken.json", "{\n  \"Version\": \"2012-10-17\",\n}\n", true, 0},
};

static int read_file(const struct catalog_system *system, const char *path, size_t max,
		     bool private, char **ret, size_t *ret_n)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i].path, path) != 0)
			continue;
		if (files[i].error)
			return files[i].error;
		if (private && files[i].open)
			return -EPERM;
		*ret = strdup(files[i].text);
		*ret_n = strlen(files[i].text);
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static int find_user(const struct catalog_system *system, const char *name, uid_t *ret,
		     gid_t *ret_primary_group)
{
	if (strcmp(name, "app") != 0)
		return -ENOENT;
	*ret = 1000;
	*ret_primary_group = 1001;
	return 0;
}

static int find_group(const struct catalog_system *system, const char *name, gid_t *ret)
{
	if (strcmp(name, "app") != 0 && strcmp(name, "dsec") != 0)
		return -ENOENT;
	*ret = 1002;
	return 0;
}

void fixture_system(struct catalog_system *system)
{
	*system = (struct catalog_system){
		.read_file = read_file,
		.user = find_user,
		.group = find_group,
		.default_uid = 7,
		.default_gid = 8,
	};
}

int fixture_open_arena(void **state)
{
	return secret_arena_init(ARENA_SIZE, NULL);
}

int fixture_close_arena(void **state)
{
	secret_arena_finish();
	return 0;
}
