#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/sweep.h"

#define LIFE_MS    (2 * SIM_HOUR_MS)
#define EVENTS_MAX 60000 /* of one life, before its end begins */
#define END_MAX_MS (24 * SIM_HOUR_MS)
#define LOOK_EVERY 256

void sim_say(const struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->verbose)
		return;
	printf("%10lld ", (long long)sim->world.now_at);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

bool sim_parse_pool(const char *config, const char *secret, int *ret)
{
	static const char *const names[SIM_POOLS] = {"DEV", "WEB", "ONE", "TWO"};

	for (int i = 0; i < SIM_POOLS; i++)
		if (strcmp(secret, names[i]) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

static struct provider *provider(void *arg, const struct integration *integration)
{
	return &((struct sim *)arg)->cloud.provider;
}

static struct sim_lease *find_lease(struct sim *sim, const char *id)
{
	list_each (at, &sim->leases) {
		struct sim_lease *seen = container_of(at, struct sim_lease, link);

		if (strcmp(seen->lease->id, id) == 0)
			return seen;
	}
	return NULL;
}

static void became_active(struct sim *sim, const struct lease *lease)
{
	struct sim_lease *seen = find_lease(sim, lease->id);

	sim_check_active(sim, lease);
	if (!seen || lease_holder_kind(seen->lease->slot.holder) == HOLDER_STOCK)
		sim_check_needed(sim, lease);
	if (seen) {
		lease_unref(seen->lease);
		seen->passed_over = true;
	} else {
		seen = alloc_zeroed(1, sizeof(*seen));
		list_append(&sim->leases, &seen->link);
	}
	seen->lease = lease_ref(lease);
}

static void ended(struct sim *sim, const struct lease *lease)
{
	struct sim_lease *seen = find_lease(sim, lease->id);

	if (!lease->secret_access_key)
		return;
	if (!seen)
		sim_broken(sim, "%s has ended, and was not active", lease->user);
	list_remove(&seen->link);
	lease_unref(seen->lease);
	free(seen);
}

static void on_lease(void *arg, enum lease_event event, const struct lease *lease,
		     const char *reason)
{
	static const char *const names[] = {"active", "ended", "gone"};
	struct sim *sim = arg;

	sim_say(sim, "%s is %s %s", lease->user, names[event], reason ? reason : "");
	if (event == LEASE_ACTIVE)
		became_active(sim, lease);
	else if (event == LEASE_ENDED)
		ended(sim, lease);
}

static void on_log(void *arg, int priority, const char *message)
{
	sim_say(arg, "log %d: %s", priority, message);
}

static bool step(struct sim *sim, int64_t until_at)
{
	int64_t next = sim->engine ? engine_tick(sim->engine) : DSEC_NEVER;
	bool went_on;

	sim_check_now(sim);
	if (sim->events++ % LOOK_EVERY == 0)
		sim_check_often(sim);
	went_on = world_step(&sim->world, next < until_at ? next : until_at);
	return went_on || sim->world.now_at < until_at;
}

/* Reports must be there in any state. */
static void look_at_reports(const struct sim *sim)
{
	char *texts[] = {
		engine_status_text(sim->engine, "a", "dev"),
		engine_leases_json(sim->engine),
		engine_metrics_text(sim->engine),
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!texts[i] || strstr(texts[i], "secret-of-"))
			sim_broken(sim, "a report fails, or tells a secret");
		free(texts[i]);
	}
}

static void live(struct sim *sim)
{
	int64_t until_at = sim->world.now_at + LIFE_MS;

	world_arm(&sim->world, &sim->act, 1);
	while (sim->events < EVENTS_MAX && step(sim, until_at))
		if (sim->engine && sim->events % 4096 == 0)
			look_at_reports(sim);
}

static void end_well(struct sim *sim)
{
	int64_t until_at = sim->world.now_at + END_MAX_MS;

	sim_say(sim, "the end: all are revoked");
	sim->calm = true;
	sim->disk.full = false;
	while (!sim->engine)
		step(sim, until_at);
	engine_revoke_all(sim->engine, "unmount");
	while (engine_left(sim->engine).users > 0 || !list_empty(&sim->disk.records))
		if (!step(sim, until_at))
			break;
	sim_check_end(sim);
}

static void swept(void *arg, size_t removed, size_t failed, const struct dsec_error *err)
{
	struct sim *sim = arg;

	if (err || failed > 0)
		sim_broken(sim, "a sweep leaves %zu users: %s", failed, err ? err->message : "");
	sim_say(sim, "the sweep has removed %zu users", removed);
	sim->swept = true;
}

static void ignore_event(void *arg, enum sweep_event event, const struct provider_user *user,
			 const char *reason, const struct dsec_error *err)
{
}

static void sweep(struct sim *sim)
{
	const struct catalog *catalog = sim->catalogs[sim->catalog];
	int64_t until_at = sim->world.now_at + END_MAX_MS;
	struct dsec_error err;
	struct sweep *sweep;

	if (sweep_start(&sweep, &sim->world.clock, &sim->cloud.provider,
			catalog_integration(catalog, "aws"), false, ignore_event, swept, sim,
			&err) < 0)
		sim_broken(sim, "%s", err.message);
	while (!sim->swept && sim->world.now_at < until_at) {
		int64_t next = sweep_tick(sweep);

		if (!sim->swept)
			world_step(&sim->world, next < until_at ? next : until_at);
		sim->events++;
	}
	sweep_free(sweep);
}

/* The daemon is dead for good, and its journal gone with it. What is left ends by what stands in
 * its path, whatever machine sweeps. */
static void end_by_sweep(struct sim *sim)
{
	int64_t until_at = sim->world.now_at + sim->max_ttl_ms + SWEEP_MARGIN_MS + SIM_BOUND_MS;

	sim_say(sim, "the end: nobody comes back");
	sim->calm = true;
	if (sim->engine)
		sim_crash(sim);
	world_disarm(&sim->world, &sim->revive);
	while (world_step(&sim->world, until_at))
		sim->events++;
	sweep(sim);
	sim_check_nobody(sim);
}

static void init(struct sim *sim)
{
	world_init(&sim->world, sim->seed);
	disk_init(&sim->disk, &sim->world);
	cloud_init(&sim->cloud, &sim->world, "123456789012");
	sim->cloud.fate = sim_fate;
	sim->cloud.changed = sim_check_effect;
	sim->cloud.arg = sim;
	sim->disk.changed = sim_recorded;
	sim->disk.arg = sim;
	sim->act.fire = sim_act;
	sim->revive.fire = sim_revive;
	list_init(&sim->readers);
	list_init(&sim->leases);
	sim->env = (struct engine_env){
		.clock = &sim->world.clock,
		.journal = &sim->disk.journal,
		.provider = provider,
		.provider_arg = sim,
		.observer = {.lease = on_lease, .log = on_log, .arg = sim},
		.daemon_id = SIM_DAEMON,
	};
}

static void finish(struct sim *sim)
{
	engine_free(sim->engine);
	cloud_finish(&sim->cloud);
	disk_finish(&sim->disk);
	world_finish(&sim->world);
	for (size_t i = 0; i < SIM_CATALOGS; i++)
		catalog_unref(sim->catalogs[i]);
}

struct sim_result sim_run(uint64_t seed, bool verbose)
{
	struct sim sim = {.seed = seed, .verbose = verbose};
	size_t secrets = secret_arena_used();

	init(&sim);
	sim_choose_life(&sim);
	sim_start(&sim, false);

	int64_t born_at = sim.world.now_at;

	live(&sim);
	if (world_between(&sim.world, 1, 4) == 1)
		end_by_sweep(&sim);
	else
		end_well(&sim);

	const struct sim_result result = {
		.events = sim.events,
		.handed_out = sim.handed_out,
		.refused = sim.refused,
		.users = sim.cloud.n_calls[PROVIDER_CREATE_USER],
		.crashes = sim.crashes,
		.lived_ms = sim.world.now_at - born_at,
	};

	finish(&sim);
	if (secret_arena_used() != secrets)
		sim_broken(&sim, "secrets are left behind");
	return result;
}
