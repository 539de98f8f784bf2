/*
 * smallest_fuse.c: the least that a FUSE filesystem can do for a read of a cached file: one file,
 * one thread, page cache kept, names and attributes believed for long. What dsec's cached read is
 * measured against.
 *
 *     smallest_fuse MOUNTPOINT     prints "ready"; ends with its mount
 */
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_SECONDS 3600
#define FILE_ID       2

static const char name[] = "file", content[] = "0123456789012345678901234567890123456789";

static struct stat describe(fuse_ino_t id)
{
	return (struct stat){
		.st_ino = id,
		.st_mode = id == FILE_ID ? S_IFREG | 0444 : S_IFDIR | 0555,
		.st_nlink = 1,
		.st_size = id == FILE_ID ? sizeof(content) - 1 : 0,
	};
}

static void look_up(fuse_req_t req, fuse_ino_t folder, const char *wanted)
{
	struct fuse_entry_param entry = {
		.ino = FILE_ID,
		.attr = describe(FILE_ID),
		.attr_timeout = CACHE_SECONDS,
		.entry_timeout = CACHE_SECONDS,
	};

	if (strcmp(wanted, name) == 0)
		fuse_reply_entry(req, &entry);
	else
		fuse_reply_err(req, ENOENT);
}

static void get_attributes(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	struct stat stat = describe(id);

	fuse_reply_attr(req, &stat, CACHE_SECONDS);
}

static void open_file(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	info->keep_cache = 1;
	fuse_reply_open(req, info);
}

static void read_file(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		      struct fuse_file_info *info)
{
	size_t left =
		offset < (off_t)sizeof(content) - 1 ? sizeof(content) - 1 - (size_t)offset : 0;

	fuse_reply_buf(req, content + offset, left < size ? left : size);
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.lookup = look_up,
		.getattr = get_attributes,
		.open = open_file,
		.read = read_file,
	};
	char program[] = "smallest", flag[] = "-o", options[] = "fsname=smallest,ro";
	char *words[] = {program, flag, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);

	if (argc != 2)
		return 2;

	struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, argv[1]) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return 0;
}
