#include "fs/tree.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/owner.h"

#define WORLD_FOLDER_MODE (S_IFDIR | 0555)
#define WORLD_FILE_MODE   (S_IFREG | 0444)
#define OWNER_FILE_MODE   (S_IFREG | 0400)

struct tree {
	atomic_uint refs;
	struct catalog *catalog;
	struct entry root;
	size_t entries;
	char *version; /* with its newline */
	int64_t loaded_ms;
};

/* "." and download_format_name(). */
static const char *const format_files[FORMATS] = {
	[FORMAT_JSON] = ".json",
	[FORMAT_ENV] = ".env",
	[FORMAT_ENV_NO_QUOTES] = ".env-no-quotes",
	[FORMAT_DOCKER] = ".docker",
	[FORMAT_YAML] = ".yaml",
	[FORMAT_DOTNET_JSON] = ".dotnet-json",
};

bool entry_is_folder(const struct entry *entry)
{
	return S_ISDIR(entry->mode);
}

bool entry_is_report(const struct entry *entry)
{
	return entry->kind == ENTRY_STATUS || entry->kind == ENTRY_LEASES ||
	       entry->kind == ENTRY_METRICS;
}

/* FNV-1a over the folder's number and the name: names in a configuration are no attack. */
ino_t tree_ino(ino_t folder, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (unsigned i = 0; i < 8; i++)
		hash = (hash ^ ((uint64_t)folder >> (8 * i) & 0xff)) * 0x100000001b3u;
	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash > 1 ? hash : 2; /* 0 is no inode, 1 the root's */
}

/* Building. */

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* The next child of a folder whose `children` are allocated: like its folder, but a file. */
static struct entry *add(struct entry *folder, const char *name, enum entry_kind kind)
{
	struct entry *child = &folder->children[folder->n_children++];

	*child = (struct entry){
		.kind = kind,
		.name = name,
		.parent = folder,
		.config = folder->config,
		.mode = folder->config ? S_IFREG | folder->config->access.mode : WORLD_FILE_MODE,
		.uid = folder->uid,
		.gid = folder->gid,
	};
	return child;
}

static struct entry *add_folder(struct entry *folder, const char *name, enum entry_kind kind,
				const struct config *config)
{
	struct entry *child = add(folder, name, kind);

	child->config = config;
	child->mode = WORLD_FOLDER_MODE;
	if (config) {
		child->mode = S_IFDIR | config->access.mode | (config->access.mode & 0444) >> 2;
		child->uid = config->access.uid;
		child->gid = config->access.gid;
	}
	return child;
}

static void lease_for(struct entry *file, uint64_t secrets)
{
	file->secrets = secrets;
	for (size_t i = 0; i < file->config->n_dynamics; i++)
		if (secrets >> i & 1 && file->config->dynamics[i].scope != SCOPE_SHARED)
			file->scopes |= 1u << file->config->dynamics[i].scope;
}

static int fill_config(struct entry *folder, struct dsec_error *err)
{
	const struct config *config = folder->config;
	uint64_t all = config->n_dynamics ? UINT64_MAX >> (64 - config->n_dynamics) : 0;
	size_t n_keys;
	int r = download_keys(&folder->keys, &n_keys, config, err);

	if (r < 0)
		return r;
	folder->children = alloc_zeroed(n_keys + FORMATS + 2, sizeof(*folder->children));
	for (size_t i = 0; i < n_keys; i++) {
		const struct download_key *key = &folder->keys[i];
		struct entry *file = add(folder, key->name, ENTRY_KEY);

		file->key = key;
		lease_for(file, key->kind == KEY_DYNAMIC ? UINT64_C(1) << key->index : 0);
	}
	for (int format = 0; format < FORMATS; format++) {
		struct entry *file = add(folder, format_files[format], ENTRY_FORMAT);

		file->format = (enum download_format)format;
		lease_for(file, all);
	}
	add_folder(folder, ".aws", ENTRY_AWS, config);
	add(folder, ".status", ENTRY_STATUS);
	return 0;
}

static void fill_aws(struct entry *folder)
{
	const struct config *config = folder->config;

	folder->children = alloc_zeroed(config->n_dynamics, sizeof(*folder->children));
	for (size_t i = 0; i < config->n_dynamics; i++)
		lease_for(add_folder(folder, config->dynamics[i].name, ENTRY_AWS_USER, config),
			  UINT64_C(1) << i);
}

static void fill_aws_user(struct entry *folder)
{
	folder->children = alloc_zeroed(2, sizeof(*folder->children));
	lease_for(add(folder, "credentials", ENTRY_AWS_CREDENTIALS), folder->secrets);
	lease_for(add(folder, "process.json", ENTRY_AWS_PROCESS), folder->secrets);
}

/* They name all configs. */
static void fill_dsec(struct entry *folder, const struct catalog *catalog)
{
	struct entry *leases, *metrics;

	folder->children = alloc_zeroed(3, sizeof(*folder->children));
	leases = add(folder, "leases.json", ENTRY_LEASES);
	metrics = add(folder, "metrics", ENTRY_METRICS);
	if (catalog_hides(catalog))
		leases->mode = metrics->mode = OWNER_FILE_MODE;
	add(folder, "version", ENTRY_VERSION);
}

static void fill_root(struct entry *folder, const struct catalog *catalog)
{
	folder->children = alloc_zeroed(catalog->n_projects + 1, sizeof(*folder->children));
	for (size_t i = 0; i < catalog->n_projects; i++)
		add_folder(folder, catalog->projects[i].name, ENTRY_PROJECT, NULL);
	add_folder(folder, ".dsec", ENTRY_DSEC, NULL);
}

static int fill_project(struct entry *folder, const struct catalog *catalog, struct dsec_error *err)
{
	const struct project *project = catalog_project(catalog, folder->name);

	if (!project)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "the catalog has lost project %s",
				      folder->name);
	folder->children = alloc_zeroed(project->n_configs, sizeof(*folder->children));
	for (size_t i = 0; i < project->n_configs; i++)
		add_folder(folder, project->configs[i].name, ENTRY_CONFIG, &project->configs[i]);
	return 0;
}

static int fill(struct tree *tree, struct entry *folder, struct dsec_error *err)
{
	switch (folder->kind) {
	case ENTRY_ROOT:
		fill_root(folder, tree->catalog);
		return 0;
	case ENTRY_PROJECT:
		return fill_project(folder, tree->catalog, err);
	case ENTRY_CONFIG:
		return fill_config(folder, err);
	case ENTRY_AWS:
		fill_aws(folder);
		return 0;
	case ENTRY_AWS_USER:
		fill_aws_user(folder);
		return 0;
	case ENTRY_DSEC:
		fill_dsec(folder, tree->catalog);
		return 0;
	default:
		return 0;
	}
}

uint64_t tree_content(const struct download *bytes)
{
	unsigned char digest[SECRET_DIGEST_SIZE];
	uint64_t content;

	secret_digest_bytes(digest, bytes->bytes, bytes->n);
	memcpy(&content, digest, sizeof(content));
	return content;
}

/* A file that needs no lease: learns its size and what its bytes are. */
static void measure(const struct tree *tree, struct entry *file)
{
	struct download bytes = {0};

	file->error = -tree_render(&bytes, tree, file, NULL);
	if (file->error == 0) {
		file->size = bytes.n;
		file->content = tree_content(&bytes);
	}
	download_finish(&bytes);
}

/* `folder` stands where it stays: its children point to it. */
static int build(struct tree *tree, struct entry *folder, struct dsec_error *err)
{
	int r = fill(tree, folder, err);

	if (r < 0)
		return r;
	qsort(folder->children, folder->n_children, sizeof(*folder->children), compare_entries);
	tree->entries += folder->n_children;
	for (size_t i = 0; i < folder->n_children && r == 0; i++) {
		struct entry *child = &folder->children[i];

		child->ino = tree_ino(folder->ino, child->name);
		if (entry_is_folder(child))
			r = build(tree, child, err);
		else if (child->secrets == 0 && !entry_is_report(child))
			measure(tree, child);
	}
	return r;
}

int tree_new(struct tree **ret, struct catalog *catalog, const char *version, int64_t loaded_ms,
	     struct dsec_error *err)
{
	struct tree *tree = alloc_zeroed(1, sizeof(*tree));

	atomic_init(&tree->refs, 1);
	tree->catalog = catalog_ref(catalog);
	tree->loaded_ms = loaded_ms;
	tree->entries = 1;
	if (asprintf(&tree->version, "%s\n", version) < 0)
		abort();
	tree->root = (struct entry){
		.kind = ENTRY_ROOT,
		.name = "",
		.parent = &tree->root,
		.mode = WORLD_FOLDER_MODE,
		.uid = owner_uid(),
		.gid = owner_gid(),
		.ino = 1,
	};

	int r = build(tree, &tree->root, err);
	if (r < 0) {
		tree_unref(tree);
		return r;
	}
	*ret = tree;
	return 0;
}

static void free_children(struct entry *folder)
{
	for (size_t i = 0; i < folder->n_children; i++)
		free_children(&folder->children[i]);
	free(folder->children);
	free(folder->keys);
}

struct tree *tree_ref(struct tree *tree)
{
	atomic_fetch_add_explicit(&tree->refs, 1, memory_order_relaxed);
	return tree;
}

struct tree *tree_unref(struct tree *tree)
{
	if (!tree || atomic_fetch_sub_explicit(&tree->refs, 1, memory_order_acq_rel) > 1)
		return NULL;
	free_children(&tree->root);
	catalog_unref(tree->catalog);
	free(tree->version);
	free(tree);
	return NULL;
}

/* Using. */

const struct entry *tree_root(const struct tree *tree)
{
	return &tree->root;
}

const struct catalog *tree_catalog(const struct tree *tree)
{
	return tree->catalog;
}

size_t tree_entries(const struct tree *tree)
{
	return tree->entries;
}

int64_t tree_loaded_ms(const struct tree *tree)
{
	return tree->loaded_ms;
}

const struct entry *entry_child(const struct entry *folder, const char *name)
{
	struct entry key = {.name = name};

	return folder->n_children == 0 ? NULL
				       : bsearch(&key, folder->children, folder->n_children,
						 sizeof(*folder->children), compare_entries);
}

const struct entry *tree_counterpart(const struct tree *tree, const struct entry *entry)
{
	if (entry->kind == ENTRY_ROOT)
		return &tree->root;

	const struct entry *folder = tree_counterpart(tree, entry->parent);
	const struct entry *other = folder ? entry_child(folder, entry->name) : NULL;
	return other && other->kind == entry->kind ? other : NULL;
}

int tree_render(struct download *to, const struct tree *tree, const struct entry *entry,
		const struct lease *const *leases)
{
	static const struct lease *const none[CATALOG_DYNAMICS_MAX];
	size_t only = entry->secrets ? (size_t)__builtin_ctzll(entry->secrets) : 0;
	int r = 0;

	if (!leases)
		leases = none;
	switch (entry->kind) {
	case ENTRY_KEY:
		r = download_value(to, entry->config, entry->key, leases);
		break;
	case ENTRY_FORMAT:
		r = download_render(to, entry->config, leases, entry->format);
		break;
	case ENTRY_AWS_CREDENTIALS:
		r = download_aws_credentials(to, leases[only]);
		break;
	case ENTRY_AWS_PROCESS:
		r = download_aws_process(to, leases[only]);
		break;
	case ENTRY_VERSION:
		r = download_text(to, tree->version);
		break;
	default:
		break;
	}
	return r < 0 ? -EFBIG : 0;
}
