/*
 * removal.h: takes one IAM user away, with whatever hangs on it, in the order that is safe: its
 * keys first, its inline policy (which bears the expiry's Deny) never before the managed policies
 * that it holds down, the user last.
 *
 * A removal has no end but the user's: what fails is tried again with backoff for as long as the
 * user exists. Every step is idempotent, so a lost answer needs no resolving, and NoSuchEntity
 * means that a step is done.
 */
#ifndef DSEC_LEASE_REMOVAL_H
#define DSEC_LEASE_REMOVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/error.h"
#include "lease/limiter.h"
#include "lease/provider.h"

#define REMOVAL_BACKOFF_MS     500
#define REMOVAL_BACKOFF_CAP_MS 300000 /* 5 minutes */

/* A step that failed so often is passed over: DeleteUser says whether it was needed. */
#define REMOVAL_STEP_TRIES 8

enum removal_outcome {
	REMOVAL_DELETED, /* DeleteUser succeeded */
	REMOVAL_ABSENT, /* IAM says that there is no such user, which a young user may contradict */
	REMOVAL_FOREIGN, /* there is a user of this name under another path: it was left alone */
};

struct removal;

struct removal_owner {
	/* It is over; the removal may be freed or started again. */
	void (*done)(struct removal *removal, enum removal_outcome outcome);
	/* No key of the user is left. May be called more than once. */
	void (*keys_gone)(struct removal *removal);
	/* A call failed, and will be tried again or passed over. */
	void (*trouble)(struct removal *removal, enum provider_op op, const struct dsec_error *err);
};

/* What is known of the user. All strings are the owner's, and stay until the removal is over. */
struct removal_user {
	const char *name;
	/* Look first, and go on only if the user stands under this path: for one that may not
	 * exist, or whose name may be another's. NULL: it is ours for certain. */
	const char *look_path;
	int64_t settled_at;        /* until then NoSuchEntity is not believed (boottime) */
	const char *access_key_id; /* NULL: unknown; what keys there are is listed */
	/* The managed policies that dsec may have attached: taken away by name, since a list may
	 * not show yet what allows, and then the Deny would go first. */
	const char *const *policy_arns;
	size_t n_policy_arns;
	/* All that dsec put on it is known (policy_name is the inline policy, NULL: none), so that
	 * it needs no listing. */
	bool known;
	const char *policy_name;
};

enum removal_step {
	REMOVAL_LOOK,
	REMOVAL_DETACH,   /* managed policies that dsec attached, one after the other */
	REMOVAL_UNPOLICE, /* the inline policy that dsec put */
	REMOVAL_LIST,     /* a page of what hangs on it, of one kind */
	REMOVAL_TAKE,     /* what the page held, one after the other */
	REMOVAL_DELETE,
};

struct removal {
	/* Set by the owner before removal_start. */
	const struct removal_owner *owner;
	struct limiter *limiter;
	struct removal_user user;

	/* The removal's own; zeroed before the first start. */
	enum removal_step step;
	struct limiter_call call;
	struct limiter_call key_call; /* takes the known key away, beside everything else */
	size_t at;                    /* the ARN, or the name on the page */
	size_t kind;                  /* index into the order of kinds */
	unsigned kinds;    /* which of them to list: bit i is attachment i; 0: none, all is known */
	uint64_t detached; /* policy_arns that are, for certain */
	bool allow_left;   /* something that may allow could not be taken away: the Deny stays */
	bool keys_left;    /* likewise a key */
	bool wait_for_key; /* all but DeleteUser is done; it waits for key_call */
	unsigned passes;   /* DeleteConflicts in a row */
	char **names;      /* the page */
	size_t n_names;
	char *marker;
};

void removal_start(struct removal *removal);

/* Stops it wherever it is; NULL-safe for one that was never started. */
void removal_cancel(struct removal *removal);

#endif
