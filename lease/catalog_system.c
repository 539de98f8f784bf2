/* catalog_system.c: the system's files, users and groups, for the catalog. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/catalog.h"
#include "lease/io.h"
#include "lease/opener.h"
#include "lease/owner.h"

#define ENTRY_SIZE_MAX (1ul * 1024 * 1024) /* a user's or group's entry: groups can be large */

static int open_file(const char *path, size_t max, bool private, size_t *ret_size)
{
	struct stat st;
	int fd = opener_open(path, OPENER_READ), r = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (S_ISDIR(st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if (private && (st.st_mode & 077))
		r = -EPERM;
	else if ((size_t)st.st_size > max)
		r = -EFBIG;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_size = (size_t)st.st_size;
	return fd;
}

static int read_file(const struct catalog_system *system, const char *path, size_t max,
		     bool private, char **ret, size_t *ret_n)
{
	size_t size = 0;
	int fd = open_file(path, max, private, &size);

	if (fd < 0)
		return fd;
	char *bytes = malloc(size + 1);
	/* What a file grows by while it is read is left for the next time. */
	ssize_t n = bytes ? io_read(fd, bytes, size) : -ENOMEM;
	close(fd);
	if (n < 0) {
		secret_wipe(bytes, bytes ? size : 0);
		free(bytes);
		return (int)n;
	}
	bytes[n] = '\0';
	*ret = bytes;
	*ret_n = (size_t)n;
	return 0;
}

static int find_user(const struct catalog_system *system, const char *name, uid_t *ret,
		     gid_t *ret_primary_group)
{
	struct passwd entry = {0}, *found = NULL;
	int r = ERANGE;

	for (size_t size = 1024; r == ERANGE && size <= ENTRY_SIZE_MAX; size *= 2) {
		char *buffer = malloc(size);
		if (!buffer)
			return -ENOMEM;
		r = getpwnam_r(name, &entry, buffer, size, &found);
		free(buffer);
	}
	if (!found)
		return r ? -r : -ENOENT;
	*ret = entry.pw_uid;
	*ret_primary_group = entry.pw_gid;
	return 0;
}

static int find_group(const struct catalog_system *system, const char *name, gid_t *ret)
{
	struct group entry = {0}, *found = NULL;
	int r = ERANGE;

	for (size_t size = 1024; r == ERANGE && size <= ENTRY_SIZE_MAX; size *= 2) {
		char *buffer = malloc(size);
		if (!buffer)
			return -ENOMEM;
		r = getgrnam_r(name, &entry, buffer, size, &found);
		free(buffer);
	}
	if (!found)
		return r ? -r : -ENOENT;
	*ret = entry.gr_gid;
	return 0;
}

void catalog_system_init(struct catalog_system *system)
{
	*system = (struct catalog_system){
		.read_file = read_file,
		.user = find_user,
		.group = find_group,
		.default_uid = owner_uid(),
		.default_gid = owner_gid(),
	};
}
