#include "fs/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lease/container.h"

/* Names. */

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n > m && strcmp(text + n - m, with) == 0;
}

typedef bool name_part(char to[CGROUP_NAME_MAX], const char *parent, const char *part);

static bool name_container(char to[CGROUP_NAME_MAX], const char *parent, const char *part)
{
	return container_name(to, CGROUP_NAME_MAX, parent, part);
}

static bool name_unit(char to[CGROUP_NAME_MAX], const char *parent, const char *part)
{
	static const char *const types[] = {".service", ".scope", ".socket", ".mount", ".swap"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (ends(part, types[i])) {
			snprintf(to, CGROUP_NAME_MAX, "%.*s", CGROUP_NAME_MAX - 1, part);
			return true;
		}
	return false;
}

/* Cuts the path behind its first part that has such a name. */
static bool cut(struct cgroup *cgroup, name_part *name)
{
	char path[CGROUP_PATH_MAX], *next = path + 1, *part;
	const char *parent = "";

	memcpy(path, cgroup->path, sizeof(path));
	while ((part = strsep(&next, "/"))) {
		if (name(cgroup->name, parent, part)) {
			cgroup->path[part - path + (ptrdiff_t)strlen(part)] = '\0';
			return true;
		}
		parent = part;
	}
	return false;
}

/* The outermost container; where there is none, the outermost unit. */
static void cut_and_name(struct cgroup *cgroup)
{
	if (cut(cgroup, name_container)) {
		cgroup->kind = CGROUP_CONTAINER;
	} else if (cut(cgroup, name_unit)) {
		cgroup->kind = CGROUP_UNIT;
	} else {
		cgroup->kind = CGROUP_PLAIN;
		snprintf(cgroup->name, sizeof(cgroup->name), "%.*s", CGROUP_NAME_MAX - 1,
			 strrchr(cgroup->path, '/') + 1);
	}
}

/* Lines. */

/* How much one would rather know a container by this hierarchy; 0: not at all. */
static int rank(const char *controllers, size_t n, const char *path)
{
	if (strcmp(path, "/") == 0)
		return 0;
	if (n == 0)
		return 3;
	return n == strlen("name=systemd") && starts(controllers, "name=systemd") ? 2 : 1;
}

int cgroup_parse(struct cgroup *ret, const char *text)
{
	int best = 0;

	while (*text) {
		size_t n = strcspn(text, "\n");
		char line[CGROUP_NAME_MAX + CGROUP_PATH_MAX + 16];
		if (n >= sizeof(line))
			return -ENAMETOOLONG;
		memcpy(line, text, n);
		line[n] = '\0';
		text += n + (text[n] == '\n');

		/* "NUMBER:CONTROLLERS:PATH" */
		const char *controllers = strchr(line, ':');
		const char *path = controllers ? strchr(++controllers, ':') : NULL;
		if (!path || path[1] != '/')
			continue;
		size_t length = (size_t)(path++ - controllers);
		int is = rank(controllers, length, path);
		if (is <= best)
			continue;
		if (length >= sizeof(ret->hierarchy) || strlen(path) >= sizeof(ret->path))
			return -ENAMETOOLONG;
		memcpy(ret->hierarchy, controllers, length);
		ret->hierarchy[length] = '\0';
		memset(ret->path, 0, sizeof(ret->path));
		memcpy(ret->path, path, strlen(path));
		best = is;
	}
	if (best == 0)
		return -ENOENT;
	cut_and_name(ret);
	return 0;
}

/* The folder above the last one of the path, if that is a pod's. */
static bool pod_of(const struct cgroup *cgroup, char to[CGROUP_PATH_MAX])
{
	char above[CGROUP_PATH_MAX];

	snprintf(above, sizeof(above), "%s", cgroup->path);
	*strrchr(above, '/') = '\0';

	const char *parent = strrchr(above, '/');

	if (!parent || !(starts(parent, "/pod") || starts(parent, "/kubepods")))
		return false;
	snprintf(to, CGROUP_PATH_MAX, "%s", parent + 1);
	return true;
}

void cgroup_lasting(const struct cgroup *cgroup, char to[CGROUP_PATH_MAX])
{
	if (cgroup->kind == CGROUP_CONTAINER && pod_of(cgroup, to))
		return;
	if (starts(cgroup->path, "/user.slice/"))
		to[0] = '\0';
	else
		snprintf(to, CGROUP_PATH_MAX, "%s",
			 cgroup->kind == CGROUP_PLAIN ? cgroup->path : cgroup->name);
}

/* Mounts. */

static bool listed(const char *words, const char *word, size_t n)
{
	for (; *words; words += strcspn(words, ","), words += *words == ',')
		if (strcspn(words, ",\n") == n && memcmp(words, word, n) == 0)
			return true;
	return false;
}

/* "36 35 0:30 / /sys/fs/cgroup/unified rw,… - cgroup2 cgroup2 rw": whole hierarchies only. */
static void parse_mount(struct cgroup_mounts *ret, const char *line)
{
	struct cgroup_mount *mount = &ret->at[ret->n];
	char root[8], folder[CGROUP_PATH_MAX], type[16], options[CGROUP_NAME_MAX];
	const char *tail = strstr(line, " - ");

	if (ret->n == sizeof(ret->at) / sizeof(ret->at[0]) || !tail ||
	    sscanf(line, "%*s %*s %*s %7s %2047s", root, folder) != 2 || strcmp(root, "/") != 0 ||
	    sscanf(tail + 3, "%15s %*s %255s", type, options) != 2)
		return;
	if (strcmp(type, "cgroup2") == 0)
		mount->hierarchy[0] = '\0';
	else if (strcmp(type, "cgroup") == 0)
		snprintf(mount->hierarchy, sizeof(mount->hierarchy), "%s", options);
	else
		return;
	snprintf(mount->folder, sizeof(mount->folder), "%s", folder);
	ret->n++;
}

/* One that is too long is passed over. */
static void parse_line(struct cgroup_mounts *ret, const char *text, size_t n)
{
	char line[2 * CGROUP_PATH_MAX];

	if (n >= sizeof(line))
		return;
	memcpy(line, text, n);
	line[n] = '\0';
	parse_mount(ret, line);
}

void cgroup_mounts_parse(struct cgroup_mounts *ret, const char *mountinfo)
{
	ret->n = 0;
	while (*mountinfo) {
		size_t n = strcspn(mountinfo, "\n");

		parse_line(ret, mountinfo, n);
		mountinfo += n + (mountinfo[n] == '\n');
	}
}

void cgroup_mounts_read(struct cgroup_mounts *ret)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;

	ret->n = 0;
	while (file && getline(&line, &size, file) > 0)
		parse_line(ret, line, strcspn(line, "\n"));
	free(line);
	if (file)
		fclose(file);
}

/* Does the mount, by its options, carry all controllers of the hierarchy? */
static bool carries(const char *options, const char *hierarchy)
{
	if (!*hierarchy || !*options)
		return !*hierarchy && !*options;
	for (const char *at = hierarchy; *at; at += strcspn(at, ","), at += *at == ',')
		if (!listed(options, at, strcspn(at, ",")))
			return false;
	return true;
}

static const struct cgroup_mount *find_mount(const struct cgroup_mounts *mounts,
					     const struct cgroup *cgroup)
{
	for (size_t i = 0; i < mounts->n; i++)
		if (carries(mounts->at[i].hierarchy, cgroup->hierarchy))
			return &mounts->at[i];
	return NULL;
}

int cgroup_folder(const struct cgroup_mounts *mounts, const struct cgroup *cgroup, char *to,
		  size_t size)
{
	const struct cgroup_mount *mount = find_mount(mounts, cgroup);

	/* "/../…" is beside the root that we see. */
	if (!mount || starts(cgroup->path, "/.."))
		return -ENOENT;
	int n = snprintf(to, size, "%s%s", mount->folder, cgroup->path);
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

uint64_t cgroup_number(const struct cgroup_mounts *mounts, const struct cgroup *cgroup)
{
	char folder[2 * CGROUP_PATH_MAX];
	struct stat of;

	if (cgroup_folder(mounts, cgroup, folder, sizeof(folder)) < 0 || stat(folder, &of) < 0)
		return 0;
	return of.st_ino;
}

bool cgroup_believed(const struct cgroup_mounts *mounts, const struct cgroup *cgroup)
{
	char folder[2 * CGROUP_PATH_MAX];
	const struct cgroup_mount *mount = find_mount(mounts, cgroup);

	if (!mount || cgroup_folder(mounts, cgroup, folder, sizeof(folder)) < 0)
		return false;
	for (;;) {
		struct stat of;
		char *slash = strrchr(folder, '/');

		if (!slash)
			return false;
		*slash = '\0';
		if (stat(folder, &of) < 0 || of.st_uid != 0)
			return false;
		if (strlen(folder) <= strlen(mount->folder))
			return true;
	}
}
