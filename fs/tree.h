/*
 * tree.h: one catalog as names: every folder and file that the mount has, leased or not.
 *
 * Built on the engine's thread, immutable from then on and reference-counted, so any thread may
 * read it while it holds a reference. The last unref frees a whole catalog; the file thread sends
 * its references to the engine's thread for that.
 */
#ifndef DSEC_FS_TREE_H
#define DSEC_FS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/catalog.h"
#include "lease/download.h"
#include "lease/engine.h"
#include "lease/error.h"

enum entry_kind {
	/* Folders. */
	ENTRY_ROOT,
	ENTRY_PROJECT,
	ENTRY_CONFIG,
	ENTRY_AWS,      /* .aws */
	ENTRY_AWS_USER, /* .aws/NAME */
	ENTRY_DSEC,     /* .dsec */
	/* Files of a config's content. */
	ENTRY_KEY,
	ENTRY_FORMAT,
	ENTRY_AWS_CREDENTIALS,
	ENTRY_AWS_PROCESS,
	/* Fixed text. */
	ENTRY_VERSION,
	/* Text that the engine writes at each look. */
	ENTRY_STATUS,
	ENTRY_LEASES,
	ENTRY_METRICS,
	/* .dsec/.probe: listed nowhere, there only while the mount starts (probe.c). */
	ENTRY_PROBE,
};

struct entry {
	enum entry_kind kind;
	const char *name; /* "" for the root */
	const struct entry *parent;
	struct entry *children; /* sorted by name */
	size_t n_children;
	const struct config *config;    /* of what lies in a config's folder, and of the folder */
	struct download_key *keys;      /* CONFIG: what its KEY children point to */
	const struct download_key *key; /* KEY */
	enum download_format format;    /* FORMAT */
	uint64_t secrets; /* bit i: config->dynamics[i] must be leased to read it; 0: nothing */
	/* Bit i: one of those has scope i, other than shared: readers who are different holders
	 * have different files. */
	unsigned scopes;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	ino_t ino;
	/* Of a file that needs no lease. The same `content` means the same bytes, also to another
	 * process that shares the arena. */
	size_t size;
	uint64_t content;
	int error; /* 0, or the errno of opening it: its text is too long */
};

struct tree;

/* Takes a reference to the catalog. `version` is the text of .dsec/version; loaded_ms the time that
 * its files show. */
int tree_new(struct tree **ret, struct catalog *catalog, const char *version, int64_t loaded_ms,
	     struct dsec_error *err);
struct tree *tree_ref(struct tree *tree);
struct tree *tree_unref(struct tree *tree); /* NULL-safe; returns NULL */

const struct entry *tree_root(const struct tree *tree);
const struct catalog *tree_catalog(const struct tree *tree);
size_t tree_entries(const struct tree *tree); /* how many there are */
int64_t tree_loaded_ms(const struct tree *tree);

bool entry_is_folder(const struct entry *entry);
bool entry_is_report(const struct entry *entry);

/* The child of that name, or NULL. */
const struct entry *entry_child(const struct entry *folder, const char *name);

/* The entry at the same path and of the same kind in another tree, or NULL. */
const struct entry *tree_counterpart(const struct tree *tree, const struct entry *entry);

/* The inode number of a name in a folder: the same for the same path as long as dsec lives, and in
 * the next life too. */
ino_t tree_ino(ino_t folder, const char *name);

/* A digest of the bytes (secret_digest_bytes). */
uint64_t tree_content(const struct download *bytes);

/* Writes the file's bytes into an empty buffer. leases is indexed like config->dynamics; those of
 * entry->secrets are set. 0; -EFBIG beyond DOWNLOAD_SIZE_MAX or where memory is short. Not for
 * reports. */
int tree_render(struct download *to, const struct tree *tree, const struct entry *entry,
		const struct lease *const *leases);

#endif
