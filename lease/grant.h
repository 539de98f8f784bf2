/*
 * grant.h: the making of a principal, shared by its three files: grant.c has the transitions,
 * grant_user.c and grant_key.c the two calls that run side by side.
 */
#ifndef DSEC_LEASE_GRANT_H
#define DSEC_LEASE_GRANT_H

#include "lease/engine_private.h"

/* What the call on the user does just now. */
enum grant_user_step {
	USER_CREATE,
	USER_LOOK, /* the name is taken, perhaps by an attempt whose answer was lost: whose is it?
		    */
	USER_POLICY,
	USER_ATTACH, /* managed policies, one after the other */
};

enum grant_key_step {
	KEY_CREATE,
	KEY_LIST,    /* an answer was lost: a key may be there whose secret nobody knows */
	KEY_DISCARD, /* what was listed, one after the other */
	KEY_VERIFY,
};

struct grant {
	struct principal *principal;
	struct limiter_call user_call, key_call;
	enum grant_user_step user_step;
	enum grant_key_step key_step;
	int64_t begun_at, created_at;
	bool has_line;         /* an intent is durable, of this name or of one that was taken */
	bool name_may_be_ours; /* a CreateUser has ended without a good answer */
	bool clock_guessed;    /* the end in the path is by a clock that is not AWS's */
	bool abandoned;        /* only what is under way is waited for */
	bool policy_stands, has_key;
	char *document;
	size_t n_attached;
	struct secret *secret_access_key;
	char **stray_keys;
	size_t n_stray, n_discarded;
	unsigned n_verified;
	bool has_error;
	struct dsec_error error; /* the last that was worth another attempt */
};

/* The calls. */
void grant_user_init(struct grant *grant);
void grant_user_begin(struct grant *grant, enum grant_user_step step);
void grant_key_init(struct grant *grant);
/* In which class its calls go: behind what somebody waits for, or with it. */
enum limiter_class grant_class(const struct grant *grant);
void grant_key_begin(struct grant *grant, enum grant_key_step step);
void grant_key_forget_strays(struct grant *grant);

/* What their answers lead to. */
void grant_name_taken(struct grant *grant); /* by somebody else */
void grant_created(struct grant *grant, int64_t created_ms);
void grant_equipped(struct grant *grant); /* policy or key has come */
void grant_attached(struct grant *grant);
void grant_verified(struct grant *grant);
void grant_abandoned_answered(struct grant *grant);

/* Another attempt after backoff where that may mend it; else the end of the grant. */
void grant_retry_or_fail(struct grant *grant, struct limiter_call *call,
			 const struct dsec_error *err);

#endif
