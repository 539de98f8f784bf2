#include "tests/fs/engine_double.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/lease_private.h"
#include "lease/list.h"

#define SCRIPTS_MAX 64
#define VALIDITY_MS 900000
#define TTL_MS      1800000

struct script {
	char config[64];
	int delay_ms, error_kind;
};

struct waiter {
	struct list link;
	uint64_t ticket;
	struct acquire request;
	struct catalog *catalog; /* whose bits the request's are */
	const struct config *config;
	int64_t since_at;
	engine_acquired *done;
	void *arg;
};

struct made {
	struct list link;
	struct lease *lease;
};

struct engine {
	struct catalog *catalog;
	struct fs *fs;
	struct script scripts[SCRIPTS_MAX];
	size_t n_scripts;
	struct list waiters, leases; /* leases: newest first */
	uint64_t generation, tickets;
	struct double_counts counts;
	char refusal[DSEC_ERROR_MESSAGE_MAX];
};

static int64_t now_at(void)
{
	return system_clock.boottime_at(&system_clock);
}

struct engine *double_new(struct catalog *catalog)
{
	struct engine *engine = alloc_zeroed(1, sizeof(*engine));

	engine->catalog = catalog_ref(catalog);
	list_init(&engine->waiters);
	list_init(&engine->leases);
	return engine;
}

static void waiter_free(struct waiter *waiter)
{
	list_remove(&waiter->link);
	catalog_unref(waiter->catalog);
	free(waiter);
}

static void drop(struct made *made)
{
	list_remove(&made->link);
	lease_unref(made->lease);
	free(made);
}

struct engine *double_free(struct engine *engine)
{
	list_each (at, &engine->leases)
		drop(container_of(at, struct made, link));
	list_each (at, &engine->waiters)
		free(container_of(at, struct waiter, link));
	catalog_unref(engine->catalog);
	free(engine);
	return NULL;
}

void double_publish_to(struct engine *engine, struct fs *fs)
{
	engine->fs = fs;
}

void double_reload(struct engine *engine, struct catalog *catalog)
{
	catalog_unref(engine->catalog);
	engine->catalog = catalog_ref(catalog);
}

static struct script *script_of(struct engine *engine, const char *config)
{
	for (size_t i = 0; i < engine->n_scripts; i++)
		if (strcmp(engine->scripts[i].config, config) == 0)
			return &engine->scripts[i];
	if (engine->n_scripts == SCRIPTS_MAX)
		abort();

	struct script *script = &engine->scripts[engine->n_scripts++];
	snprintf(script->config, sizeof(script->config), "%s", config);
	script->error_kind = -1;
	return script;
}

void double_script(struct engine *engine, const char *config, int delay_ms, int error_kind)
{
	struct script *script = script_of(engine, config);

	script->delay_ms = delay_ms;
	script->error_kind = error_kind;
}

/* Leases. */

static struct lease *make(struct engine *engine, const struct lease_slot *slot,
			  uint64_t fingerprint)
{
	unsigned long long generation = ++engine->generation;
	unsigned holder = (unsigned)slot->holder;
	int64_t at = now_at(), ms = system_clock.calendar_ms(&system_clock);
	char user[64], arn[128], key_id[32], secret[64];
	struct lease lease = {
		.generation = generation,
		.slot = *slot,
		.integration = "aws-main",
		.user = user,
		.arn = arn,
		.policy_name = "doppler-policy-0000000000000",
		.access_key_id = key_id,
		.start_ms = ms,
		.expires_ms = ms + TTL_MS,
		.start_at = at,
		.rotate_at = at + VALIDITY_MS,
		.expire_at = at + TTL_MS,
		.fingerprint = fingerprint,
	};

	snprintf(lease.id, sizeof(lease.id), "00000000-0000-4000-8000-%012llu", generation);
	snprintf(user, sizeof(user), "Doppler-Dynamic-%013llu", generation);
	snprintf(arn, sizeof(arn), "arn:aws:iam::123456789012:user/doppler/%s", user);
	snprintf(key_id, sizeof(key_id), "AKIA%06u%010llu", holder, generation);
	snprintf(secret, sizeof(secret), "%06u/%010llu/secretsecretsecretsecr", holder, generation);
	if (secret_new(&lease.secret_access_key, secret, strlen(secret), NULL) < 0)
		abort();

	struct made *made = alloc_zeroed(1, sizeof(*made));
	made->lease = lease_new(&lease);
	secret_unref(lease.secret_access_key);
	list_init(&made->link);
	list_append(engine->leases.next, &made->link);
	engine->counts.leases++;
	fs_lease(engine->fs, LEASE_ACTIVE, made->lease);
	return made->lease;
}

static bool same_slot(const struct lease_slot *a, const struct lease_slot *b)
{
	return strcmp(a->project, b->project) == 0 && strcmp(a->config, b->config) == 0 &&
	       strcmp(a->secret, b->secret) == 0 && a->ttl_ms == b->ttl_ms &&
	       a->holder == b->holder;
}

static struct lease *current(struct engine *engine, const struct lease_slot *slot,
			     uint64_t fingerprint)
{
	list_each (at, &engine->leases) {
		struct lease *lease = container_of(at, struct made, link)->lease;

		if (same_slot(&lease->slot, slot) && lease->fingerprint == fingerprint &&
		    now_at() < lease->rotate_at)
			return lease;
	}
	return NULL;
}

static struct lease *give(struct engine *engine, const struct waiter *waiter, size_t bit,
			  bool may_make)
{
	const struct dynamic_secret *secret = &waiter->config->dynamics[bit];
	struct lease_slot slot = {
		.project = waiter->config->project,
		.config = waiter->config->name,
		.secret = secret->name,
		.ttl_ms = waiter->request.ttl_ms ? waiter->request.ttl_ms : secret->ttl_ms,
		.holder = waiter->request.holders[secret->scope],
	};
	struct lease *lease = current(engine, &slot, secret->fingerprint);

	return lease || !may_make ? lease : make(engine, &slot, secret->fingerprint);
}

static bool try_answer(struct engine *engine, struct waiter *waiter, bool may_make)
{
	const struct lease *leases[CATALOG_DYNAMICS_MAX];
	size_t n = 0;

	for (size_t bit = 0; bit < waiter->config->n_dynamics; bit++)
		if (waiter->request.secrets >> bit & 1) {
			leases[n] = give(engine, waiter, bit, may_make);
			if (!leases[n++])
				return false;
		}
	waiter->done(waiter->arg, leases, n, NULL);
	return true;
}

static void refuse(const struct waiter *waiter, int kind)
{
	struct dsec_error error;

	dsec_error_set(&error, (enum dsec_error_kind)kind, "as the test says");
	waiter->done(waiter->arg, NULL, 0, &error);
}

/* Is it answered? *ret_wait_ms: else how long it has to wait yet, -1 for ever. */
static bool settle(struct engine *engine, struct waiter *waiter, int *ret_wait_ms)
{
	const struct script *script = script_of(engine, waiter->config->name);
	int64_t waited = now_at() - waiter->since_at;

	if (try_answer(engine, waiter, false))
		return true;
	*ret_wait_ms = script->delay_ms < 0 ? -1 : (int)(script->delay_ms - waited);
	if (script->delay_ms < 0 || waited < script->delay_ms)
		return false;
	if (script->error_kind >= 0)
		refuse(waiter, script->error_kind);
	else
		try_answer(engine, waiter, true);
	return true;
}

int double_tick(struct engine *engine)
{
	int least = -1;

	list_each (at, &engine->waiters) {
		struct waiter *waiter = container_of(at, struct waiter, link);
		int wait_ms = -1;

		if (settle(engine, waiter, &wait_ms)) {
			waiter_free(waiter);
			engine->counts.waiting--;
		} else if (wait_ms >= 0 && (least < 0 || wait_ms < least)) {
			least = wait_ms;
		}
	}
	return least;
}

static void end(struct engine *engine, struct made *made)
{
	fs_lease(engine->fs, LEASE_ENDED, made->lease);
	fs_lease(engine->fs, LEASE_GONE, made->lease);
	drop(made);
}

void double_rotate(struct engine *engine, const char *config, size_t keep)
{
	struct list old;

	list_take_all(&old, &engine->leases);
	list_each (at, &old) {
		struct made *made = container_of(at, struct made, link);
		const struct lease *lease = made->lease;
		size_t newer = 0;

		list_each (other, &engine->leases)
			newer += same_slot(&container_of(other, struct made, link)->lease->slot,
					   &lease->slot);
		if (strcmp(lease->slot.config, config) == 0 && newer == 0)
			make(engine, &lease->slot, lease->fingerprint), newer++;
		if (strcmp(lease->slot.config, config) == 0 && newer >= keep) {
			end(engine, made);
		} else {
			list_remove(&made->link);
			list_append(&engine->leases, &made->link);
		}
	}
}

void double_replace(struct engine *engine, const char *config)
{
	list_each (at, &engine->leases) {
		const struct lease *lease = container_of(at, struct made, link)->lease;

		if (strcmp(lease->slot.config, config) == 0)
			fs_rotated(engine->fs, lease);
	}
}

void double_end_all(struct engine *engine)
{
	list_each (at, &engine->leases)
		end(engine, container_of(at, struct made, link));
}

struct double_counts double_counts(const struct engine *engine)
{
	return engine->counts;
}

/* lease/engine.h */

uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg)
{
	struct waiter *waiter = alloc_zeroed(1, sizeof(*waiter));
	int wait_ms;

	waiter->request = *request;
	waiter->catalog = catalog_ref(engine->catalog);
	waiter->config = catalog_config(waiter->catalog, request->project, request->config);
	waiter->since_at = now_at();
	waiter->done = done;
	waiter->arg = arg;
	waiter->ticket = ++engine->tickets;
	list_init(&waiter->link);
	engine->counts.acquires++;
	if (settle(engine, waiter, &wait_ms)) {
		waiter_free(waiter);
		return 0;
	}
	list_append(&engine->waiters, &waiter->link);
	engine->counts.waiting++;
	return waiter->ticket;
}

void engine_refused(struct engine *engine, const char *project, const char *config,
		    uint64_t secrets, const struct lease_caller *caller,
		    const struct dsec_error *err)
{
	engine->counts.refused++;
	snprintf(engine->refusal, sizeof(engine->refusal), "%s", err->message);
}

void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason)
{
	list_each (at, &engine->leases) {
		struct made *made = container_of(at, struct made, link);

		if (made->lease->slot.holder == holder) {
			end(engine, made);
			engine->counts.let_go++;
		}
	}
}

void engine_abandon(struct engine *engine, uint64_t ticket)
{
	list_each (at, &engine->waiters) {
		struct waiter *waiter = container_of(at, struct waiter, link);

		if (waiter->ticket != ticket)
			continue;
		waiter_free(waiter);
		engine->counts.waiting--;
		engine->counts.abandoned++;
	}
}

/* The doubles' leases are never due. */
int engine_renew(struct engine *engine, const char *lease_id, int64_t ttl_ms,
		 struct dsec_error *err)
{
	abort();
}

char *engine_status_text(const struct engine *engine, const char *project, const char *config)
{
	char *text;

	if (asprintf(&text, "%s/%s: %u leases, %u waiting\n%s%s", project, config,
		     engine->counts.leases, engine->counts.waiting, engine->refusal,
		     engine->refusal[0] ? "\n" : "") < 0)
		abort();
	return text;
}

char *engine_leases_json(const struct engine *engine)
{
	return alloc_copy("[]\n");
}

void engine_count_cached(struct engine *engine, uint64_t n)
{
}

char *engine_metrics_text(const struct engine *engine)
{
	char *text;

	/* Never the same twice. */
	if (asprintf(&text, "dsec_looks %lld\n",
		     (long long)system_clock.calendar_ms(&system_clock)) < 0)
		abort();
	return text;
}
