/*
 * backend.h: the provider of one integration, and the calls that it has under way.
 */
#ifndef DSEC_AWS_BACKEND_H
#define DSEC_AWS_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/ahead.h"
#include "aws/http.h"
#include "aws/keyring.h"
#include "aws/loop.h"
#include "aws/skew.h"
#include "lease/catalog.h"
#include "lease/list.h"
#include "lease/provider.h"

struct backend {
	struct provider provider;
	struct list link; /* among its aws's */
	struct loop *loop;
	struct catalog *catalog; /* keeps the integration alive */
	const struct integration *integration;
	struct http http;
	struct ahead ahead;
	struct keyring *keyring;
	struct skew skew;
	bool no_sts; /* the server does not know GetCallerIdentity: keys are tried by IAM */
	struct list calls;
	uint64_t last_handle;
};

/* call.c: the operations of struct provider_ops. */
uint64_t backend_submit(struct provider *provider, const struct provider_call *asked,
			provider_done *done, void *arg);
void backend_cancel(struct provider *provider, uint64_t handle);

/* Drops all calls; their `done` is not called. */
void backend_drop_calls(struct backend *backend);

/* Keys that calls wait for have come, or will not. */
void backend_keys_changed(void *arg);

#endif
