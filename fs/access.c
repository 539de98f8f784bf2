#include "fs/access.h"

#include <fnmatch.h>
#include <string.h>

#include "fs/caller.h"

static bool has_uid(const struct allow *allow, uid_t uid)
{
	for (size_t i = 0; i < allow->n_uids; i++)
		if (allow->uids[i] == uid)
			return true;
	return false;
}

static bool has_group(const struct access_caller *caller, gid_t gid)
{
	return caller->gid == gid || caller_has_group(caller->tid, gid);
}

static bool has_gid(const struct allow *allow, const struct access_caller *caller)
{
	for (size_t i = 0; i < allow->n_gids; i++)
		if (has_group(caller, allow->gids[i]))
			return true;
	return false;
}

static bool matches(const char *const *patterns, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	return false;
}

/* A container goes by "docker:ID" and by its ID. */
static bool named(const struct allow *allow, const struct cgroup *cgroup)
{
	const char *id = strchr(cgroup->name, ':');

	if (cgroup->kind == CGROUP_UNIT)
		return matches(allow->units, allow->n_units, cgroup->name);
	return matches(allow->containers, allow->n_containers, cgroup->name) ||
	       (cgroup->kind == CGROUP_CONTAINER && id &&
		matches(allow->containers, allow->n_containers, id + 1));
}

static bool has_cgroup(const struct allow *allow, const struct access_caller *caller,
		       const struct cgroup_mounts *mounts)
{
	char text[CALLER_CGROUPS_MAX];
	struct cgroup cgroup;

	if (allow->n_units == 0 && allow->n_containers == 0)
		return false;
	return caller_cgroups(caller->tid, text) == 0 && cgroup_parse(&cgroup, text) == 0 &&
	       named(allow, &cgroup) && cgroup_believed(mounts, &cgroup);
}

bool access_allows(const struct access *access, const struct access_caller *caller,
		   const struct cgroup_mounts *mounts)
{
	const struct allow *allow = &access->allow;

	return !access->restricted || has_uid(allow, caller->uid) || has_gid(allow, caller) ||
	       has_cgroup(allow, caller, mounts);
}

/* As the kernel decides for the files. */
static bool may_read(const struct access *access, const struct access_caller *caller)
{
	if (caller->uid == 0)
		return true;
	if (caller->uid == access->uid)
		return access->mode & 0400;
	if ((access->mode >> 3 & 4) != (access->mode & 4) && has_group(caller, access->gid))
		return access->mode & 0040;
	return access->mode & 0004;
}

bool access_reads(const struct access *access, const struct access_caller *caller,
		  const struct cgroup_mounts *mounts)
{
	return may_read(access, caller) && access_allows(access, caller, mounts);
}

bool access_shows(const struct access *access, const struct access_caller *caller,
		  const struct cgroup_mounts *mounts)
{
	return !access->hide || access_reads(access, caller, mounts);
}
