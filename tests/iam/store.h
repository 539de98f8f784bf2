/*
 * store.h: what the account holds: users and all that hangs on them, groups, managed policies.
 *
 * The store keeps IAM's things and says what is visible of them at a moment; the rules of single
 * actions (quotas, conflicts, names) are those of actions_*.c.
 */
#ifndef DSEC_TESTS_IAM_STORE_H
#define DSEC_TESTS_IAM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "policy.h"

/* Eventual consistency. A change is seen by every endpoint once `delay` has passed; until then only
 * `fresh` of `of` calls see it. Times are CLOCK_MONOTONIC milliseconds. */
struct consistency {
	int64_t users_ms, keys_ms, policies_ms; /* delays of creations */
	int64_t deletions_ms;
	unsigned fresh, of;
};

/* How one call sees the account. */
struct view {
	int64_t now_ms;
	bool fresh; /* sees everything at once */
};

/* From when and until when a thing is seen by a call that is not fresh. */
struct life {
	int64_t seen_from, gone_from;
	bool removed;
};

struct tag {
	char *key, *value;
};

struct access_key {
	TAILQ_ENTRY(access_key) of_user;
	struct life life;
	struct user *user;
	char *id, *secret;
	char *token;        /* of a session; NULL for a user's own key */
	int64_t expires_ms; /* of a session, CLOCK_REALTIME; 0: never */
	bool iam_refused;   /* GetSessionToken's credentials may not call IAM */
	bool active;
	int64_t created_ms;
};

struct user_policy {
	TAILQ_ENTRY(user_policy) of_user;
	struct life life;
	char *name;     /* of an inline policy; NULL: an attached one */
	char *arn;      /* of an attached policy; NULL: an inline one */
	char *document; /* of an inline policy */
	struct policy *policy;
};

struct group {
	TAILQ_ENTRY(group) all;
	char *name, *path, *id, *arn;
	int64_t created_ms;
};

struct membership {
	TAILQ_ENTRY(membership) of_user;
	struct group *group;
};

/* Credentials of a user that are no access keys: all that they have in common is all we need. */
enum credential_kind {
	CREDENTIAL_MFA,
	CREDENTIAL_CERTIFICATE,
	CREDENTIAL_SSH_KEY,
	CREDENTIAL_SERVICE,
	CREDENTIAL_KINDS,
};

struct credential {
	TAILQ_ENTRY(credential) of_user;
	enum credential_kind kind;
	char *id;      /* the serial number of an MFA device */
	char *body;    /* certificate, public key */
	char *service; /* of a service-specific credential */
	char *login;   /* its user name */
	char *status;
	int64_t created_ms;
};

struct user {
	TAILQ_ENTRY(user) all;   /* in the order of creation, which is the order of ListUsers */
	TAILQ_ENTRY(user) grave; /* of a removed one that stale calls still see */
	struct life life;
	uint64_t sequence; /* unique, ascending: what a Marker stands for */
	char *name, *path, *id, *arn, *boundary;
	int64_t created_ms;
	struct tag *tags;
	size_t n_tags;
	TAILQ_HEAD(, access_key) keys;
	TAILQ_HEAD(, user_policy) policies;
	TAILQ_HEAD(, membership) groups;
	TAILQ_HEAD(, credential) credentials;
	bool has_login;
	int64_t login_created_ms;
};

struct managed_policy {
	TAILQ_ENTRY(managed_policy) all;
	char *name, *path, *id, *arn;
	int64_t created_ms;
	struct policy *policy;
};

struct mfa_device {
	TAILQ_ENTRY(mfa_device) all;
	char *serial;
	struct user *user; /* whose it is; NULL: nobody's */
};

struct store {
	const char *partition, *account; /* borrowed */
	struct consistency consistency;
	TAILQ_HEAD(user_list, user) users;
	TAILQ_HEAD(, user) graves;
	TAILQ_HEAD(, managed_policy) managed;
	TAILQ_HEAD(, group) groups;
	struct map *users_by_name; /* without removed ones */
	struct map *graves_by_name;
	struct map *keys_by_id; /* with removed ones that stale calls still accept */
	struct map *managed_by_arn;
	struct map *groups_by_name;
	TAILQ_HEAD(, mfa_device) mfa_devices;
	uint64_t sequence;
	size_t n_users;
};

struct store *store_new(const char *partition, const char *account);
struct store *store_free(struct store *store);

/* Forgets removed users whose time has come. Called before each call. */
void store_bury(struct store *store, int64_t now_ms);

bool life_visible(const struct life *life, const struct view *view);

/* The user as this call sees it, perhaps a removed one; NULL: none to be seen. Frees what was
 * removed from it long enough ago. */
struct user *store_user(struct store *store, const char *name, const struct view *view);
/* NULL: not there, seen or not. */
struct user *store_existing_user(struct store *store, const char *name);

/* The caller has made sure that the name is free. */
struct user *store_add_user(struct store *store, const char *name, const char *path, int64_t now_ms,
			    int64_t created_ms);
void store_remove_user(struct store *store, struct user *user, int64_t now_ms);
/* Name and path may be NULL: unchanged. The ARN follows. */
void store_rename_user(struct store *store, struct user *user, const char *name, const char *path);

/* A user's own key. `id` and `secret` NULL: made up. */
struct access_key *store_add_key(struct store *store, struct user *user, const char *id,
				 const char *secret, int64_t now_ms, int64_t created_ms);
/* A session of the user with a made-up key. */
struct access_key *store_add_session(struct store *store, struct user *user, int64_t now_ms,
				     int64_t created_ms, int64_t expires_ms);
void store_remove_key(struct store *store, struct access_key *key, int64_t now_ms);
struct access_key *store_key(struct store *store, const char *id, const struct view *view);

/* Puts an inline policy (name and document) or attaches a managed one (arn), in the place of one of
 * the same name. Takes `policy`, which is NULL for an attached one. */
void store_put_policy(struct store *store, struct user *user, const char *name, const char *arn,
		      const char *document, struct policy *policy, int64_t now_ms);
void store_remove_policy(struct store *store, struct user_policy *policy, int64_t now_ms);
/* By name or by ARN; NULL: none to be seen. */
struct user_policy *user_inline_policy(struct user *user, const char *name,
				       const struct view *view);
struct user_policy *user_attached_policy(struct user *user, const char *arn,
					 const struct view *view);

struct credential *user_add_credential(struct user *user, enum credential_kind kind, const char *id,
				       int64_t created_ms);
struct credential *user_credential(struct user *user, enum credential_kind kind, const char *id);
void user_remove_credential(struct user *user, struct credential *credential);

/* Replaces the tag of the same key. */
void user_set_tag(struct user *user, const char *key, const char *value);

struct mfa_device *store_add_mfa_device(struct store *store, const char *serial);
struct mfa_device *store_mfa_device(struct store *store, const char *serial);
void store_remove_mfa_device(struct store *store, struct mfa_device *device);

struct group *store_add_group(struct store *store, const char *name, const char *path,
			      int64_t created_ms);
struct membership *user_membership(struct user *user, const struct group *group);
void user_join(struct user *user, struct group *group);
void user_leave(struct user *user, struct membership *membership);

/* Takes `policy`. */
struct managed_policy *store_add_managed(struct store *store, const char *name, const char *path,
					 struct policy *policy, int64_t created_ms);
/* Also AWS's own: any name below arn:PARTITION:iam::aws:policy/ exists. NULL: there is none. */
struct managed_policy *store_managed(struct store *store, const char *arn);

#endif
