/*
 * aws.h: the provider interface for AWS: IAM and STS over HTTPS.
 *
 * One attempt a call, signed (SigV4, by libcurl), with a deadline and a bound on the answer's size;
 * answers are read with expat and classified by the table in classify.c. Works with AWS, moto and
 * Ceph's RADOS gateway (facts/aws-iam.md). All of an `struct aws` runs on one thread: the owner
 * waits for aws_fd() to become readable or aws_deadline_at() to come, and calls aws_dispatch().
 *
 * TLS is verified; plain http reaches loopback only. Redirects are not followed, and of the
 * environment only what names an integration's credentials is used: no proxies, no key log.
 *
 * The process is to ignore SIGPIPE, as TLS is written to connections that may have been closed, and
 * not SIGCHLD, as a credential_process is waited for.
 */
#ifndef DSEC_AWS_AWS_H
#define DSEC_AWS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/error.h"
#include "lease/provider.h"

/* A longer answer is a failure: 1,000 users a page are about 500 KiB. */
#define AWS_ANSWER_SIZE_MAX               (8ul * 1024 * 1024)
#define AWS_CONNECTIONS_MAX               32 /* an integration */
#define AWS_CREDENTIAL_PROCESS_TIMEOUT_MS 20000
#define AWS_CREDENTIAL_PROCESS_OUTPUT_MAX (64ul * 1024)
/* The local clock may be this far from AWS's; beyond: DSEC_ERROR_CLOCK_SKEW. */
#define AWS_SKEW_MEND_MAX_MS (15LL * 60 * 1000)

struct aws;

/* Gives libcurl, OpenSSL and jansson an allocator that wipes what it frees, and initialises
 * libcurl. Called once, before any thread starts, and before anything else uses OpenSSL, which
 * takes no other allocator later: DSEC_ERROR_FAULT. */
int aws_global_init(struct dsec_error *err);
void aws_global_finish(void);

int aws_new(struct aws **ret, const struct clock *clock, struct dsec_error *err);
/* NULL-safe; returns NULL. Calls under way are dropped, and their `done` is not called; not from
 * within a `done`. */
struct aws *aws_free(struct aws *aws);

/* An epoll descriptor: readable when there is work. */
int aws_fd(const struct aws *aws);
int64_t aws_deadline_at(const struct aws *aws);
void aws_dispatch(struct aws *aws);

/* The provider of an integration; takes a reference to the catalog. One that is the same in all
 * that matters as one made before is that one. Lives until aws_free. */
struct provider *aws_provider(struct aws *aws, struct catalog *catalog,
			      const struct integration *integration);

/* What the integration's own user must be allowed to do, by what it is done to. */
struct aws_permissions {
	const char *name;           /* "DsecUsers", the statement's Sid */
	const char *const *actions; /* "iam:CreateUser", … */
	size_t n_actions;
	const char *const *resources; /* ARNs with wildcards; any of them */
	size_t n_resources;
	bool self; /* the resource is the integration's own user, whatever it is called */
	/* The allowance may be limited to these values of this key of the request's context; NULL:
	 * it is not. */
	const char *condition;
	const char *const *values;
	size_t n_values;
};

/* The list of them, as far as the integration's dynamic secrets need them, for
 * aws_permissions_free. `account` may be NULL for any ("*"). */
struct aws_permissions *aws_permissions_new(const struct catalog *catalog,
					    const struct integration *integration,
					    const char *account, size_t *ret_n);
struct aws_permissions *aws_permissions_free(struct aws_permissions *permissions, size_t n);

/* The same as an IAM policy: pretty-printed JSON, for free(). */
char *aws_integration_policy(const struct catalog *catalog, const struct integration *integration,
			     const char *account);

#endif
