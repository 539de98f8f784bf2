/*
 * mounted.h: where the files of a config can be read: in a mount of the whole tree, or, as in a
 * container, in a folder of it that was bind-mounted.
 *
 * The kernel's list of mounts says both where a dsec is mounted and which folder of it is seen
 * there, so nothing has to be told to a container but its mount.
 */
#ifndef DSEC_CLI_MOUNTED_H
#define DSEC_CLI_MOUNTED_H

#include <limits.h>
#include <stdbool.h>

#include "cli/names.h"
#include "lease/error.h"

#define MOUNTED_VARIABLE "DSEC_TREE"

struct mounted {
	char folder[PATH_MAX]; /* of the config, without options */
	char above[PATH_MAX]; /* of its project, where CONFIG@OPTIONS can be looked up; "": only the
				 config's own folder is mounted here */
};

/* Looks in `tree` alone (NULL: in DSEC_TREE alone, and where that is not set in the default mount
 * point, then in whatever else of a dsec is mounted here). Names that are "" are filled in where
 * the only thing of a dsec that is mounted here is one config's folder.
 *
 * 0; -ENODEV without an error set when no such config is mounted here by any dsec; else a negative
 * errno with a sentence: a mount that has no such config, several that have one, a dead daemon. */
int mounted_find(struct mounted *ret, struct names *names, const char *tree,
		 struct dsec_error *err);

/* Calls `each` with the folder of every whole tree that is mounted here, the default one first;
 * until it returns false. */
void mounted_each_tree(bool (*each)(void *arg, const char *tree), void *arg);

#endif
