#include "lease/state_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/owner.h"

/* Makes the name of a new folder durable in the one above it. */
static int sync_parent(const char *folder)
{
	char parent[PATH_MAX + 4];

	snprintf(parent, sizeof(parent), "%s/..", folder);
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int make_folder(const char *folder)
{
	if (mkdir(folder, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return sync_parent(folder);
}

static int make_folders(const char *folder)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", folder) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		int r = make_folder(path);
		if (r < 0)
			return r;
		*slash = '/';
	}
	return make_folder(path);
}

static int check_private(int fd, const char *folder, struct dsec_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));
	if (!owner_may_have(st.st_uid))
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "%s belongs to user %u, but dsec runs as user %u", folder,
				      st.st_uid, owner_uid());
	if (st.st_mode & 077)
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "%s is open to other users (mode %04o): chmod 0700 it",
				      folder, st.st_mode & 07777);
	return 0;
}

int state_folder_open(const char *folder, struct dsec_error *err)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		int r = make_folders(folder);
		if (r < 0)
			return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot make %s: %s",
					      folder, strerror(-r));
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));

	int r = check_private(fd, folder, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int state_folder_sync(int folder_fd, const char *folder, struct dsec_error *err)
{
	if (fsync(folder_fd) < 0)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s to disk: %s",
				      folder, strerror(errno));
	return 0;
}
