/*
 * node.h: what the kernel knows by number: folders, and files whose bytes never change.
 *
 * A node id is never used twice in the life of a mount. A leased file is a node for each set of
 * lease generations, and for each uid where a lease is not shared: two readers who may see
 * different bytes never share a node, because they would share its page cache. A node lives as long
 * as the kernel counts lookups of it or it is open. Belongs to the file thread.
 *
 * An open file is a snapshot: while a node is open it keeps its leases' bytes, also when the leases
 * have ended (their keys are powerless then). The bytes go with the last descriptor.
 */
#ifndef DSEC_FS_NODE_H
#define DSEC_FS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/handles.h"
#include "fs/leases.h"
#include "fs/queue.h"
#include "fs/records.h"
#include "fs/shared.h"
#include "fs/tree.h"
#include "lease/list.h"
#include "lease/table.h"

#define NODE_ROOT 1

/* Names CONFIG@OPTIONS are made up by whoever looks them up, and live as long as the kernel likes.
 * Beyond the first number it is asked to forget the oldest; beyond the second (they are all in use)
 * new ones are refused. */
#define NODES_VARIANTS_KEPT 1000
#define NODES_VARIANTS_MAX  20000

enum node_kind {
	NODE_FOLDER,
	NODE_STATIC,   /* needs no lease */
	NODE_UNLEASED, /* size 0; becomes LEASED at its first OPEN */
	NODE_LEASED,
	NODE_EMPTY,  /* was opened unleased by somebody who would not wait; stays empty */
	NODE_REPORT, /* one text of the engine's */
	NODE_PROBE,
};

struct node {
	uint64_t id;
	enum node_kind kind;
	bool keyed; /* found by its key */
	/* Its name leads to another node now, or to none: only who has it open reads it. */
	bool stale;
	bool dead;     /* LEASED: a lease of it has ended */
	bool replaced; /* LEASED: who reads its name again is given another lease */
	/* An OPEN of it was answered, by this worker or by one before: its pages may be locked by
	 * who reads them, and nothing can be stored any more. */
	bool was_open;
	bool fresh; /* FOLDER: CONFIG@fresh; file: its leases end when nobody has it open */
	struct table_node by_id, by_key;
	struct list in_nodes;
	struct list in_folders; /* FOLDER */

	const struct entry *entry; /* of the current tree, or of `tree`; NULL: stale and not open */
	struct tree *tree;         /* NULL, or a reference to the older tree of an open file */
	uint64_t folder;           /* FOLDER: the id of the folder it is in */
	char *name;                /* FOLDER: what it was looked up by */
	struct list in_variants;   /* FOLDER: of a made-up name */
	int64_t ttl_ms;            /* what its readers ask for; 0: each secret's own */
	lease_holder holder;       /* 0, or the only one who may open it */
	uid_t opener;              /* a fresh file that is leased, or about to be: for whom */
	pid_t refused;             /* the thread that was sent to look its name up again */

	/* What stat(2) shows. */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	int error; /* 0, or the errno of opening it */
	ino_t ino;
	size_t size;
	int64_t time_ms;
	uint64_t content; /* STATIC, LEASED: a digest of the bytes */

	struct binding *bindings; /* LEASED: in the order of the entry's bits */
	size_t n_bindings;
	char *text; /* REPORT */

	uint64_t lookups; /* as the kernel counts them */
	uint64_t opens;
	int64_t open_since_at; /* boottime, while it is open */
	record_at record;      /* as the next process finds it; 0: none */
	uint64_t stored;       /* UNLEASED: as many bytes may lie in its page cache already */
	struct list waiters;   /* UNLEASED: kept OPENs */
	struct list watchers;  /* who waits in poll(2) (poll.c) */
	uint64_t acquire;      /* the acquire that they wait for; 0: none */
};

struct nodes {
	struct table by_id, by_key;
	struct list all, folders;
	struct list variants; /* folders of made-up names, the one longest not looked up first */
	size_t n_variants;
	struct shared *shared;
	struct records records;
	struct handles handles;
	struct leases leases;
	struct tree *tree;    /* the current one; a reference */
	struct queue *outbox; /* to the engine's thread */
	/* A node's name leads elsewhere from now on, or it is freed. May be NULL. */
	void (*retired)(void *arg, struct node *node);
	void *arg;
};

/* Takes over the reference to the tree. The shared memory stays the caller's. Where an earlier
 * process has served the mount, there is the root alone until nodes_restore. */
void nodes_init(struct nodes *nodes, struct shared *shared, struct tree *tree,
		struct queue *outbox);

/* Every node that an earlier process had, with what it meant: once all leases that live are known.
 * What cannot be had any more (its lease has ended, its bytes would be others) is stale. */
void nodes_restore(struct nodes *nodes);

void nodes_finish(struct nodes *nodes); /* frees all, whatever the kernel holds */

/* A number that is never used twice in the life of the mount. */
uint64_t nodes_take_id(struct nodes *nodes);

struct node *nodes_find(const struct nodes *nodes, uint64_t id); /* NULL: unknown */

/* What a node is for; what does not apply is zero. */
struct node_key {
	enum node_kind kind;
	const struct entry *entry; /* of the current tree */
	uint64_t folder;           /* FOLDER */
	const char *name;          /* FOLDER */
	int64_t ttl_ms;            /* FOLDER; of files as node_file_ttl() says */
	lease_holder holder;       /* of a fresh file: one of its own */
	bool fresh;
	const struct lease *const *leases; /* LEASED: one for each bit of entry->secrets */
	const char *text;                  /* REPORT */
};

/* The node for a key: the one there is, or a new one; NULL beyond NODES_VARIANTS_MAX. */
struct node *nodes_get(struct nodes *nodes, const struct node_key *key);

/* UNLEASED becomes LEASED. To the next process it does once node_write has said so: before, the
 * kernel has not been told. */
void node_bind(struct nodes *nodes, struct node *node, const struct lease *const *leases);
void node_write(struct nodes *nodes, struct node *node);

/* The kernel counts one lookup more, or so many less. */
void node_looked_up(struct nodes *nodes, struct node *node);
void node_forgotten(struct nodes *nodes, struct node *node, uint64_t lookups);

/* Its name leads to another node from now on, or to none. */
void node_retire(struct nodes *nodes, struct node *node);

/* UNLEASED becomes EMPTY: its name leads to another node from now on. */
void node_spend(struct nodes *nodes, struct node *node);

/* May it be opened, for all that is known of its leases? */
bool node_alive(const struct node *node, int64_t now_at);

/* Writes a file's bytes; 0 or a negative errno. */
int node_render(const struct nodes *nodes, const struct node *node, struct download *to);

/* Frees what nobody can ask for any more: the bytes of a stale node that is not open, and the node
 * when the kernel does not know it either. To be called after each step that let go of one. */
void node_settle(struct nodes *nodes, struct node *node);

/* Somebody who keeps a file open for so long holds its lease; a read does not take so long. */
#define NODE_HOLD_MS 1000

/* Has anybody a file of that lease open? */
bool nodes_open(const struct nodes *nodes, const char *lease_id);

/* Does somebody hold that lease? */
bool nodes_hold(const struct nodes *nodes, const char *lease_id, int64_t now_at);

/* Calls for each node that is bound to the lease. */
void nodes_of_lease(struct nodes *nodes, const char *lease_id,
		    void (*each)(void *arg, struct node *node), void *arg);

/* A lease has ended: the nodes that hold it are stale. */
void nodes_end_lease(struct nodes *nodes, const char *lease_id);

/* Names mean what the new tree says from now on; takes over the reference. Folders and files whose
 * bytes are the same keep their nodes. */
void nodes_reload(struct nodes *nodes, struct tree *tree);

/* The TTL that readers of a file ask for: 0 where `ttl_ms` is each needed secret's own anyway, so
 * that CONFIG and CONFIG@TTL lead to one node. */
int64_t node_file_ttl(const struct entry *file, int64_t ttl_ms);

/* The inode number that an entry has in a folder: also a fresh file's, whose node is another one at
 * each look. */
ino_t node_child_ino(const struct node *folder, const struct entry *child);

void node_stat(const struct node *node, struct stat *ret);

#endif
