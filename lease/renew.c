#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/duration.h"
#include "lease/engine_private.h"
#include "lease/policy.h"

/* A renewal writes the journal's line, then the policy, then tells the readers. A daemon that dies
 * between the first two leaves a key that is dead at the old end and a line that has the user
 * removed at the new one; the other way round the policy would allow what the journal does not know
 * of. The path has the last possible end from the start, so it holds in any order. */
struct renewal {
	struct principal *principal;
	struct limiter_call call;
	char *document;
	int64_t ttl_ms;
	int64_t old_expires_ms;
	bool recorded;
};

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct renewal *renewal = container_of(call, struct renewal, call);
	const struct line *record = &renewal->principal->record;

	to->op = PROVIDER_PUT_POLICY;
	to->user = record->user;
	to->name = record->policy_name;
	to->document = renewal->document;
}

struct renewal *renewal_cancel(struct renewal *renewal)
{
	if (!renewal)
		return NULL;
	if (renewal->call.state != LIMITER_IDLE)
		limiter_cancel(&renewal->call);
	free(renewal->document);
	free(renewal);
	return NULL;
}

/* One that is kept ready can be had again. */
static void offer(const struct principal *principal)
{
	if (lease_holder_kind(principal->holder) == HOLDER_STOCK)
		warm_serve(principal->pool);
}

static void finish(struct principal *principal)
{
	struct renewal *renewal = principal->renewal;
	int64_t moved_ms = principal->record.expires_ms - renewal->old_expires_ms;
	int64_t min_validity = catalog_min_validity(&principal->recipe->secret, renewal->ttl_ms);

	principal->engine->counters.renewed++;
	principal->renewal = renewal_cancel(renewal);
	if (principal->adopted) {
		principal_set_expiry(principal);
		return;
	}
	principal->expire_at += moved_ms;
	if (engine_now(principal->engine) >= principal->expire_at)
		principal_revoke(principal, "expired"); /* it was shortened, and that took long */
	else
		principal_publish(principal, principal->lease->secret_access_key, min_validity);
	offer(principal);
}

static void fail(struct principal *principal, const struct dsec_error *err)
{
	engine_log(principal->engine, LOG_WARNING, "the lease %s (%s) is not renewed: %s",
		   principal->record.lease_id, principal->record.user, err->message);
	principal->record.expires_ms = principal->renewal->old_expires_ms;
	principal->renewal = renewal_cancel(principal->renewal);
	if (principal->adopted)
		principal_set_expiry(principal);
	principal_record(principal, JOURNAL_ACTIVE);
	offer(principal);
}

static void answered(struct limiter_call *call, const struct provider_answer *answer,
		     const struct dsec_error *err)
{
	struct renewal *renewal = container_of(call, struct renewal, call);

	if (!err)
		finish(renewal->principal);
	else if (limiter_transient(err))
		limiter_retry(call, GRANT_BACKOFF_MS, GRANT_BACKOFF_CAP_MS);
	else
		fail(renewal->principal, err);
}

void renewal_recorded(struct principal *principal, const struct dsec_error *err)
{
	struct renewal *renewal = principal->renewal;

	if (renewal->recorded)
		return;
	if (err) {
		fail(principal, err);
		return;
	}
	renewal->recorded = true;
	if (renewal->document)
		limiter_submit(&principal->account->limiter, &renewal->call, LIMITER_LEASES);
	else
		finish(principal);
}

static int refuse(const struct principal *principal, const char *lease_id, int64_t ttl_ms,
		  struct dsec_error *err)
{
	if (!principal || principal->state != PRINCIPAL_ACTIVE)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no live lease %s",
				      lease_id);
	if (ttl_ms < CATALOG_TTL_MIN_MS)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "a TTL is at least 10s");
	if (principal->renewal)
		return dsec_error_set(err, DSEC_ERROR_BUSY, "it is being renewed already");
	if (!principal->account || !principal->recipe)
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "it was made under another configuration, whose policy is "
				      "not known any more");
	return 0;
}

int engine_renew(struct engine *engine, const char *lease_id, int64_t ttl_ms,
		 struct dsec_error *err)
{
	struct principal *principal = principal_by_id(engine, lease_id);
	int r = refuse(principal, lease_id, ttl_ms, err);

	if (r < 0)
		return r;

	struct line *record = &principal->record;
	struct renewal *renewal = alloc_zeroed(1, sizeof(*renewal));

	/* From now: what is left here is what is left there, whatever the calendars say. */
	int64_t left = principal->expire_at - engine_now(engine);
	int64_t end_ms = record->expires_ms - left + ttl_ms;

	renewal->principal = principal;
	renewal->call.fill = fill;
	renewal->call.done = answered;
	renewal->ttl_ms = ttl_ms;
	renewal->old_expires_ms = record->expires_ms;
	record->expires_ms = end_ms < record->last_end_ms ? end_ms : record->last_end_ms;
	if (principal->account->expiry_in_policy) {
		renewal->document =
			policy_with_expiry(principal->recipe->secret.policy, record->expires_ms);
		if (!renewal->document)
			abort();
	}
	principal->renewal = renewal;
	principal_record(principal, JOURNAL_ACTIVE);
	return 0;
}
