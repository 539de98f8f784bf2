/*
 * provider.h: what the domain asks of a cloud: one call, one answer, nothing hidden between.
 *
 * A provider makes exactly one attempt a call (a VERIFY_KEY may fall back from STS to IAM within
 * it) and says what came of it. Order, retries, rates, ambiguity and what to do next are the
 * engine's business, so that all of it runs in a simulation. Calls are asynchronous: `done` is
 * called once for each submitted call that is not cancelled, from the provider's own dispatch,
 * never from within submit or cancel.
 */
#ifndef DSEC_LEASE_PROVIDER_H
#define DSEC_LEASE_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/error.h"
#include "lease/secret.h"

/* What can hang on an IAM user; DeleteUser answers DeleteConflict until all are gone (facts:
 * aws-iam.md). */
enum provider_attachment {
	ATTACHMENT_ACCESS_KEY,
	ATTACHMENT_INLINE_POLICY,
	ATTACHMENT_MANAGED_POLICY, /* named by ARN */
	ATTACHMENT_GROUP,
	ATTACHMENT_LOGIN_PROFILE, /* at most one; its name is "" */
	ATTACHMENT_MFA_DEVICE,    /* deactivated, and deleted where it is a virtual one */
	ATTACHMENT_SIGNING_CERTIFICATE,
	ATTACHMENT_SSH_KEY,
	ATTACHMENT_SERVICE_CREDENTIAL,
	ATTACHMENT_KINDS, /* how many there are */
};

enum provider_op {
	PROVIDER_CREATE_USER, /* user, path, permissions_boundary, tags      → users[0] */
	PROVIDER_GET_USER,    /* user; NULL asks who the integration itself is → users[0] */
	PROVIDER_DELETE_USER, /* user */
	PROVIDER_LIST_USERS, /* path (a prefix), marker                     → users, marker; a page
				may be empty and not the last */
	PROVIDER_PUT_POLICY,    /* user, name, document */
	PROVIDER_ATTACH_POLICY, /* user, name (an ARN) */
	PROVIDER_CREATE_KEY,    /* user                                        → access_key_id,
				   secret_access_key */
	PROVIDER_LIST,          /* user, attachment, marker                    → names, marker */
	PROVIDER_REMOVE,        /* user, attachment, name */
	PROVIDER_VERIFY_KEY,    /* user, access_key_id, secret_access_key: does AWS accept this key?
				   KEY_NOT_READY while not */
	PROVIDER_SUMMARY, /* GetAccountSummary                           → users_used, users_quota
			   */
	PROVIDER_SIMULATE, /* name (the ARN of a principal), actions, resource, tags (context keys
			      of the request): what may it not do? → names, the denied actions */
};

/* "CreateUser" and so on, for messages. */
const char *provider_op_name(enum provider_op op);
const char *provider_attachment_name(enum provider_attachment attachment); /* "access key", … */

/* Borrowed by submit for the time of that call alone. */
struct provider_call {
	enum provider_op op;
	const char *user;
	const char *path;
	const char *name;
	const char *document;
	const char *marker; /* NULL: the first page */
	const char *permissions_boundary;
	const struct tag *tags;
	size_t n_tags;
	const char *const *actions; /* SIMULATE: such as "iam:CreateUser" */
	size_t n_actions;
	const char *resource; /* SIMULATE: the ARN that the actions would be done to */
	enum provider_attachment attachment;
	const char *access_key_id;
	const struct secret
		*secret_access_key; /* VERIFY_KEY; the provider takes a reference of its own */
	int64_t timeout_ms; /* how long this one attempt may take; over it: DSEC_ERROR_TIMEOUT,
			       ambiguous */
};

struct provider_user {
	const char *name, *path, *arn;
	int64_t created_ms; /* AWS's CreateDate; 0 where it gave none */
};

/* Borrowed by `done` for the time of that call alone; take references to or copies of what is kept.
 */
struct provider_answer {
	const struct provider_user *users;
	size_t n_users;
	const char *const *names;
	size_t n_names;
	const char *marker; /* the next page's; NULL when this was the last */
	const char *access_key_id;
	struct secret *secret_access_key;
	int64_t users_used, users_quota; /* -1 where the server does not tell */
	/* AWS's clock when it answered, from the Date header of an answer that came over verified
	 * TLS (or loopback); 0 where there was none. Set on errors too. */
	int64_t server_ms;
};

/* err is NULL on success; `answer` is never NULL. */
typedef void provider_done(void *arg, const struct provider_answer *answer,
			   const struct dsec_error *err);

struct provider;
struct provider_ops {
	/* Starts the call and returns its handle, never 0. A call that cannot even be built is
	 * answered through `done` like any other. */
	uint64_t (*submit)(struct provider *provider, const struct provider_call *call,
			   provider_done *done, void *arg);
	/* Forgets the call: `done` is not called for it. It may have taken effect. */
	void (*cancel)(struct provider *provider, uint64_t handle);
};

/* One an integration; embedded in the implementation's own struct. */
struct provider {
	const struct provider_ops *ops;
};

#endif
