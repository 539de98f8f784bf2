/*
 * cgroup.h: which container, or unit of systemd, a process belongs to, by its cgroup.
 *
 * A container is known by the whole path of its cgroup from the root that dsec sees, and by the
 * number of the cgroup's folder, which tells one from a later one at the same path. A user with a
 * delegated cgroup can make one with any name in it, so a name is believed only below folders that
 * root owns. What is nested in a container counts as the container, whatever it is called.
 */
#ifndef DSEC_FS_CGROUP_H
#define DSEC_FS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_PATH_MAX 2048
#define CGROUP_NAME_MAX 256

enum cgroup_kind {
	CGROUP_PLAIN,     /* a cgroup that nothing is known of; its name is its last part */
	CGROUP_UNIT,      /* "nginx.service" */
	CGROUP_CONTAINER, /* "docker:ID": as lease/container.h names it */
};

struct cgroup {
	char hierarchy[CGROUP_NAME_MAX]; /* its controllers; "": the unified one */
	char path[CGROUP_PATH_MAX];      /* begins with '/' and is longer than that */
	enum cgroup_kind kind;
	char name[CGROUP_NAME_MAX];
};

/* The container that a text of /proc/PID/cgroup tells of: by the unified hierarchy, else systemd's,
 * else the first one in which the process is not in the root. -ENOENT: it is in the root of all;
 * -ENAMETOOLONG. */
int cgroup_parse(struct cgroup *ret, const char *text);

/* What goes on when it is started again: of a container of Kubernetes its pod, since each of its
 * starts has another name; else its name, or the path of one without. "": nothing does, as of a
 * user's session. */
void cgroup_lasting(const struct cgroup *cgroup, char to[CGROUP_PATH_MAX]);

/* Where the hierarchies are mounted. */
struct cgroup_mounts {
	struct cgroup_mount {
		char hierarchy[CGROUP_NAME_MAX];
		char folder[CGROUP_PATH_MAX];
	} at[16];
	size_t n;
};

/* Of the text of /proc/self/mountinfo. */
void cgroup_mounts_parse(struct cgroup_mounts *ret, const char *mountinfo);
void cgroup_mounts_read(struct cgroup_mounts *ret);

/* Its folder; -ENOENT where the hierarchy is not mounted, -ENAMETOOLONG. */
int cgroup_folder(const struct cgroup_mounts *mounts, const struct cgroup *cgroup, char *to,
		  size_t size);

/* The folder's number, or 0 where there is none to be seen. */
uint64_t cgroup_number(const struct cgroup_mounts *mounts, const struct cgroup *cgroup);

/* Do all folders above it belong to root? */
bool cgroup_believed(const struct cgroup_mounts *mounts, const struct cgroup *cgroup);

#endif
