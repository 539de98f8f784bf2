/*
 * attributes.c: what can be seen of a node without opening it. Nothing here leases.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "lease/clock.h"

#define ATTRIBUTE_LEASE_ID "user.dsec.lease_id"
#define ATTRIBUTE_EXPIRES  "user.dsec.expires"

/* The longest value: the ids of as many leases as a file can need; or a path. */
#define ATTRIBUTE_VALUE_MAX 4096
_Static_assert(CATALOG_DYNAMICS_MAX *LEASE_ID_MAX <= ATTRIBUTE_VALUE_MAX, "all ids fit");

void files_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	const struct node *node = node_of(req, id);
	struct stat stat;

	if (!node)
		return;
	node_stat(node, &stat);
	/* As the kernel was told (announce.c): its watchers hear of it with its last close. */
	if (node->replaced)
		stat.st_nlink = 0;
	fuse_reply_attr(req, &stat, attributes_seconds(node));
}

/* Extended attributes. */

static int root_value(const struct files *files, const char *name, char *to)
{
	if (strcmp(name, FS_ATTRIBUTE_PID) == 0)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%d", (int)files->pid);
	if (strcmp(name, FS_ATTRIBUTE_STATE) == 0)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%s", files->state_folder);
	if (strcmp(name, FS_ATTRIBUTE_CONFIG) == 0)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%s", files->config_file);
	if (strcmp(name, FS_ATTRIBUTE_WORKER) == 0)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%d", (int)getpid());
	if (strcmp(name, FS_ATTRIBUTE_RESTARTS) == 0)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%u", files->restarts);
	if (strcmp(name, FS_ATTRIBUTE_SANDBOX) == 0 && files->sandbox)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%s", files->sandbox);
	if (strcmp(name, FS_ATTRIBUTE_MEMORY) == 0 && files->memory)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%s", files->memory);
	if (strcmp(name, FS_ATTRIBUTE_NOTICE) == 0 && files->notice)
		return snprintf(to, ATTRIBUTE_VALUE_MAX, "%s", files->notice);
	return -ENODATA;
}

/* Of a file of several leases: all ids, and the time until which all are good. */
static int leased_value(const struct node *node, const char *name, char *to)
{
	int64_t expires_ms = INT64_MAX;
	int n = 0;

	for (size_t i = 0; i < node->n_bindings; i++) {
		const struct lease *lease = node->bindings[i].lease;

		n += snprintf(to + n, (size_t)(ATTRIBUTE_VALUE_MAX - n), "%s%s", i ? "," : "",
			      lease->id);
		if (lease->expires_ms < expires_ms)
			expires_ms = lease->expires_ms;
	}
	if (strcmp(name, ATTRIBUTE_LEASE_ID) == 0)
		return n;
	clock_iso(to, expires_ms);
	return CLOCK_ISO_MAX - 1;
}

static int value_of(const struct files *files, const struct node *node, const char *name, char *to)
{
	if (node->id == NODE_ROOT)
		return root_value(files, name, to);
	if (node->n_bindings > 0 &&
	    (strcmp(name, ATTRIBUTE_LEASE_ID) == 0 || strcmp(name, ATTRIBUTE_EXPIRES) == 0))
		return leased_value(node, name, to);
	return -ENODATA;
}

static void reply_attribute(fuse_req_t req, const char *value, size_t n, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, n);
	else if (size < n)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, n);
}

void files_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	const struct node *node = node_of(req, id);
	char value[ATTRIBUTE_VALUE_MAX];

	if (!node)
		return;

	int n = value_of(files_of(req), node, name, value);
	if (n < 0)
		fuse_reply_err(req, -n);
	else if (n >= ATTRIBUTE_VALUE_MAX)
		fuse_reply_err(req, E2BIG);
	else
		reply_attribute(req, value, (size_t)n, size);
}

void files_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	static const char of_root[] = FS_ATTRIBUTE_PID
		"\0" FS_ATTRIBUTE_STATE "\0" FS_ATTRIBUTE_CONFIG "\0" FS_ATTRIBUTE_WORKER
		"\0" FS_ATTRIBUTE_RESTARTS "\0" FS_ATTRIBUTE_SANDBOX "\0" FS_ATTRIBUTE_MEMORY;
	static const char of_leased[] = ATTRIBUTE_LEASE_ID "\0" ATTRIBUTE_EXPIRES;
	const struct node *node = node_of(req, id);

	if (!node)
		return;
	if (node->id == NODE_ROOT)
		reply_attribute(req, of_root, sizeof(of_root), size);
	else if (node->n_bindings > 0)
		reply_attribute(req, of_leased, sizeof(of_leased), size);
	else
		reply_attribute(req, "", 0, size);
}

void files_statfs(fuse_req_t req, fuse_ino_t id)
{
	struct statvfs statfs = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_files = tree_entries(files_of(req)->nodes.tree),
		.f_namemax = 255,
	};

	fuse_reply_statfs(req, &statfs);
}
