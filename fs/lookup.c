/*
 * lookup.c: from names to nodes. Nothing here leases.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_private.h"
#include "fs/path.h"

/* One READDIR's answer. */
#define LISTING_MAX 65536

double cache_seconds(int64_t ms)
{
	if (ms <= 0)
		return 0;
	return (double)(ms < FILES_CACHE_MS ? ms : FILES_CACHE_MS) / 1000;
}

/* Attributes belong to the node, so only those that a node may yet change are not kept. */
double attributes_seconds(const struct node *node)
{
	bool changing = node->kind == NODE_UNLEASED || node->kind == NODE_REPORT ||
			node->kind == NODE_PROBE;

	return changing ? 0 : cache_seconds(FILES_CACHE_MS);
}

void reply_entry(struct files *files, fuse_req_t req, struct node *node, int64_t entry_ms)
{
	struct fuse_entry_param entry = {
		.ino = node->id,
		.entry_timeout = cache_seconds(entry_ms),
		.attr_timeout = attributes_seconds(node),
	};

	node_stat(node, &entry.attr);
	node_looked_up(&files->nodes, node);
	if (fuse_reply_entry(req, &entry) < 0) /* nobody received it, so nobody will forget it */
		node_forgotten(&files->nodes, node, 1);
}

/* Of CONFIG@fresh: two files would be two leases, so only those of the whole config are there. */
static bool shown_in(const struct node *folder, const struct entry *child)
{
	return !folder->fresh || child->kind == ENTRY_FORMAT || child->kind == ENTRY_STATUS;
}

bool shown_to(struct files *files, fuse_req_t req, const struct config *config)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	const struct access_caller caller = {ctx->uid, ctx->gid, ctx->pid};

	return !config || access_shows(&config->access, &caller, &files->holders.mounts);
}

/* How long the kernel may answer a name by itself: what one caller may see is not another's. */
static int64_t entry_cache(const struct entry *entry, int64_t ms)
{
	return entry->config && entry->config->access.hide ? 0 : ms;
}

static bool ttl_allowed(const struct config *config, int64_t ttl_ms)
{
	for (size_t i = 0; i < config->n_dynamics; i++)
		if (ttl_ms > config->dynamics[i].max_ttl_ms)
			return false;
	return true;
}

const struct entry *find_config(const struct entry *project, const char *name,
				struct path_options *options)
{
	char config[CATALOG_NAME_MAX + 1];

	if (path_parse(name, config, options) < 0)
		return NULL;

	const struct entry *entry = entry_child(project, config);
	return entry && ttl_allowed(entry->config, options->ttl_ms) ? entry : NULL;
}

static const struct entry *find_child(const struct files *files, const struct node *folder,
				      const char *name, struct path_options *options)
{
	const struct entry *entry = folder->entry, *child;

	if (entry->kind == ENTRY_PROJECT)
		return find_config(entry, name, options);
	if (entry->kind == ENTRY_DSEC && files->probing && strcmp(name, PROBE_NAME) == 0)
		return &probe_entry;
	child = entry_child(entry, name);
	return child && shown_in(folder, child) ? child : NULL;
}

static void look_up_folder(struct files *files, fuse_req_t req, const struct node *folder,
			   const struct entry *entry, const char *name,
			   const struct path_options *options)
{
	struct node_key key = {
		.kind = NODE_FOLDER,
		.entry = entry,
		.folder = folder->id,
		.name = name,
		.ttl_ms = options->ttl_ms,
		.fresh = options->fresh,
	};

	struct node *node = nodes_get(&files->nodes, &key);

	if (node)
		reply_entry(files, req, node, entry_cache(entry, FILES_CACHE_MS));
	else
		fuse_reply_err(req, ENFILE);
}

static void look_up_fixed(struct files *files, fuse_req_t req, const struct entry *entry)
{
	bool probe = entry->kind == ENTRY_PROBE;
	struct node_key key = {.kind = probe ? NODE_PROBE : NODE_STATIC, .entry = entry};

	reply_entry(files, req, nodes_get(&files->nodes, &key),
		    probe ? 0 : entry_cache(entry, FILES_CACHE_MS));
}

/* A file that needs leases: bound to those that this caller would be given now, or to none yet. */
static void look_up_leased(struct files *files, fuse_req_t req, const struct node *folder,
			   const struct entry *entry)
{
	const struct lease *leases[CATALOG_DYNAMICS_MAX];
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	int64_t now_at = files->clock->boottime_at(files->clock), until_at;
	struct viewer viewer;
	int64_t entry_ms = 0;

	holders_view(&files->holders, entry->scopes, caller->uid, caller->pid, &viewer);

	struct node_key key = {
		.kind = NODE_UNLEASED,
		.entry = entry,
		.ttl_ms = node_file_ttl(entry, folder->ttl_ms),
		.holder = viewer.node,
	};

	if (!viewer.error && leases_choose(&files->nodes.leases, entry, key.ttl_ms, caller->uid,
					   viewer.holders, now_at, leases, &until_at)) {
		key.kind = NODE_LEASED;
		key.leases = leases;
		/* One folder entry serves all callers until it is looked up again. */
		if (!entry->scopes)
			entry_ms = entry_cache(entry, until_at - now_at);
	}
	reply_entry(files, req, nodes_get(&files->nodes, &key), entry_ms);
}

void files_lookup(fuse_req_t req, fuse_ino_t folder_id, const char *name)
{
	struct files *files = files_of(req);
	struct node *folder = node_of(req, folder_id);
	struct path_options options;

	if (!folder)
		return;
	if (folder->kind != NODE_FOLDER) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	options = (struct path_options){.ttl_ms = folder->ttl_ms, .fresh = folder->fresh};

	const struct entry *entry =
		folder->entry ? find_child(files, folder, name, &options) : NULL;
	if (!entry || !shown_to(files, req, entry->config))
		fuse_reply_err(req, ENOENT);
	else if (entry_is_folder(entry))
		look_up_folder(files, req, folder, entry, name, &options);
	else if (entry_is_report(entry))
		report_ask(files, req, entry);
	else if (entry->secrets == 0)
		look_up_fixed(files, req, entry);
	else if (folder->fresh)
		fresh_look_up(files, req, folder, entry);
	else
		look_up_leased(files, req, folder, entry);
}

static void forget(struct files *files, uint64_t id, uint64_t lookups)
{
	struct node *node = nodes_find(&files->nodes, id);

	if (!node || id == NODE_ROOT)
		return;
	node_forgotten(&files->nodes, node, lookups);
}

void files_forget(fuse_req_t req, fuse_ino_t id, uint64_t lookups)
{
	forget(files_of(req), id, lookups);
	fuse_reply_none(req);
}

void files_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct files *files = files_of(req);
	const char *end = (const char *)files->request + files->request_n;

	/* libfuse believes the count. */
	for (size_t i = 0; i < count && (const char *)(forgets + i + 1) <= end; i++)
		forget(files, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* Is every caller shown the same names? */
static bool lists_alike(const struct entry *folder)
{
	if (folder->config)
		return !folder->config->access.hide;
	for (size_t i = 0; i < folder->n_children; i++) {
		const struct config *config = folder->children[i].config;

		if (config && config->access.hide)
			return false;
	}
	return true;
}

/* The kernel keeps what a folder lists, until it is told or the folder's time of change moves; both
 * happen at a reload (nodes_reload). But to answer ENOSYS, so that it would not even ask, is not
 * for us: it would keep the listings of folders, too, in which callers are shown different names.
 */
void files_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
	const struct node *folder = node_of(req, id);

	if (!folder)
		return;
	info->cache_readdir = info->keep_cache = folder->entry && lists_alike(folder->entry);
	fuse_reply_open(req, info);
}

/* Offsets: 0 ".", 1 "..", then the children; an entry's cookie is the offset of the next. NULL: no
 * more; "": nothing at this offset. */
static const char *listed(fuse_req_t req, const struct node *folder, size_t at, struct stat *stat)
{
	const struct entry *entry = folder->entry;

	*stat = (struct stat){.st_mode = S_IFDIR};
	if (at == 0) {
		stat->st_ino = folder->ino;
		return ".";
	}
	if (at == 1) {
		stat->st_ino = entry->parent->ino;
		return "..";
	}
	if (at - 2 >= entry->n_children)
		return NULL;
	entry = &entry->children[at - 2];
	if (!shown_in(folder, entry) || (entry->config != folder->entry->config &&
					 !shown_to(files_of(req), req, entry->config)))
		return "";
	stat->st_ino = node_child_ino(folder, entry);
	stat->st_mode = entry->mode;
	return entry->name;
}

void files_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		   struct fuse_file_info *info)
{
	char listing[LISTING_MAX];
	const struct node *folder = node_of(req, id);
	size_t n = 0;

	if (!folder)
		return;
	if (!folder->entry || !shown_to(files_of(req), req, folder->entry->config)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (size > sizeof(listing))
		size = sizeof(listing);
	for (size_t at = (size_t)offset;; at++) {
		struct stat stat;
		const char *name = listed(req, folder, at, &stat);
		if (!name)
			break;
		if (!*name)
			continue;
		size_t more =
			fuse_add_direntry(req, listing + n, size - n, name, &stat, (off_t)at + 1);
		if (more > size - n)
			break;
		n += more;
	}
	fuse_reply_buf(req, listing, n);
}
