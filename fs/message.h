/*
 * message.h: what the file thread and the engine's thread say to each other.
 *
 * A message owns what it refers to. Many turn round: the engine's thread fills in the answer and
 * sends the same message back. The file thread never frees one that may hold the last reference to
 * a tree; it sends it back as MESSAGE_DISCARD.
 */
#ifndef DSEC_FS_MESSAGE_H
#define DSEC_FS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "fs/caller.h"
#include "fs/queue.h"
#include "fs/tree.h"
#include "lease/engine.h"

enum message_kind {
	/* To the engine's thread. */
	MESSAGE_STARTED, /* INIT is answered; or `error` */
	MESSAGE_ACQUIRE, /* → ACQUIRED: acquire, node, tree, entry, ttl_ms, holders, caller; text:
			    who pays */
	MESSAGE_ABANDON, /* acquire, holders */
	MESSAGE_REPORT,  /* → REPORT: question, tree, entry; text or error */
	MESSAGE_INVALIDATE, /* node: the kernel should drop its pages, of which `size` bytes are
			       zeroed first */
	MESSAGE_FORGET,     /* node, text: the kernel should drop that name in that folder */
	MESSAGE_DISCARD,    /* nothing but what it holds is to be freed */
	MESSAGE_ENDED,      /* the kernel has ended the connection */
	MESSAGE_HELD,       /* leases[0]: somebody holds it */
	MESSAGE_WAKE,       /* question: the kernel's number of who waits for a file */
	MESSAGE_READ,       /* leases[0], caller, count: so many files of it were opened */
	MESSAGE_WATCH,   /* holders[0]: → HOLDER_ENDED when it ends: watched, namespace, text */
	MESSAGE_REFUSED, /* a reader was refused an entry: tree, entry, caller; text: why */
	MESSAGE_LET_GO,  /* holders[0]: it has ended; text: how */
	MESSAGE_VIEWED,  /* question, holders; or error, and text: why */
	/* To the file thread. */
	MESSAGE_ACQUIRED,     /* acquire, node; leases or error */
	MESSAGE_LEASE,        /* event, leases[0] */
	MESSAGE_HOLDER_ENDED, /* holders[0] */
	MESSAGE_ROTATED,      /* leases[0]: who reads again is given another */
	MESSAGE_DUE,          /* → HELD, or nothing: leases[0] */
	MESSAGE_TREE,         /* tree: the current one from now on */
	MESSAGE_CHOSEN,       /* first_open */
	MESSAGE_RESUME,       /* every lease that lives is known: begin to serve */
	MESSAGE_HAND_OVER,    /* stop, and answer nothing more */
	MESSAGE_NOTICE,       /* text */
	MESSAGE_VIEW,         /* → VIEWED: question, caller, scopes */
	MESSAGE_STOP,
};

struct message {
	struct queue_item item;
	enum message_kind kind;
	int error; /* 0, or a positive errno */
	uint64_t node, acquire, question;
	size_t size;
	struct tree *tree;         /* a reference */
	const struct entry *entry; /* in it */
	int64_t ttl_ms;
	lease_holder holders[SCOPES]; /* as struct acquire has them */
	struct lease_caller caller;   /* with a reference to who it is */
	unsigned scopes;              /* bit i: that one is asked for */
	uint64_t count;
	struct caller watched; /* the process, or one of the container's */
	uint64_t namespace;    /* 0, or the mount namespace that is the container */
	bool unified;          /* text: a cgroup's folder, in the unified hierarchy */
	enum lease_event event;
	int first_open;
	char *text;
	size_t n_leases;
	struct lease *leases[]; /* references */
};

struct message *message_new(enum message_kind kind, size_t n_leases);
void message_free(struct message *message);

static inline struct message *message_of(struct queue_item *item)
{
	return (struct message *)item; /* the first member */
}

static inline void message_send(struct queue *to, struct message *message)
{
	queue_push(to, &message->item);
}

#endif
