#include "cli/mountable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"

#define FUSE_CONF          "/etc/fuse.conf"
#define FUSE_CONF_SIZE_MAX (64ul * 1024)

/* Looks along PATH as execvp(3) would. */
static bool find_program(const char *name, char *to, size_t size, struct stat *ret)
{
	const char *path = getenv("PATH");

	if (!path || !path[0])
		path = "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");
		if (snprintf(to, size, "%.*s/%s", (int)n, path, name) < (int)size &&
		    stat(to, ret) == 0 && S_ISREG(ret->st_mode) && access(to, X_OK) == 0)
			return true;
		path += n;
		if (*path == ':')
			path++;
	}
	return false;
}

static bool check_fusermount(void)
{
	char path[4096];
	struct stat st;

	if (!find_program("fusermount3", path, sizeof(path), &st)) {
		puts("mount: fusermount3 is not installed (Debian: fuse3); only root can mount "
		     "without it");
		return false;
	}
	if (!(st.st_mode & S_ISUID) || st.st_uid != 0) {
		printf("mount: %s is not setuid root; only root can mount without that\n", path);
		return false;
	}
	return true;
}

/* As fusermount3 reads it: the option alone on a line. */
static bool others_allowed(void)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	char *rest = NULL;

	if (file_read(FUSE_CONF, FUSE_CONF_SIZE_MAX, &text, &n) < 0)
		return false;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		line += strspn(line, " \t");
		size_t length = strcspn(line, " \t#");
		if (length == strlen("user_allow_other") &&
		    strncmp(line, "user_allow_other", length) == 0)
			return true;
	}
	return false;
}

bool mountable_check(void)
{
	bool fine = true;

	if (access("/dev/fuse", R_OK | W_OK) < 0) {
		printf("mount: /dev/fuse %s\n", access("/dev/fuse", F_OK) < 0
							? "is missing: the kernel module fuse is "
							  "not loaded, or this container "
							  "was not given the device"
							: "cannot be opened by this user (on most "
							  "systems its mode is 0666)");
		fine = false;
	}
	if (getuid() == 0)
		return fine;
	if (!check_fusermount())
		fine = false;
	if (!others_allowed())
		puts("mount: only you will see the mount, not even root: " FUSE_CONF
		     " has no user_allow_other, so that 'access' for other users and groups has no "
		     "effect");
	return fine;
}
