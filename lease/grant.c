#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/grant.h"
#include "lease/policy.h"

struct grant *grant_free(struct grant *grant)
{
	if (!grant)
		return NULL;
	if (grant->user_call.state != LIMITER_IDLE)
		limiter_cancel(&grant->user_call);
	if (grant->key_call.state != LIMITER_IDLE)
		limiter_cancel(&grant->key_call);
	grant_key_forget_strays(grant);
	secret_unref(grant->secret_access_key);
	free(grant->document);
	free(grant);
	return NULL;
}

const struct dsec_error *grant_last_error(const struct principal *principal)
{
	return principal->grant && principal->grant->has_error ? &principal->grant->error : NULL;
}

const char *grant_step_text(const struct principal *principal)
{
	static const char *const texts[] = {
		[PRINCIPAL_INTENDED] = "writing the intent to the journal",
		[PRINCIPAL_CREATING] = "creating the user",
		[PRINCIPAL_EQUIPPING] = "giving the user its policy and its key",
		[PRINCIPAL_ATTACHING] = "attaching the managed policies",
		[PRINCIPAL_VERIFYING] = "waiting until AWS accepts the key",
		[PRINCIPAL_RECORDING] = "writing the lease to the journal",
		[PRINCIPAL_ACTIVE] = "active",
		[PRINCIPAL_REVOKING] = "being removed",
		[PRINCIPAL_GONE] = "gone",
	};
	return texts[principal->state];
}

/* The ends. */

static int64_t whole_second(int64_t ms)
{
	return ms - (ms % 1000 + 1000) % 1000;
}

/* From the start (of which only the boottime is sure) in AWS's time. The end in the path is cut to
 * the second, so that writing an end in whole seconds, rounded up, never goes beyond it. */
static void choose_ends(struct principal *principal, int64_t max_ttl_ms)
{
	struct line *record = &principal->record;

	record->start_ms = account_ms(principal->account) -
			   (engine_now(principal->engine) - principal->start_at);
	record->last_end_ms = whole_second(record->start_ms + max_ttl_ms);
	record->expires_ms = record->start_ms + record->ttl_ms;
	if (record->expires_ms > record->last_end_ms)
		record->expires_ms = record->last_end_ms;
	principal->expire_at = principal->start_at + (record->expires_ms - record->start_ms);
}

/* The user is made, and AWS has said when. The path stays as it is; the ends are what AWS's clock
 * makes of them, and never beyond the creation plus max_ttl. */
static void correct_ends(struct principal *principal, int64_t created_ms)
{
	struct line *record = &principal->record;
	int64_t max_ttl_ms = principal->recipe->secret.max_ttl_ms;
	int64_t limit_ms = record->last_end_ms;

	choose_ends(principal, max_ttl_ms);
	if (record->last_end_ms < limit_ms)
		limit_ms = record->last_end_ms;
	if (created_ms > 0 && whole_second(created_ms + max_ttl_ms) < limit_ms)
		limit_ms = whole_second(created_ms + max_ttl_ms);
	record->last_end_ms = limit_ms;
	if (record->expires_ms > limit_ms)
		record->expires_ms = limit_ms;
	principal->expire_at = principal->start_at + (record->expires_ms - record->start_ms);
}

/* The slot that it was made for is told, and makes no other for a while. Its waiters are the
 * caller's to answer, last. */
static struct slot *leave(struct principal *principal, const struct dsec_error *err)
{
	struct slot *slot = principal->slot;

	principal->engine->counters.failed++;
	engine_log(principal->engine, LOG_WARNING, "no lease of %s in %s/%s: %s%s%s",
		   slot->pool->secret, slot->pool->project, slot->pool->config, err->message,
		   err->request_id[0] ? ", request " : "", err->request_id);
	slot->making = NULL;
	principal->slot = NULL;
	pool_failed(slot->pool, err);
	if (slot->place)
		warm_failed(slot->place);
	if (!slot->place || !list_empty(&slot->waiters))
		slot_refuse(slot, err);
	return slot;
}

static void fail(struct principal *principal, const struct dsec_error *err)
{
	const struct dsec_error said = *err; /* may stand in the grant */
	struct slot *slot = leave(principal, &said);
	char reason[JOURNAL_REASON_MAX];

	snprintf(reason, sizeof(reason), "failed: %s",
		 said.code[0] ? said.code : dsec_error_kind_name(said.kind));
	principal_revoke(principal, reason);
	slot_failed(slot, &said);
}

/* Intended. */

static void new_user_name(char to[IAM_USER_NAME_MAX], const struct clock *clock)
{
	char suffix[IDENTITY_SUFFIX_LENGTH + 1];

	identity_suffix(suffix, clock);
	snprintf(to, IAM_USER_NAME_MAX, IDENTITY_USER_PREFIX "%s", suffix);
}

static void first_record(struct journal_record *record, const struct slot *slot)
{
	const struct pool *pool = slot->pool;
	const struct clock *clock = pool->engine->env.clock;
	char suffix[IDENTITY_SUFFIX_LENGTH + 1];

	*record = (struct journal_record){
		.state = JOURNAL_INTENDED,
		.fingerprint = pool->recipe->secret.fingerprint,
		.ttl_ms = slot->ttl_ms,
	};
	identity_uuid(record->lease_id, clock);
	new_user_name(record->user, clock);
	identity_suffix(suffix, clock);
	snprintf(record->policy_name, sizeof(record->policy_name), IDENTITY_POLICY_PREFIX "%s",
		 suffix);
	snprintf(record->integration, sizeof(record->integration), "%s", pool->account->name);
	snprintf(record->project, sizeof(record->project), "%s", pool->project);
	snprintf(record->config, sizeof(record->config), "%s", pool->config);
	snprintf(record->secret, sizeof(record->secret), "%s", pool->secret);
}

/* Whoever records what is made may refuse that it is. Not the slot's fault: it is not made to
 * pause. */
static int announce(const struct engine *engine, const struct journal_record *record,
		    struct dsec_error *err)
{
	const struct engine_observer *observer = &engine->env.observer;

	return observer->intended ? observer->intended(observer->arg, record, err) : 0;
}

void grant_begin(struct slot *slot)
{
	struct pool *pool = slot->pool;
	struct engine *engine = pool->engine;
	struct journal_record record;
	struct dsec_error refused;

	first_record(&record, slot);
	if (announce(engine, &record, &refused) < 0) {
		pool_failed(pool, &refused);
		if (slot->place)
			warm_failed(slot->place);
		slot_failed(slot, &refused);
		return;
	}

	struct principal *principal = principal_new(engine, pool->account, pool, &record);
	struct grant *grant = alloc_zeroed(1, sizeof(*grant));

	principal->state = PRINCIPAL_INTENDED;
	principal->slot = slot;
	principal_set_holder(principal, slot->holder);
	principal->recipe = recipe_ref(pool->recipe);
	principal->grant = grant;
	principal->start_at = engine_now(engine);
	slot->making = principal;
	grant->principal = principal;
	grant->begun_at = principal->start_at;
	grant->clock_guessed = !pool->account->limiter.calendar.known;
	grant_user_init(grant);
	grant_key_init(grant);
	choose_ends(principal, pool->recipe->secret.max_ttl_ms);
	engine->counters.intended++;

	if (identity_user_path(record.path, pool->account->path, engine->daemon_id,
			       principal->record.last_end_ms) < 0) {
		struct dsec_error err;

		dsec_error_set(&err, DSEC_ERROR_INVALID, "the path of integration %s is too long",
			       pool->account->name);
		fail(principal, &err);
		return;
	}
	line_set(&principal->record.path, record.path);
	timer_arm(&engine->timers, &principal->timer, grant->begun_at + GRANT_TIME_MAX_MS);
	principal_record(principal, JOURNAL_INTENDED);
}

/* It has no user, and is to have none. */
static void give_up_intent(struct principal *principal, const struct dsec_error *err)
{
	struct slot *slot = leave(principal, err);

	if (principal->grant->has_line)
		principal_gone(principal);
	else
		principal_drop(principal);
	slot_failed(slot, err);
}

void grant_intended(struct principal *principal, const struct dsec_error *err)
{
	struct grant *grant = principal->grant;

	if (!err) {
		grant->has_line = true;
		principal->state = PRINCIPAL_CREATING;
		grant_user_begin(grant, USER_CREATE);
		return;
	}

	struct dsec_error said = *err;

	dsec_error_wrap(&said, "no new lease without a line in the journal");
	give_up_intent(principal, &said);
}

/* A new name is a new intent, which replaces the old one. */
void grant_name_taken(struct grant *grant)
{
	struct principal *principal = grant->principal;
	char name[IAM_USER_NAME_MAX];
	struct journal_record record;
	struct dsec_error refused;

	new_user_name(name, principal->engine->env.clock);
	principal_rename(principal, name);
	principal_line(principal, &record);
	grant->name_may_be_ours = false;
	if (announce(principal->engine, &record, &refused) < 0) {
		give_up_intent(principal, &refused);
		return;
	}
	principal->state = PRINCIPAL_INTENDED;
	principal_record(principal, JOURNAL_INTENDED);
}

/* Created. */

static void give_policy(struct principal *principal)
{
	struct grant *grant = principal->grant;
	const char *policy = principal->recipe->secret.policy;

	grant->document = principal->account->expiry_in_policy
				  ? policy_with_expiry(policy, principal->record.expires_ms)
				  : alloc_copy(policy);
	if (!grant->document)
		abort();
	if (grant->document[0] == '\0')
		grant->policy_stands = true;
	else
		grant_user_begin(grant, USER_POLICY);
}

/* The path was made by a local clock that was so far off that it leaves the lease too little of its
 * life. AWS's clock is known now: the next attempt does better. */
static void begin_again(struct principal *principal)
{
	struct slot *slot = principal->slot;

	slot->making = NULL;
	principal->slot = NULL;
	principal_revoke(principal, "failed: made by a clock that was wrong");
	slot->owed = true;
	slot_make(slot);
	slot_idle(slot);
}

void grant_created(struct grant *grant, int64_t created_ms)
{
	struct principal *principal = grant->principal;
	const struct line *record = &principal->record;

	correct_ends(principal, created_ms);
	principal_record(principal, JOURNAL_CREATED);
	if (grant->clock_guessed && record->expires_ms - record->start_ms < record->ttl_ms / 2) {
		begin_again(principal);
		return;
	}
	principal->state = PRINCIPAL_EQUIPPING;
	give_policy(principal);
	grant_key_begin(grant, KEY_CREATE);
}

/* Equipped, attached: managed policies only when the Deny stands. */

void grant_equipped(struct grant *grant)
{
	if (!grant->policy_stands || !grant->has_key)
		return;
	grant->principal->state = PRINCIPAL_ATTACHING;
	grant_attached(grant);
}

void grant_attached(struct grant *grant)
{
	struct principal *principal = grant->principal;

	if (grant->n_attached < principal->recipe->secret.n_policy_arns) {
		grant_user_begin(grant, USER_ATTACH);
		return;
	}
	if (!principal->account->verify) {
		grant_verified(grant);
		return;
	}
	principal->state = PRINCIPAL_VERIFYING;
	grant_key_begin(grant, KEY_VERIFY);
}

/* Verified, recorded, active. */

void grant_verified(struct grant *grant)
{
	/* The reader waits for this line: without it a daemon that died now would remove, at its
	 * next start, the user of a lease that somebody holds. */
	grant->principal->state = PRINCIPAL_RECORDING;
	principal_record(grant->principal, JOURNAL_ACTIVE);
}

void grant_recorded(struct principal *principal)
{
	struct engine *engine = principal->engine;
	struct slot *slot = principal->slot;
	struct secret *secret = secret_ref(principal->grant->secret_access_key);
	struct dsec_error err;

	if (engine_now(engine) >= principal->expire_at) {
		secret_unref(secret);
		dsec_error_set(&err, DSEC_ERROR_TIMEOUT,
			       "the lease was not ready before its end: ask for a longer TTL");
		fail(principal, &err);
		return;
	}
	engine->counters.activated++;
	engine->counters.making_ms += (uint64_t)(engine_now(engine) - principal->grant->begun_at);
	principal->state = PRINCIPAL_ACTIVE;
	principal->grant = grant_free(principal->grant);
	slot->making = NULL;
	slot->pool->error_ms = 0;
	principal_publish(
		principal, secret,
		catalog_min_validity(&principal->recipe->secret, principal->record.ttl_ms));
	secret_unref(secret);
	slot_ready(slot, principal->lease);
}

/* Failing. */

void grant_late(struct principal *principal)
{
	const struct grant *grant = principal->grant;
	struct dsec_error err;

	if (grant->has_error) {
		err = grant->error;
		dsec_error_wrap(&err, "given up %s", grant_step_text(principal));
	} else {
		dsec_error_set(&err, DSEC_ERROR_TIMEOUT, "given up %s", grant_step_text(principal));
	}
	fail(principal, &err);
}

/* A failure that another attempt may mend: NoSuchEntity says "not yet" about a young user. */
static bool worth_another(const struct grant *grant, const struct dsec_error *err)
{
	if (err->kind == DSEC_ERROR_NO_SUCH_ENTITY)
		return engine_now(grant->principal->engine) - grant->created_at < YOUNG_MS;
	return limiter_transient(err);
}

void grant_retry_or_fail(struct grant *grant, struct limiter_call *call,
			 const struct dsec_error *err)
{
	if (!worth_another(grant, err)) {
		fail(grant->principal, err);
		return;
	}
	grant->error = *err;
	grant->has_error = true;
	limiter_retry(call, GRANT_BACKOFF_MS, GRANT_BACKOFF_CAP_MS);
}

enum limiter_class grant_class(const struct grant *grant)
{
	const struct slot *slot = grant->principal->slot;

	return slot && slot->place && list_empty(&slot->waiters) ? LIMITER_REST : LIMITER_LEASES;
}

void grant_hurry(struct principal *principal)
{
	limiter_hurry(&principal->grant->user_call, LIMITER_LEASES);
	limiter_hurry(&principal->grant->key_call, LIMITER_LEASES);
}

bool grant_abandon(struct principal *principal)
{
	struct grant *grant = principal->grant;
	struct limiter_call *calls[] = {&grant->user_call, &grant->key_call};
	bool idle = true;

	/* What is under way is waited for (its attempt has a deadline of its own): its answer says
	 * what there is to remove, which a look may not show for a while. */
	for (size_t i = 0; i < 2; i++) {
		if (calls[i]->state == LIMITER_IN_FLIGHT)
			idle = false;
		else if (calls[i]->state != LIMITER_IDLE)
			limiter_cancel(calls[i]);
	}
	grant->abandoned = true;
	if (idle)
		principal->grant = grant_free(grant);
	return idle;
}

void grant_abandoned_answered(struct grant *grant)
{
	struct principal *principal = grant->principal;

	if (grant->user_call.state != LIMITER_IDLE || grant->key_call.state != LIMITER_IDLE)
		return;
	principal->grant = grant_free(grant);
	if (principal->counted)
		principal_remove(principal);
	else
		principal_gone(principal);
}
