/*
 * Whatever a process has made of its cgroup's name, and a user of the list of mounts: whose
 * container it is said to be is a whole name, and lies in the text.
 *
 * The input is the text of /proc/PID/cgroup, a form feed, and that of mountinfo.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cgroup.h"
#include "lease/who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static void look(const struct cgroup *cgroup, const struct cgroup_mounts *mounts, const char *text)
{
	char folder[2 * CGROUP_PATH_MAX], small[32];
	const char *name = strchr(cgroup->name, ':');

	check(cgroup->path[0] == '/' && strstr(text, cgroup->path));
	check(strlen(cgroup->name) < CGROUP_NAME_MAX);
	if (cgroup->kind == CGROUP_CONTAINER)
		check(name && strstr(cgroup->path, name + 1));
	if (cgroup_folder(mounts, cgroup, folder, sizeof(folder)) == 0)
		check(strstr(folder, cgroup->path));
	cgroup_folder(mounts, cgroup, small, sizeof(small));
	cgroup_number(mounts, cgroup);
	cgroup_believed(mounts, cgroup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cgroup_mounts mounts;
	struct cgroup cgroup;
	char name[WHO_TEXT_MAX];
	/* Not by strndup(): the sanitizer wants a string there that ends. */
	char *text = malloc(size + 1);

	check(text);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';

	char *rest = text, *of_process = strsep(&rest, "\f");
	cgroup_mounts_parse(&mounts, rest ? rest : "");
	if (cgroup_parse(&cgroup, of_process) == 0)
		look(&cgroup, &mounts, of_process);
	if (who_container(name, of_process))
		check(strlen(name) > 0 && strlen(name) < sizeof(name));
	free(text);
	return 0;
}
