/*
 * sweep.h: removes users of any daemon whose last possible end has passed, from IAM alone.
 *
 * It judges by AWS's clock with SWEEP_MARGIN_MS to spare, touches only users whose path and name
 * both have dsec's form, and reads each again right before it deletes it. Uses the engine's limiter
 * and removal; asynchronous, on the owner's thread, like the engine.
 */
#ifndef DSEC_LEASE_SWEEP_H
#define DSEC_LEASE_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/error.h"
#include "lease/provider.h"

#define SWEEP_MARGIN_MS 300000 /* 5 minutes */

struct sweep;

enum sweep_event {
	SWEEP_FOUND,    /* it is expired; with dry_run this is all that happens */
	SWEEP_REMOVED,  /* it is gone */
	SWEEP_FAILED,   /* it is still there: err says why */
	SWEEP_KEPT,     /* under our path, but not expired yet, or not of dsec's form (reason) */
	SWEEP_RETRYING, /* err is in the way of listing (user is NULL), or again and again of
			   removing a user: it is tried again */
};

typedef void sweep_report(void *arg, enum sweep_event event, const struct provider_user *user,
			  const char *reason, const struct dsec_error *err);
/* err: the listing itself failed; `failed` counts the users that are left. */
typedef void sweep_done(void *arg, size_t removed, size_t failed, const struct dsec_error *err);

int sweep_start(struct sweep **ret, const struct clock *clock, struct provider *provider,
		const struct integration *integration, bool dry_run, sweep_report *report,
		sweep_done *done, void *arg, struct dsec_error *err);
int64_t sweep_tick(struct sweep *sweep); /* as engine_tick */
struct sweep *sweep_free(struct sweep *sweep);

#endif
