#include "lease/engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

int64_t engine_now(const struct engine *engine)
{
	return engine->env.clock->boottime_at(engine->env.clock);
}

void engine_log(const struct engine *engine, int priority, const char *format, ...)
{
	char raw[2 * DSEC_ERROR_MESSAGE_MAX], message[2 * DSEC_ERROR_MESSAGE_MAX];
	va_list args;

	if (!engine->env.observer.log)
		return;
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	dsec_print_safely(message, sizeof(message), raw);
	engine->env.observer.log(engine->env.observer.arg, priority, message);
}

void engine_event(const struct engine *engine, enum lease_event event, const struct lease *lease,
		  const char *reason)
{
	if (engine->env.observer.lease)
		engine->env.observer.lease(engine->env.observer.arg, event, lease, reason);
}

static uint64_t random_seed(const struct clock *clock)
{
	uint64_t seed;

	clock->random_bytes(clock, &seed, sizeof(seed));
	return seed;
}

int engine_new(struct engine **ret, const struct engine_env *env, struct catalog *catalog,
	       struct dsec_error *err)
{
	if (strlen(env->daemon_id) != DAEMON_ID_MAX - 1)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "a daemon's id has 16 hexadecimal digits, \"%s\" is none",
				      env->daemon_id);

	struct engine *engine = alloc_zeroed(1, sizeof(*engine));

	engine->env = *env;
	engine->env.daemon_id = engine->daemon_id;
	memcpy(engine->daemon_id, env->daemon_id, DAEMON_ID_MAX);
	engine->catalog = catalog_ref(catalog);
	engine->last_generation = env->last_generation;
	timers_init(&engine->timers);
	list_init(&engine->accounts);
	list_init(&engine->pools);
	list_init(&engine->principals);
	table_init(&engine->pools_by_name, random_seed(env->clock));
	table_init(&engine->payers_by_name, random_seed(env->clock));
	table_init(&engine->slots_by_key, random_seed(env->clock));
	table_init(&engine->requests_by_ticket, random_seed(env->clock));
	table_init(&engine->principals_by_id, random_seed(env->clock));
	table_init(&engine->principals_by_user, random_seed(env->clock));
	table_init(&engine->principals_by_holder, random_seed(env->clock));
	accounts_configure(engine);
	pools_configure(engine);
	*ret = engine;
	return 0;
}

struct engine *engine_free(struct engine *engine)
{
	if (!engine)
		return NULL;
	requests_free(engine);
	list_each (at, &engine->principals)
		principal_free(container_of(at, struct principal, link));
	pools_free(engine);
	accounts_free(engine);
	table_finish(&engine->pools_by_name);
	table_finish(&engine->payers_by_name);
	table_finish(&engine->slots_by_key);
	table_finish(&engine->requests_by_ticket);
	table_finish(&engine->principals_by_id);
	table_finish(&engine->principals_by_user);
	table_finish(&engine->principals_by_holder);
	timers_finish(&engine->timers);
	catalog_unref(engine->catalog);
	free(engine);
	return NULL;
}

/* In a copy of a state folder, or in one that was moved, are users of the daemon that it was: if
 * that one lives on, they are its own, and it may have renewed them since. */
static void forget_foreign(struct engine *engine, const struct journal_record *record)
{
	struct journal *journal = engine->env.journal;
	struct journal_record gone = *record;

	gone.state = JOURNAL_GONE;
	journal->ops->write(journal, &gone, NULL, NULL);
	engine->n_foreign++;
}

void engine_recall_kept(struct engine *engine, const struct journal_record *record,
			const struct engine_kept *kept)
{
	if (record->state == JOURNAL_GONE)
		return;
	if (identity_path_is_of(record->path, engine->daemon_id))
		principal_recall(engine, record, kept);
	else
		forget_foreign(engine, record);
}

void engine_recall(struct engine *engine, const struct journal_record *record)
{
	engine_recall_kept(engine, record, NULL);
}

static void tell_foreign(const struct engine *engine)
{
	if (engine->n_foreign > 0)
		engine_log(
			engine, LOG_WARNING,
			"the state folder is a copy, or it was moved: the journal's %zu users of "
			"the daemon that it was are left to that one and to dsec sweep",
			engine->n_foreign);
}

void engine_start(struct engine *engine, bool rebuild)
{
	engine->started = true;
	engine->rebuild = rebuild;
	tell_foreign(engine);
	reconcile_recalled(engine);
	list_each (at, &engine->accounts)
		reconcile_begin(container_of(at, struct account, link));
	warm_start(engine);
}

int64_t engine_tick(struct engine *engine)
{
	timers_run(&engine->timers, engine_now(engine));
	return timers_next(&engine->timers);
}

int engine_revoke(struct engine *engine, const char *lease_id, struct dsec_error *err)
{
	struct principal *principal = principal_by_id(engine, lease_id);

	if (!principal || principal->state == PRINCIPAL_GONE)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no lease %s",
				      lease_id);

	struct slot *slot = principal->slot;

	principal_rotated(principal, "revoked");
	principal_revoke(principal, "revoked");
	if (slot)
		slot_make(slot); /* readers who waited for it get another one */
	return 0;
}

void engine_reload(struct engine *engine, struct catalog *catalog)
{
	struct catalog *old = engine->catalog;

	engine->catalog = catalog_ref(catalog);
	accounts_configure(engine);
	pools_configure(engine);
	accounts_prune(engine);
	catalog_unref(old);
}

static void refuse_waiters(struct engine *engine)
{
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_FAULT, "no new leases: %s", engine->closing_reason);
	list_each (pool_at, &engine->pools)
		list_each (slot_at, &container_of(pool_at, struct pool, link)->slots)
			slot_failed(container_of(slot_at, struct slot, link), &err);
}

void engine_revoke_all(struct engine *engine, const char *reason)
{
	if (!engine->closing) {
		engine->closing = true;
		snprintf(engine->closing_reason, sizeof(engine->closing_reason), "%s", reason);
		engine->closing_total = engine->n_users;
	}
	refuse_waiters(engine);
	list_each (at, &engine->principals)
		principal_revoke(container_of(at, struct principal, link), reason);
}

/* Per user the inline policy and the user itself, besides its key. */
#define CALLS_PER_USER 2

struct engine_left engine_left(const struct engine *engine)
{
	struct engine_left left = {
		.users = engine->n_users,
		.keys = engine->n_keys,
		.lines = engine->principals_by_id.n,
		.total = engine->closing_total,
	};

	list_each (at, &engine->accounts) {
		const struct account *account = container_of(at, struct account, link);

		/* Nobody knows how many; at least it is not said that nothing is left. */
		left.users += !reconcile_knows_all(account);

		size_t calls = CALLS_PER_USER * account->n_principals + account->n_keys;
		int64_t ms = (int64_t)(1000 * (double)calls / account->limiter.rate);

		if (ms > left.estimate_ms)
			left.estimate_ms = ms;
	}
	return left;
}
