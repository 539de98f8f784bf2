/*
 * access.h: who may have a config's files beyond what the kernel enforces, and who may see it.
 *
 * The mode of a file is the kernel's to enforce; its `allow` lists are looked at when it is opened.
 * Of a config that is hidden, nothing is cached that another caller could be answered from.
 */
#ifndef DSEC_FS_ACCESS_H
#define DSEC_FS_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/cgroup.h"
#include "lease/catalog.h"

struct access_caller {
	uid_t uid;
	gid_t gid;
	pid_t tid; /* of the thread whose request is unanswered */
};

/* Do the config's lists name the caller? True where it has none. */
bool access_allows(const struct access *access, const struct access_caller *caller,
		   const struct cgroup_mounts *mounts);

/* May the caller read its files: by their mode, as the kernel decides, and by the lists? */
bool access_reads(const struct access *access, const struct access_caller *caller,
		  const struct cgroup_mounts *mounts);

/* May the caller see the config at all? */
bool access_shows(const struct access *access, const struct access_caller *caller,
		  const struct cgroup_mounts *mounts);

#endif
