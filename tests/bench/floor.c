/*
 * floor.c: the least that a FUSE filesystem can do: a tree that never changes, one thread, and of
 * the kernel what dsec has of it: page cache and listings kept, names and attributes believed for
 * as long. What dsec's reading and looking is measured against.
 *
 *     floor MOUNTPOINT <TREE     prints "ready"; ends with its mount
 *
 * TREE: a line an entry, `PARENT d|f NAME`, where PARENT is the number of a line, from 1 (the root,
 * which has none); a folder's entries stand together, sorted as strcmp(3) sorts.
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
#define ENTRIES_MAX   1000000

struct entry {
	char *name;
	bool folder;
	size_t first, n; /* what is in it */
};

static const char content[] = "0123456789012345678901234567890123456789";
static struct entry *entries; /* by their node's number; the root's is 1 */
static size_t n_entries = 1;

/* "PARENT KIND NAME" */
static void read_entry(char *line)
{
	struct entry *entry = &entries[++n_entries];
	char *rest;
	size_t parent = strtoul(line, &rest, 10);

	if (parent == 0 || parent >= n_entries || rest[0] != ' ' || !rest[1] || rest[2] != ' ')
		abort();
	rest[strcspn(rest, "\n")] = '\0';
	entry->name = strdup(rest + 3);
	entry->folder = rest[1] == 'd';
	if (entries[parent].n++ == 0)
		entries[parent].first = n_entries;
}

static void read_tree(void)
{
	char line[320];

	entries = calloc(ENTRIES_MAX, sizeof(*entries));
	if (!entries)
		abort();
	entries[FUSE_ROOT_ID].folder = true;
	while (n_entries + 1 < ENTRIES_MAX && fgets(line, sizeof(line), stdin))
		read_entry(line);
}

static struct stat describe(fuse_ino_t id)
{
	bool folder = entries[id].folder;

	return (struct stat){
		.st_ino = id,
		.st_mode = folder ? S_IFDIR | 0555 : S_IFREG | 0444,
		.st_nlink = 1,
		.st_size = folder ? 0 : sizeof(content) - 1,
	};
}

static int compare(const void *name, const void *entry)
{
	return strcmp(name, ((const struct entry *)entry)->name);
}

static void look_up(fuse_req_t req, fuse_ino_t folder, const char *wanted)
{
	const struct entry *in = &entries[folder];
	const struct entry *found =
		bsearch(wanted, entries + in->first, in->n, sizeof(*entries), compare);

	if (!found) {
		fuse_reply_err(req, ENOENT);
		return;
	}

	fuse_ino_t id = (fuse_ino_t)(found - entries);
	struct fuse_entry_param entry = {
		.ino = id,
		.attr = describe(id),
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

/* The kernel keeps listings. */
static void open_folder(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	info->cache_readdir = info->keep_cache = 1;
	fuse_reply_open(req, info);
}

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		 struct fuse_file_info *info)
{
	char listing[LISTING_MAX];
	const struct entry *folder = &entries[id];
	size_t n = 0;

	if (size > sizeof(listing))
		size = sizeof(listing);
	for (size_t at = (size_t)offset; at < folder->n; at++) {
		struct stat stat = describe(folder->first + at);
		size_t more =
			fuse_add_direntry(req, listing + n, size - n,
					  entries[folder->first + at].name, &stat, (off_t)at + 1);
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
		.opendir = open_folder,
		.readdir = list,
	};
	char program[] = "floor", flag[] = "-o",
	     options[] = "fsname=floor,ro,allow_other,default_permissions";
	char *words[] = {program, flag, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);

	if (argc != 2)
		return 2;
	read_tree();

	struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	fuse_opt_free_args(&args);
	if (!session || fuse_session_mount(session, argv[1]) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return 0;
}
