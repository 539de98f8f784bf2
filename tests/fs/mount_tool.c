/*
 * mount_tool.c: fs.h's mounting, for the tests in Python.
 *
 *     mount_tool state|unmount|mount MOUNTPOINT    what is there; without a daemon
 *     mount_tool start FILE                        a session on a descriptor that is not mounted
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tests/fs/engine_double.h"

static int state(const char *mountpoint)
{
	static const char *const names[] = {
		[FS_MOUNT_NONE] = "none",
		[FS_MOUNT_ALIVE] = "alive",
		[FS_MOUNT_STALE] = "stale",
		[FS_MOUNT_FOREIGN] = "foreign",
	};

	puts(names[fs_mount_state(mountpoint)]);
	return 0;
}

static int told(int r, const struct dsec_error *error)
{
	puts(r < 0 ? error->message : "ok");
	return r < 0;
}

static int start(const char *file, struct dsec_error *error)
{
	static const char text[] = "{\"integrations\":{},\"projects\":{}}";
	static struct catalog_problems problems;
	struct catalog_system system;
	struct fs_options options = {
		.fuse_fd = open(file, O_RDWR | O_CLOEXEC),
		.mountpoint = "/nowhere",
		.clock = &system_clock,
		.version = "",
		.state_folder = "",
		.config_file = "",
	};
	struct fs *fs;

	catalog_system_init(&system);
	if (catalog_parse(&options.catalog, text, strlen(text), "dsec.json", true, &system,
			  &problems) < 0)
		return dsec_error_set(error, DSEC_ERROR_INVALID, "%s", problems.at[0].message);

	int r = fs_start(&fs, &options, error);
	catalog_unref(options.catalog);
	return r;
}

int main(int argc, char **argv)
{
	struct dsec_error error = {0};
	bool others;
	int fd;

	if (argc == 3 && strcmp(argv[1], "state") == 0)
		return state(argv[2]);
	if (argc == 3 && strcmp(argv[1], "unmount") == 0)
		return told(fs_unmount(argv[2], &error), &error);
	if (argc == 3 && strcmp(argv[1], "mount") == 0)
		return told(fs_mount(argv[2], &fd, &others, &error), &error);
	if (argc == 3 && strcmp(argv[1], "start") == 0)
		return told(start(argv[2], &error), &error);
	fprintf(stderr, "usage: mount_tool state|unmount|mount MOUNTPOINT | start FILE\n");
	return 2;
}
