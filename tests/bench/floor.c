/*
 * floor.c: the least that a FUSE filesystem can do: a tree that never changes, one thread, page
 * cache kept, names and attributes believed for as long as dsec has them believed. What dsec's
 * reading and looking is measured against.
 *
 *     floor MOUNTPOINT CONFIGS FILES     the tree app/0…/0…; prints "ready"; ends with its mount
 */
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_SECONDS 5
#define LISTING_MAX   65536
#define PROJECT       2 /* configs follow it, then files: numbers are all there is to a node */

static const char content[] = "0123456789012345678901234567890123456789";
static unsigned long configs, files;

static bool is_file(fuse_ino_t id)
{
	return id > PROJECT + configs;
}

static fuse_ino_t child(fuse_ino_t folder, unsigned long n)
{
	if (folder == FUSE_ROOT_ID)
		return PROJECT;
	return folder == PROJECT ? PROJECT + 1 + n
				 : PROJECT + 1 + configs + (folder - PROJECT - 1) * files + n;
}

static unsigned long n_children(fuse_ino_t folder)
{
	if (folder == FUSE_ROOT_ID)
		return 1;
	return folder == PROJECT ? configs : files;
}

static struct stat describe(fuse_ino_t id)
{
	return (struct stat){
		.st_ino = id,
		.st_mode = is_file(id) ? S_IFREG | 0444 : S_IFDIR | 0555,
		.st_nlink = 1,
		.st_size = is_file(id) ? sizeof(content) - 1 : 0,
	};
}

static void look_up(fuse_req_t req, fuse_ino_t folder, const char *wanted)
{
	char *end;
	unsigned long n = folder == FUSE_ROOT_ID ? 0 : strtoul(wanted, &end, 10);

	if (folder == FUSE_ROOT_ID ? strcmp(wanted, "app") != 0
				   : *end || end == wanted || n >= n_children(folder)) {
		fuse_reply_err(req, ENOENT);
		return;
	}

	struct fuse_entry_param entry = {
		.ino = child(folder, n),
		.attr = describe(child(folder, n)),
		.attr_timeout = CACHE_SECONDS,
		.entry_timeout = CACHE_SECONDS,
	};
	fuse_reply_entry(req, &entry);
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

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		 struct fuse_file_info *info)
{
	char listing[LISTING_MAX], name[32];
	size_t n = 0;

	if (size > sizeof(listing))
		size = sizeof(listing);
	for (unsigned long at = (unsigned long)offset; at < n_children(id); at++) {
		struct stat stat = describe(child(id, at));

		if (id == FUSE_ROOT_ID)
			snprintf(name, sizeof(name), "app");
		else
			snprintf(name, sizeof(name), "%lu", at);

		size_t more =
			fuse_add_direntry(req, listing + n, size - n, name, &stat, (off_t)at + 1);
		if (more > size - n)
			break;
		n += more;
	}
	fuse_reply_buf(req, listing, n);
}

static void init(void *userdata, struct fuse_conn_info *conn)
{
	/* What dsec has of the kernel, and nothing else. */
	conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.init = init,
		.lookup = look_up,
		.getattr = get_attributes,
		.open = open_file,
		.read = read_file,
		.readdir = list,
	};
	char program[] = "floor", flag[] = "-o",
	     options[] = "fsname=floor,ro,allow_other,default_permissions";
	char *words[] = {program, flag, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);

	if (argc != 4)
		return 2;
	configs = strtoul(argv[2], NULL, 10);
	files = strtoul(argv[3], NULL, 10);

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
