#include "cli/mounted.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/paths.h"
#include "fs/fs.h"

#define MOUNTINFO_SIZE_MAX (16ul * 1024 * 1024)
#define TYPE               " - fuse.dsec "

/* What of a dsec one line of the kernel's list shows. */
struct seen {
	char device[32]; /* major:minor, the same for all that shows one dsec */
	char root[PATH_MAX];
	char point[PATH_MAX];
};

/* The kernel writes blanks, tabs, newlines and backslashes as \NNN. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/* Who may mount with FUSE may also name the mount's type, and have programs of others read what it
 * likes. */
static bool trusted(const char *options)
{
	const char *owner = strstr(options, "user_id=");
	unsigned long uid = owner ? strtoul(owner + strlen("user_id="), NULL, 10) : ULONG_MAX;

	return uid == 0 || uid == geteuid();
}

static bool read_line(const char *line, struct seen *ret)
{
	_Static_assert(PATH_MAX == 4096, "the widths below");
	const char *type = strstr(line, TYPE);

	if (!type || !trusted(type) ||
	    sscanf(line, "%*d %*d %31s %4095s %4095s", ret->device, ret->root, ret->point) != 3)
		return false;
	unescape(ret->root);
	unescape(ret->point);
	return true;
}

static void each_seen(bool (*each)(void *arg, const struct seen *seen), void *arg)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ struct seen *seen = alloc_zeroed(1, sizeof(*seen));
	char *at, *line;
	size_t n;

	if (file_read("/proc/self/mountinfo", MOUNTINFO_SIZE_MAX, &text, &n) < 0)
		return;
	at = text;
	while ((line = strsep(&at, "\n")))
		if (read_line(line, seen) && !each(arg, seen))
			return;
}

/* How much of the tree is seen: 0 all of it, 1 a project, 2 a config; -1: something else. */
static int depth_of(const char *root)
{
	int depth = 0;

	for (const char *at = root; *at; at++)
		if (*at == '/' && at[1])
			depth++;
	return depth <= 2 ? depth : -1;
}

struct search {
	struct names *names;
	struct mounted *found;
	int depth;
	char device[32];
	bool any;       /* something of a dsec is mounted here */
	bool ambiguous; /* two of one depth that are not of one dsec */
};

/* Does the part that is mounted hold the config; and where. */
static bool holds(const struct seen *seen, int depth, const struct names *names,
		  struct mounted *ret)
{
	const char *project = names->project, *config = names->config;
	char root[2 * CATALOG_NAME_MAX + 4] = "/";
	int n;

	if (!project[0] || !config[0])
		return false;
	if (depth == 1)
		snprintf(root, sizeof(root), "/%s", project);
	else if (depth == 2)
		snprintf(root, sizeof(root), "/%s/%s", project, config);
	if (strcmp(root, seen->root) != 0)
		return false;
	*ret = (struct mounted){0};
	if (depth == 0)
		n = snprintf(ret->above, PATH_MAX, "%s/%s", seen->point, project);
	else if (depth == 1)
		n = snprintf(ret->above, PATH_MAX, "%s", seen->point);
	else
		return snprintf(ret->folder, PATH_MAX, "%s", seen->point) < PATH_MAX &&
		       access(ret->folder, F_OK) == 0;
	return n < PATH_MAX &&
	       snprintf(ret->folder, PATH_MAX, "%s/%s", ret->above, config) < PATH_MAX &&
	       access(ret->folder, F_OK) == 0;
}

static bool try_seen(void *arg, const struct seen *seen)
{
	struct search *search = arg;
	int depth = depth_of(seen->root);
	_cleanup_free_ struct mounted *here = alloc_zeroed(1, sizeof(*here));

	search->any = true;
	if (depth < 0 || !holds(seen, depth, search->names, here))
		return true;
	bool first = search->depth < 0;
	if (!first && strcmp(search->device, seen->device) != 0)
		search->ambiguous = true;
	if (!first && depth >= search->depth)
		return true;
	search->depth = depth;
	snprintf(search->device, sizeof(search->device), "%s", seen->device);
	*search->found = *here;
	return true;
}

/* Where one config's folder is all that there is, as in a container, it is the one that is meant,
 * as with Doppler's service tokens. */
struct only {
	struct names names;
	bool other;
};

static bool look_for_only(void *arg, const struct seen *seen)
{
	struct only *only = arg;
	struct names names = {0};

	if (depth_of(seen->root) != 2 ||
	    sscanf(seen->root, "/%128[^/]/%128[^/@]", names.project, names.config) != 2 ||
	    (only->names.project[0] && memcmp(&only->names, &names, sizeof(names)) != 0))
		only->other = true;
	only->names = names;
	return !only->other;
}

static void fill_in(struct names *names)
{
	struct only only = {0};

	if (names->project[0] && names->config[0])
		return;
	each_seen(look_for_only, &only);
	if (only.other || !only.names.project[0])
		return;
	if (!names->project[0])
		memcpy(names->project, only.names.project, sizeof(names->project));
	if (!names->config[0])
		memcpy(names->config, only.names.config, sizeof(names->config));
}

static int in_tree(struct mounted *ret, const struct names *names, const char *tree,
		   struct dsec_error *err)
{
	if (snprintf(ret->above, PATH_MAX, "%s/%s", tree, names->project) >= PATH_MAX ||
	    snprintf(ret->folder, PATH_MAX, "%s/%s", ret->above, names->config) >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%.64s… is too long for a path",
				      tree);
	if (access(ret->folder, F_OK) == 0)
		return 0;
	if (errno == ENOTCONN)
		return dsec_error_set(err, DSEC_ERROR_UNREACHABLE,
				      "the daemon that served %s is dead; 'dsec mount' takes its "
				      "mount over",
				      tree);
	if (errno == ENOENT || errno == ENOTDIR)
		return dsec_error_set(
			err, DSEC_ERROR_NOT_CONFIGURED,
			"there is no config %s/%s in %s; 'dsec status' lists what you "
			"may see",
			names->project, names->config, tree);
	return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
			      "%s: %s; the access of the config says who may read it", ret->folder,
			      strerror(errno));
}

static int elsewhere(struct mounted *ret, const struct names *names, struct dsec_error *err)
{
	struct names wanted = *names;
	struct search search = {.names = &wanted, .found = ret, .depth = -1};

	each_seen(try_seen, &search);
	if (!search.any)
		return -ENODEV;
	if (search.ambiguous)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "several dsec that are mounted here have a config %s/%s: say "
				      "which with --tree DIR",
				      names->project, names->config);
	if (search.depth < 0)
		return -ESRCH;
	return 0;
}

int mounted_find(struct mounted *ret, struct names *names, const char *tree, struct dsec_error *err)
{
	const char *variable = getenv(MOUNTED_VARIABLE);
	char usual[PATH_MAX];
	struct dsec_error ignored;

	if (!tree && variable && variable[0])
		tree = variable;
	if (!tree)
		fill_in(names);
	int r = names_required(names, err);
	if (r < 0)
		return r;
	if (tree)
		return in_tree(ret, names, tree, err);
	if (paths_mountpoint(usual, NULL, &ignored) == 0 && fs_mount_state(usual) == FS_MOUNT_ALIVE)
		return in_tree(ret, names, usual, err);
	r = elsewhere(ret, names, err);
	return r == -ESRCH ? -ENODEV : r;
}

struct trees {
	bool (*each)(void *arg, const char *tree);
	void *arg;
	char usual[PATH_MAX];
};

static bool give_tree(void *arg, const struct seen *seen)
{
	struct trees *trees = arg;

	if (strcmp(seen->root, "/") != 0 || strcmp(seen->point, trees->usual) == 0)
		return true;
	return trees->each(trees->arg, seen->point);
}

void mounted_each_tree(bool (*each)(void *arg, const char *tree), void *arg)
{
	struct trees trees = {.each = each, .arg = arg};
	const char *variable = getenv(MOUNTED_VARIABLE);
	struct dsec_error ignored;

	if (variable && variable[0]) {
		each(arg, variable);
		return;
	}
	if (paths_mountpoint(trees.usual, NULL, &ignored) < 0)
		trees.usual[0] = '\0';
	if (trees.usual[0] && fs_mount_state(trees.usual) == FS_MOUNT_ALIVE &&
	    !each(arg, trees.usual))
		return;
	each_seen(give_tree, &trees);
}
