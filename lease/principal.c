#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"
#include "lease/lease_private.h"

static bool same_id(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct principal, by_id)->record.lease_id, key) == 0;
}

static bool same_user(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct principal, by_user)->record.user, key) == 0;
}

struct principal *principal_by_id(const struct engine *engine, const char *lease_id)
{
	const struct table *table = &engine->principals_by_id;
	struct table_node *node =
		table_find(table, table_hash_text(table, lease_id), same_id, lease_id);

	return node ? container_of(node, struct principal, by_id) : NULL;
}

struct principal *principal_by_user(const struct engine *engine, const char *user)
{
	const struct table *table = &engine->principals_by_user;
	struct table_node *node = table_find(table, table_hash_text(table, user), same_user, user);

	return node ? container_of(node, struct principal, by_user) : NULL;
}

static void timer_fired(struct timer *timer);
static void write_again(struct timer *timer);
static void due(struct timer *timer);
static void rotate(struct timer *timer);
static const struct removal_owner removal_owner;

struct principal *principal_new(struct engine *engine, struct account *account, struct pool *pool,
				const struct journal_record *record)
{
	struct principal *principal = alloc_zeroed(1, sizeof(*principal));

	principal->engine = engine;
	principal->account = account;
	principal->pool = pool;
	line_init(&principal->record, record);
	principal->timer.fire = timer_fired;
	principal->due.fire = due;
	principal->rotation.fire = rotate;
	principal->write_again.fire = write_again;
	list_append(&engine->principals, &principal->link);
	list_append(&pool->principals, &principal->in_pool);
	pool->n_principals++;
	if (account)
		account->n_principals++;
	table_insert(&engine->principals_by_id, &principal->by_id,
		     table_hash_text(&engine->principals_by_id, record->lease_id));
	table_insert(&engine->principals_by_user, &principal->by_user,
		     table_hash_text(&engine->principals_by_user, record->user));
	return principal;
}

void principal_rename(struct principal *principal, const char *user)
{
	struct table *table = &principal->engine->principals_by_user;

	table_remove(table, &principal->by_user);
	line_set(&principal->record.user, user);
	table_insert(table, &principal->by_user, table_hash_text(table, user));
}

void principal_free(struct principal *principal)
{
	struct engine *engine = principal->engine;

	principal_set_key_left(principal, false);
	engine->n_users -= principal->counted;
	principal->pool->n_principals -= principal->state != PRINCIPAL_GONE;
	if (principal->account)
		principal->account->n_principals--;
	grant_free(principal->grant);
	renewal_cancel(principal->renewal);
	if (principal->ending)
		removal_cancel(&principal->ending->removal);
	free(principal->ending);
	if (principal->check.state != LIMITER_IDLE)
		limiter_cancel(&principal->check);
	timer_disarm(&engine->timers, &principal->timer);
	timer_disarm(&engine->timers, &principal->due);
	timer_disarm(&engine->timers, &principal->rotation);
	timer_disarm(&engine->timers, &principal->write_again);
	table_remove(&engine->principals_by_id, &principal->by_id);
	table_remove(&engine->principals_by_user, &principal->by_user);
	principal_leave_holder(principal);
	list_remove(&principal->in_pool);
	list_remove(&principal->link);
	lease_unref(principal->lease);
	secret_unref(principal->kept.secret_access_key);
	recipe_unref(principal->recipe);
	line_finish(&principal->record);
	free(principal);
}

void principal_count(struct principal *principal)
{
	if (principal->counted)
		return;
	principal->counted = true;
	principal->engine->n_users++;
}

void principal_set_key_left(struct principal *principal, bool left)
{
	if (principal->key_left == left)
		return;
	principal->key_left = left;
	if (left) {
		principal->engine->n_keys++;
		if (principal->account)
			principal->account->n_keys++;
	} else {
		principal->engine->n_keys--;
		if (principal->account)
			principal->account->n_keys--;
	}
}

/* The journal. */

void principal_line(const struct principal *principal, struct journal_record *ret)
{
	const struct pool *pool = principal->pool;

	line_record(&principal->record, ret);
	snprintf(ret->project, sizeof(ret->project), "%s", pool->project);
	snprintf(ret->config, sizeof(ret->config), "%s", pool->config);
	snprintf(ret->secret, sizeof(ret->secret), "%s", pool->secret);
}

static void write_record(struct principal *principal);

static void recorded(void *arg, const struct dsec_error *err)
{
	struct principal *principal = arg;
	struct engine *engine = principal->engine;

	principal->writing = false;
	if (principal->rewrite) {
		write_record(principal);
		return;
	}
	if (err)
		engine->counters.journal_failed++;
	if (principal->state == PRINCIPAL_INTENDED) {
		grant_intended(principal, err);
		return;
	}
	if (err) {
		if (principal->write_failures++ == 0)
			engine_log(engine, LOG_ERR,
				   "the journal's line for %s (%s) cannot be written: %s",
				   principal->record.user,
				   journal_state_name(principal->record.state), err->message);
		timer_arm(&engine->timers, &principal->write_again,
			  engine_now(engine) +
				  limiter_jitter(engine->env.clock, RECORD_RETRY_CAP_MS));
	} else {
		principal->write_failures = 0;
	}

	/* A journal that cannot be written delays no reader and no end: what it says now leads to
	 * an earlier removal, never to a later one. */
	if (principal->state == PRINCIPAL_RECORDING)
		grant_recorded(principal);
	else if (principal->renewal)
		renewal_recorded(principal, err);
	else if (principal->state == PRINCIPAL_GONE && !err)
		principal_free(principal);
}

static void write_record(struct principal *principal)
{
	struct journal *journal = principal->engine->env.journal;
	struct journal_record record;

	principal->writing = true;
	principal->rewrite = false;
	timer_disarm(&principal->engine->timers, &principal->write_again);
	principal_line(principal, &record);
	journal->ops->write(journal, &record, recorded, principal);
}

static void write_again(struct timer *timer)
{
	write_record(container_of(timer, struct principal, write_again));
}

void principal_record(struct principal *principal, enum journal_state state)
{
	principal->record.state = state;
	if (principal->writing)
		principal->rewrite = true;
	else
		write_record(principal);
}

/* Active. */

static struct lease *make_lease(struct principal *principal, uint64_t generation,
				struct secret *secret_access_key, int64_t rotate_at)
{
	const struct line *record = &principal->record;
	const struct pool *pool = principal->pool;
	const struct lease from = {
		.generation = generation,
		.slot = {.project = pool->project,
			 .config = pool->config,
			 .secret = pool->secret,
			 .ttl_ms = record->ttl_ms,
			 .holder = principal->holder},
		.integration = record->integration,
		.user = record->user,
		.arn = record->arn,
		.policy_name = record->policy_name,
		.access_key_id = record->access_key_id,
		.secret_access_key = secret_access_key,
		.start_ms = record->start_ms,
		.expires_ms = record->expires_ms,
		.start_at = principal->start_at,
		.rotate_at = rotate_at,
		.expire_at = principal->expire_at,
		.fingerprint = record->fingerprint,
		.renewed = principal->lease && principal->lease->expires_ms != record->expires_ms,
	};
	struct lease *lease = lease_new(&from);

	memcpy(lease->id, record->lease_id, sizeof(lease->id));
	return lease;
}

/* A lease that somebody holds is renewed so long before other readers would be given another one,
 * or half way to that where it is nearer. */
#define DUE_BEFORE_MS 5000
#define DUE_LAST_MS   1000 /* less than this is not enough to renew it */

static bool may_be_renewed(const struct principal *principal)
{
	const struct recipe *now = principal->pool->recipe;

	/* A policy that is not in force any more lives to its TTL, and not longer. */
	return now && now->secret.fingerprint == principal->record.fingerprint &&
	       principal->lease->secret_access_key &&
	       principal->record.expires_ms < principal->record.last_end_ms;
}

static void arm_due(struct principal *principal)
{
	struct timers *timers = &principal->engine->timers;
	int64_t now = engine_now(principal->engine);
	int64_t half = (principal->lease->rotate_at - now) / 2;

	if (may_be_renewed(principal))
		timer_arm(timers, &principal->due,
			  principal->lease->rotate_at -
				  (half < DUE_BEFORE_MS ? half : DUE_BEFORE_MS));
	else
		timer_disarm(timers, &principal->due);
}

/* Whoever opens it after this is asked for half way to the end, and so on. */
static void due(struct timer *timer)
{
	struct principal *principal = container_of(timer, struct principal, due);
	const struct engine_observer *observer = &principal->engine->env.observer;
	int64_t now = engine_now(principal->engine);
	int64_t left = principal->expire_at - now;

	if (left / 2 >= DUE_LAST_MS)
		timer_arm(&principal->engine->timers, timer, now + left / 2);
	if (observer->due && !principal->renewal && may_be_renewed(principal))
		observer->due(observer->arg, principal->lease);
}

void principal_rotated(struct principal *principal, const char *reason)
{
	const struct engine_observer *observer = &principal->engine->env.observer;

	if (principal->rotated || !principal->lease || !principal->lease->secret_access_key)
		return;
	if (lease_holder_kind(principal->holder) == HOLDER_STOCK)
		return; /* nobody reads it */
	principal->rotated = true;
	if (observer->rotated)
		observer->rotated(observer->arg, principal->lease, reason);
}

/* A renewal that is under way decides: it moves rotate_at, or fails soon enough. */
#define ROTATION_PATIENCE_MS 500

static void rotate(struct timer *timer)
{
	struct principal *principal = container_of(timer, struct principal, rotation);
	struct engine *engine = principal->engine;

	if (principal->renewal)
		timer_arm(&engine->timers, timer, engine_now(engine) + ROTATION_PATIENCE_MS);
	else
		principal_rotated(principal, "less than min_validity is left");
}

static void publish(struct principal *principal, struct lease *lease)
{
	struct lease *old = principal->lease;

	principal->lease = lease;
	timer_arm(&principal->engine->timers, &principal->timer, principal->expire_at);
	arm_due(principal);
	if (lease->secret_access_key) {
		principal->rotated = false;
		timer_arm(&principal->engine->timers, &principal->rotation, lease->rotate_at);
		if (principal->slot)
			slot_add(principal->slot, lease);
		engine_event(principal->engine, LEASE_ACTIVE, lease, NULL);
	}
	lease_unref(old);
}

void principal_publish(struct principal *principal, struct secret *secret_access_key,
		       int64_t min_validity_ms)
{
	publish(principal, make_lease(principal, ++principal->engine->last_generation,
				      secret_access_key, principal->expire_at - min_validity_ms));
}

/* The end is the one that was published last: a renewal that was under way may have reached the
 * journal alone, or AWS too, and a lease that ends too early harms nobody. */
void principal_resume(struct principal *principal)
{
	struct engine_kept *kept = &principal->kept;

	principal_set_holder(principal, kept->holder);
	principal->start_at = kept->start_at;
	principal->expire_at = kept->expire_at;
	if (principal->recipe)
		principal->slot = slot_get(principal->pool, principal->record.ttl_ms, kept->holder);
	if (principal->record.expires_ms != kept->expires_ms) {
		principal->record.expires_ms = kept->expires_ms;
		principal_record(principal, JOURNAL_ACTIVE);
	}
	publish(principal,
		make_lease(principal, kept->generation, kept->secret_access_key, kept->rotate_at));
	kept->secret_access_key = secret_unref(kept->secret_access_key);
}

void principal_set_expiry(struct principal *principal)
{
	const struct line *record = &principal->record;
	const struct clock *clock = principal->engine->env.clock;
	int64_t calendar =
		principal->account ? account_ms(principal->account) : clock->calendar_ms(clock);
	int64_t left = record->expires_ms - calendar;
	int64_t whole = record->expires_ms - record->start_ms;

	/* A calendar that is wrong must not make a lease last longer than it was made for. */
	if (left > whole)
		left = whole;
	principal->expire_at = engine_now(principal->engine) + left;
	principal_publish(principal, NULL, 0);
}

/* The end. */

/* Nothing of its making, renewing or checking goes on; true when that is so at once. */
static bool stop_work(struct principal *principal)
{
	principal->renewal = renewal_cancel(principal->renewal);
	if (principal->check.state != LIMITER_IDLE)
		limiter_cancel(&principal->check);
	return !principal->grant || grant_abandon(principal);
}

static void leave_slot(struct principal *principal)
{
	struct slot *slot = principal->slot;

	principal->slot = NULL;
	if (!slot)
		return;
	if (slot->making == principal)
		slot->making = NULL;
	slot_remove(slot, principal->lease);
}

/* What is left to do takes its names alone, and may take days. */
static void forget_secret(struct principal *principal)
{
	struct lease *lease = principal->lease;

	principal->lease = lease_without_secret(lease);
	lease_unref(lease);
	warm_room(principal->pool);
}

void principal_revoke(struct principal *principal, const char *reason)
{
	struct engine *engine = principal->engine;
	enum principal_state was = principal->state;

	if (was >= PRINCIPAL_REVOKING)
		return;
	principal->state = PRINCIPAL_REVOKING;
	principal->revoking_at = engine_now(engine);
	line_set(&principal->record.reason, reason);
	timer_disarm(&engine->timers, &principal->timer);
	timer_disarm(&engine->timers, &principal->due);
	timer_disarm(&engine->timers, &principal->rotation);
	leave_slot(principal);

	bool idle = stop_work(principal);

	if (was == PRINCIPAL_ACTIVE) {
		engine->counters.ended++;
		engine_event(engine, LEASE_ENDED, principal->lease, reason);
		forget_secret(principal);
	}
	if (!principal->counted && idle) {
		principal_gone(principal); /* CreateUser was never sent */
		return;
	}
	principal_record(principal, JOURNAL_REVOKING);
	if (idle)
		principal_remove(principal);
}

static struct ending *ending_new(struct principal *principal)
{
	struct ending *ending = alloc_zeroed(1, sizeof(*ending));

	ending->principal = principal;
	ending->removal.owner = &removal_owner;
	return ending;
}

void principal_remove(struct principal *principal)
{
	const struct line *record = &principal->record;

	if (!principal->account)
		return; /* until a configuration names its integration again */
	if (!principal->ending)
		principal->ending = ending_new(principal);

	struct removal *removal = &principal->ending->removal;
	struct removal_user *user = &removal->user;

	removal->limiter = &principal->account->limiter;
	*user = (struct removal_user){
		.name = record->user,
		.settled_at = principal->settled_at,
	};
	if (!principal->user_certain)
		user->look_path = record->path;
	if (record->access_key_id[0] && !principal->key_unknown)
		user->access_key_id = record->access_key_id;
	if (principal->recipe) {
		user->policy_arns = principal->recipe->secret.policy_arns;
		user->n_policy_arns = principal->recipe->secret.n_policy_arns;
		user->known = principal->user_certain && user->access_key_id;
		user->policy_name = record->policy_name;
	}
	removal_start(removal);
}

void principal_gone(struct principal *principal)
{
	struct engine *engine = principal->engine;

	principal->state = PRINCIPAL_GONE;
	principal->pool->n_principals--;
	warm_room(principal->pool);
	principal_set_key_left(principal, false);
	engine->counters.gone += principal->counted;
	engine->n_users -= principal->counted;
	principal->counted = false;
	timer_disarm(&engine->timers, &principal->timer);
	if (principal->lease)
		engine_event(engine, LEASE_GONE, principal->lease, principal->record.reason);
	principal_record(principal, JOURNAL_GONE);
}

void principal_drop(struct principal *principal)
{
	struct journal *journal = principal->engine->env.journal;
	struct pool *pool = principal->pool;
	struct journal_record gone;

	/* What failed may be on the disk all the same. If this fails too, the line is settled at
	 * the next start. */
	principal_line(principal, &gone);
	gone.state = JOURNAL_GONE;
	journal->ops->write(journal, &gone, NULL, NULL);
	principal_free(principal);
	warm_room(pool);
}

static void removal_done(struct removal *removal, enum removal_outcome outcome)
{
	const struct ending *ending = container_of(removal, struct ending, removal);
	struct principal *principal = ending->principal;
	struct engine *engine = principal->engine;

	if (outcome == REMOVAL_FOREIGN)
		engine_log(engine, LOG_WARNING,
			   "the user %s stands under a path that is not this daemon's: left alone",
			   principal->record.user);

	/* IAM may yet deny a user that it has just made; and a CreateUser whose answer was lost may
	 * be on its way still, and make the user once more. */
	int64_t sure_at = principal->echo_at;

	if (outcome == REMOVAL_ABSENT && principal->settled_at > sure_at)
		sure_at = principal->settled_at;
	if (outcome != REMOVAL_FOREIGN && engine_now(engine) < sure_at) {
		if (outcome == REMOVAL_DELETED)
			principal->user_certain = false;
		timer_arm(&engine->timers, &principal->timer, sure_at);
		return;
	}
	if (ending->troubles > 0)
		engine_log(engine, LOG_NOTICE, "the user %s is gone", principal->record.user);
	principal_gone(principal);
}

static void keys_gone(struct removal *removal)
{
	principal_set_key_left(container_of(removal, struct ending, removal)->principal, false);
}

static void removal_trouble(struct removal *removal, enum provider_op op,
			    const struct dsec_error *err)
{
	struct ending *ending = container_of(removal, struct ending, removal);
	const struct principal *principal = ending->principal;
	const struct engine *engine = principal->engine;

	ending->troubles++;
	ending->trouble = *err;
	ending->trouble_ms = account_ms(principal->account);
	if (IS_POWER_OF_TWO(ending->troubles) && engine->env.observer.revocation_failed) {
		struct journal_record record;

		principal_line(principal, &record);
		engine->env.observer.revocation_failed(engine->env.observer.arg, &record, err);
	}
	if (IS_POWER_OF_TWO(ending->troubles) && (ending->troubles > 1 || !limiter_transient(err)))
		engine_log(engine, LOG_WARNING,
			   "the user %s is still to be removed: %s has failed, %u calls in all: %s",
			   principal->record.user, provider_op_name(op), ending->troubles,
			   err->message);
}

static const struct removal_owner removal_owner = {
	.done = removal_done,
	.keys_gone = keys_gone,
	.trouble = removal_trouble,
};

static void timer_fired(struct timer *timer)
{
	struct principal *principal = container_of(timer, struct principal, timer);

	switch (principal->state) {
	case PRINCIPAL_ACTIVE:
		principal_revoke(principal, "expired");
		break;
	case PRINCIPAL_REVOKING:
		principal_remove(principal);
		break;
	default:
		grant_late(principal);
		break;
	}
}
