/*
 * cloud.h: IAM as the engine meets it, in a simulated world: AWS's rules for users and what hangs
 * on them, copies that lag behind, and whatever fate the test has in mind for each call.
 */
#ifndef DSEC_TESTS_SIM_CLOUD_H
#define DSEC_TESTS_SIM_CLOUD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/list.h"
#include "lease/provider.h"
#include "lease/table.h"
#include "tests/sim/world.h"

struct cloud;

/* Something that hangs on a user, or did: lists may show it for a while. */
struct cloud_thing {
	struct list link;
	enum provider_attachment kind;
	char *name;
	int64_t since_at, until_at;
	bool allows;         /* an inline policy with an Allow, or a managed one */
	bool denies;         /* an inline policy with the dead-man's Deny */
	int64_t deny_ms;     /* from then on */
	unsigned n_verified; /* a key: accepted so often in a row */
};

struct cloud_user {
	struct list link;
	struct table_node by_name;
	uint64_t serial;
	char *name, *path, *arn;
	int64_t since_at, until_at;
	int64_t created_ms;
	bool tampered; /* somebody else has put something on it, or taken it away */
	int tag;       /* the test's */
	struct list things;
};

/* What becomes of one call. */
struct cloud_fate {
	int64_t latency_ms;
	bool fails; /* it is answered with this error */
	enum dsec_error_kind kind;
	bool ambiguous;
	bool effect;             /* although it fails, it takes effect … */
	int64_t effect_delay_ms; /* … so long after it was sent */
};

struct cloud {
	struct provider provider; /* what the engine sees */
	struct world *world;
	const char *account;
	size_t quota, page;
	bool empty_pages;       /* some pages are empty and not the last */
	int64_t consistency_ms; /* how far copies lag behind */

	struct cloud_fate (*fate)(void *arg, const struct provider_call *call);
	/* A call has taken effect on this user. May be NULL. */
	void (*changed)(void *arg, struct cloud_user *user, enum provider_op op);
	void *arg;

	struct list users; /* oldest first, those that were deleted lately too */
	struct table by_name;
	size_t n_users; /* that are */
	uint64_t last_serial, last_key, last_handle;
	struct list calls;
	uint64_t n_calls[PROVIDER_SIMULATE + 1];
};

void cloud_init(struct cloud *cloud, struct world *world, const char *account);
void cloud_finish(struct cloud *cloud);

/* The daemon is dead: nobody waits for an answer, what was sent is on its way all the same. */
void cloud_forget_callers(struct cloud *cloud);

struct cloud_user *cloud_user(const struct cloud *cloud, const char *name); /* that is; or NULL */
struct cloud_thing *cloud_thing(const struct cloud_user *user, enum provider_attachment kind,
				const char *name); /* that is; NULL: any of this kind; or NULL */
size_t cloud_count(const struct cloud_user *user, enum provider_attachment kind);

/* Somebody else makes a user, or puts something on one. */
struct cloud_user *cloud_make_user(struct cloud *cloud, const char *name, const char *path);
void cloud_put(struct cloud *cloud, struct cloud_user *user, enum provider_attachment kind,
	       const char *name);
void cloud_remove_user(struct cloud *cloud, struct cloud_user *user); /* with all its things */

/* The secret of the key of this id. */
#define CLOUD_SECRET_MAX 41
void cloud_secret(char secret[CLOUD_SECRET_MAX], const char *access_key_id);

#endif
