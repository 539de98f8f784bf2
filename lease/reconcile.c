#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

/* A lease that is older than this was made, or not, long before this daemon began, however wrong
 * the local clock may be. */
#define OLD_MS 3600000

/* IAM has said, to a daemon that wrote it down, that the user was made. */
static bool was_made(const struct journal_record *record)
{
	return record->state == JOURNAL_CREATED || record->state == JOURNAL_ACTIVE ||
	       record->arn[0] != '\0';
}

/* Until when a CreateUser may yet be carried out. When the last one was sent is not known: at most
 * just before this daemon's start. Where each one was answered, none is on its way. */
static int64_t last_echo_at(const struct engine *engine, const struct journal_record *record)
{
	int64_t age = engine->env.clock->calendar_ms(engine->env.clock) - record->start_ms;
	bool answered = was_made(record) && !record->may_echo;

	return engine_now(engine) + (!answered && age < OLD_MS ? CONSISTENCY_MS : 0);
}

/* A record of an earlier process. What was not in use is half-made or half-removed, and goes; what
 * was lives to its end: as before where its secret was kept, else without readers. */
void principal_recall(struct engine *engine, const struct journal_record *record,
		      const struct engine_kept *kept)
{
	struct pool *pool = pool_get(engine, record->project, record->config, record->secret);
	struct account *account = account_find(engine, record->integration);
	struct principal *principal = principal_new(engine, account, pool, record);

	if (pool->recipe && pool->recipe->secret.fingerprint == record->fingerprint)
		principal->recipe = recipe_ref(pool->recipe);
	principal->recalled = true;
	if (kept && record->state == JOURNAL_ACTIVE) {
		principal->kept = *kept;
		secret_ref(kept->secret_access_key);
	} else {
		principal->adopted = true;
	}
	principal->user_certain = was_made(record);
	principal->settled_at = engine_now(engine) + CONSISTENCY_MS;
	principal->echo_at = last_echo_at(engine, record);
	principal->start_at = engine_now(engine);
	principal->state = PRINCIPAL_ACTIVE;
	principal_count(principal);
	principal_set_key_left(principal, true);
}

static void begin_recalled(struct principal *principal)
{
	const struct pool *pool = principal->pool;
	const struct line *record = &principal->record;

	/* Its lease is for the observer, who is told of its end; one that never was has none. */
	if (principal->kept.secret_access_key)
		principal_resume(principal);
	else if (record->state == JOURNAL_ACTIVE || record->access_key_id[0])
		principal_set_expiry(principal);
	if (record->state != JOURNAL_ACTIVE) {
		principal->state = PRINCIPAL_CREATING; /* or it has ended: not again */
		principal_revoke(principal, record->reason[0]
						    ? record->reason
						    : "half-made when an earlier daemon ended");
	} else if (!pool->recipe && pool->secret[0] != '\0') {
		principal_revoke(principal, "removed from the configuration");
	} else if (lease_holder_kind(principal->holder) == HOLDER_STOCK &&
		   !(principal->slot && principal->slot->place)) {
		principal_revoke(principal, "not kept ready any more");
	}
}

void reconcile_recalled(struct engine *engine)
{
	list_each (at, &engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		if (principal->recalled)
			begin_recalled(principal);
	}
}

/* A user under our own path that the journal does not know: it was rebuilt from nothing, or brought
 * back from a backup. */
static struct principal *adopt(struct account *account, const struct provider_user *user,
			       int64_t last_end_ms)
{
	struct engine *engine = account->engine;
	struct journal_record record = {
		.state = JOURNAL_ACTIVE,
		.start_ms = user->created_ms,
		.expires_ms = last_end_ms,
		.last_end_ms = last_end_ms,
		.ttl_ms = last_end_ms - user->created_ms,
		.may_echo = 1, /* for all that is known */
	};

	identity_uuid(record.lease_id, engine->env.clock);
	snprintf(record.integration, sizeof(record.integration), "%s", account->name);
	snprintf(record.user, sizeof(record.user), "%s", user->name);
	snprintf(record.path, sizeof(record.path), "%s", user->path);
	dsec_print_safely(record.arn, sizeof(record.arn), user->arn ? user->arn : "");

	struct principal *principal =
		principal_new(engine, account, pool_get(engine, "", "", ""), &record);

	principal->recalled = principal->adopted = true;
	principal->user_certain = true;
	principal->key_unknown = true;
	principal->seen = true;
	principal->settled_at = engine_now(engine) + CONSISTENCY_MS;
	principal->echo_at = last_echo_at(engine, &record);
	principal->start_at = engine_now(engine);
	principal->state = PRINCIPAL_ACTIVE;
	principal_count(principal);
	principal_set_key_left(principal, true);
	principal_record(principal, JOURNAL_ACTIVE);
	principal_set_expiry(principal);
	engine_log(engine, engine->rebuild ? LOG_NOTICE : LOG_WARNING,
		   "the user %s, which the journal does not know, is taken over until the end in "
		   "its path",
		   user->name);
	return principal;
}

/* Is it still there? */

static void fill_check(struct limiter_call *call, struct provider_call *to)
{
	to->op = PROVIDER_GET_USER;
	to->user = container_of(call, struct principal, check)->record.user;
}

static void checked(struct limiter_call *call, const struct provider_answer *answer,
		    const struct dsec_error *err)
{
	struct principal *principal = container_of(call, struct principal, check);

	if (!err)
		return;
	if (err->kind != DSEC_ERROR_NO_SUCH_ENTITY) {
		limiter_retry(call, RECONCILE_BACKOFF_MS, RECONCILE_BACKOFF_CAP_MS);
		return;
	}

	int64_t now = engine_now(principal->engine);

	if (now < principal->settled_at) {
		limiter_submit_after(call->limiter, call, LIMITER_REST,
				     principal->settled_at - now);
		return;
	}
	principal_revoke(principal, "it is not in IAM");
}

static void check(struct principal *principal)
{
	if (principal->check.state != LIMITER_IDLE)
		return;
	principal->check.fill = fill_check;
	principal->check.done = checked;
	limiter_submit(&principal->account->limiter, &principal->check, LIMITER_REST);
}

/* Listing. */

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct reconcile *reconcile = container_of(call, struct reconcile, call);

	to->op = PROVIDER_LIST_USERS;
	to->path = reconcile->prefix;
	to->marker = reconcile->marker;
	to->timeout_ms = LIMITER_LIST_TIMEOUT_MS;
}

static void saw(struct account *account, const struct provider_user *user)
{
	struct engine *engine = account->engine;
	struct principal *known = principal_by_user(engine, user->name);
	char daemon_id[DAEMON_ID_MAX];
	int64_t last_end_ms;

	if (known) {
		known->seen = true;
		return;
	}
	if (!identity_parse_path(user->path, account->path, daemon_id, &last_end_ms) ||
	    strcmp(daemon_id, engine->daemon_id) != 0 || !identity_user_name_valid(user->name)) {
		engine_log(engine, LOG_WARNING,
			   "the user %s%s stands under this daemon's path, but dsec did not make "
			   "it: left alone",
			   user->path, user->name);
		return;
	}

	struct principal *adopted = adopt(account, user, last_end_ms);

	if (engine->closing)
		principal_revoke(adopted, engine->closing_reason);
	/* With a sound journal this is a user that was removed, and that the list still shows. */
	if (!engine->rebuild && adopted->state == PRINCIPAL_ACTIVE)
		check(adopted);
}

/* Both lists have been read to their ends, and it was in neither. */
static void check_missing(struct account *account)
{
	list_each (at, &account->engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		if (principal->account == account && principal->recalled && !principal->seen &&
		    principal->state == PRINCIPAL_ACTIVE)
			check(principal);
	}
}

static void next_page(struct account *account)
{
	limiter_submit(&account->limiter, &account->reconcile.call, LIMITER_REST);
}

static void next_round(struct timer *timer)
{
	struct reconcile *reconcile = container_of(timer, struct reconcile, again);

	next_page(container_of(reconcile, struct account, reconcile));
}

static void round_over(struct account *account)
{
	struct reconcile *reconcile = &account->reconcile;
	struct engine *engine = account->engine;

	if (++reconcile->round <= RECONCILE_ROUNDS)
		timer_arm(&engine->timers, &reconcile->again, engine_now(engine) + CONSISTENCY_MS);
	else
		check_missing(account);
}

static void listed(struct limiter_call *call, const struct provider_answer *answer,
		   const struct dsec_error *err)
{
	struct reconcile *reconcile = container_of(call, struct reconcile, call);
	struct account *account = container_of(reconcile, struct account, reconcile);

	if (err) {
		/* A marker may have died with the answer: the whole list again. */
		free(reconcile->marker);
		reconcile->marker = NULL;
		reconcile->error = *err;
		reconcile->error_ms = account_ms(account);
		limiter_retry(call, RECONCILE_BACKOFF_MS, RECONCILE_BACKOFF_CAP_MS);
		return;
	}
	reconcile->error_ms = 0;
	for (size_t i = 0; i < answer->n_users; i++)
		saw(account, &answer->users[i]);

	char *marker = alloc_copy(answer->marker);

	free(reconcile->marker);
	reconcile->marker = marker;
	if (marker)
		next_page(account);
	else
		round_over(account);
}

bool reconcile_knows_all(const struct account *account)
{
	return !account->engine->rebuild || account->reconcile.round > 1;
}

void reconcile_begin(struct account *account)
{
	struct reconcile *reconcile = &account->reconcile;

	snprintf(reconcile->prefix, sizeof(reconcile->prefix), "%s%s/", account->path,
		 account->engine->daemon_id);
	reconcile->call.fill = fill;
	reconcile->call.done = listed;
	reconcile->again.fire = next_round;
	reconcile->round = 1;
	next_page(account);
}

void reconcile_cancel(struct account *account)
{
	struct reconcile *reconcile = &account->reconcile;

	if (reconcile->call.state != LIMITER_IDLE)
		limiter_cancel(&reconcile->call);
	timer_disarm(&account->engine->timers, &reconcile->again);
	free(reconcile->marker);
	reconcile->marker = NULL;
}
