#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "tests/sim/sim.h"

#define SECRETS_JSON_MAX 1024

/* Configs: `dev` shares one secret, `web` gives each user one under managed policies, `two` has two
 * secrets, of which the third catalog has only one. */
static const char catalog_format[] =
	"{\"integrations\": {\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": "
	"\"static\", \"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}, "
	"\"rate\": %d, \"verify\": %s, \"expiry_in_policy\": %s}}, \"read_timeout\": \"30s\", "
	"\"projects\": {\"a\": {"
	"\"dev\": {\"dynamic_secrets\": {\"DEV\": {%s, \"policy\": %s}}}, "
	"\"web\": {\"dynamic_secrets\": {\"WEB\": {%s, \"scope\": \"user\", \"policy_arns\": "
	"[\"arn:aws:iam::aws:policy/A\", \"arn:aws:iam::aws:policy/B\"]}}}, "
	"\"two\": {\"dynamic_secrets\": {\"ONE\": {%s, \"policy\": %s}%s}}}}}";

static const char *const policies[] = {
	"{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": "
	"\"ec2:Describe*\", \"Resource\": \"*\"}]}",
	"{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": "
	"\"s3:Get*\", \"Resource\": \"*\"}]}",
};

static struct catalog *make_catalog(const struct sim *sim, size_t which, int rate,
				    const char *common)
{
	char json[8 * SECRETS_JSON_MAX], second[SECRETS_JSON_MAX];
	struct catalog_problems problems = {0};
	struct catalog_system system;
	struct catalog *catalog;

	snprintf(second, sizeof(second), ", \"TWO\": {%s, \"policy\": %s}", common, policies[0]);
	snprintf(json, sizeof(json), catalog_format, rate, sim->verify ? "true" : "false",
		 sim->expiry_in_policy ? "true" : "false", common, policies[which == 1], common,
		 common, policies[0], which == 2 ? "" : second);
	catalog_system_init(&system);
	if (catalog_parse(&catalog, json, strlen(json), "sim.json", true, &system, &problems) < 0)
		sim_broken(sim, "%s: %s", problems.at[0].path, problems.at[0].message);
	return catalog;
}

static bool one_in(struct sim *sim, int64_t n)
{
	return world_between(&sim->world, 1, n) == 1;
}

static void choose_weather(struct sim *sim)
{
	struct sim_weather *weather = &sim->weather;
	bool bad = !one_in(sim, 4);

	weather->busy_every_ms = world_between(&sim->world, 50, 20000);
	weather->latency_max_ms = one_in(sim, 4) ? 12000 : 300;
	weather->crash = one_in(sim, 2) ? 0.01 : 0;
	weather->reload = 0.02;
	if (!bad)
		return;
	weather->throttled = 0.01;
	weather->busy = one_in(sim, 3) ? 0.2 : 0.02;
	weather->lost = one_in(sim, 3) ? 0.15 : 0.02;
	weather->late = one_in(sim, 2) ? 0.02 : 0;
	weather->taken = 0.02;
	weather->outage = 0.005;
	weather->trouble = 0.05;
}

void sim_choose_life(struct sim *sim)
{
	static const int rates[] = {5, 20, 500};
	static const int64_t ttls_s[] = {20, 120, 1800};
	bool many = one_in(sim, 8);
	int rate = many ? 500 : rates[world_between(&sim->world, 0, 2)];
	int64_t ttl_s = many ? 1800 : ttls_s[world_between(&sim->world, 0, 2)];
	const char *holder_rate = many ? "100/s" : one_in(sim, 2) ? "30/m" : "4/m";
	char common[SECRETS_JSON_MAX];

	choose_weather(sim);
	/* What AWS bears may be less than what is configured: others use the account too. */
	double bears = one_in(sim, 3) ? rate / 2.0 : 2 * rate;

	bucket_init(&sim->cloud_rate, bears, bears / 1000, sim->world.now_at);
	if (many)
		sim->weather.busy_every_ms = 50;
	sim->uids = many ? 3000 : (unsigned)world_between(&sim->world, 1, 20);
	sim->max_leases = many ? 2000 : (unsigned)world_between(&sim->world, 1, 60);
	sim->warm = one_in(sim, 2) ? 0 : (unsigned)world_between(&sim->world, 1, 5);
	if (sim->warm > sim->max_leases)
		sim->warm = sim->max_leases;
	sim->verify = !one_in(sim, 5);
	sim->expiry_in_policy = !one_in(sim, 5);
	sim->max_ttl_ms = (one_in(sim, 2) ? 1 : 4) * ttl_s * 1000;
	sim->cloud.consistency_ms = one_in(sim, 2) ? 0 : world_between(&sim->world, 100, 15000);
	sim->cloud.empty_pages = one_in(sim, 2);
	sim->cloud.page = (size_t)world_between(&sim->world, 1, 200);
	sim->disk.delay_max_ms = one_in(sim, 3) ? 2000 : 20;
	sim->world.local_ms += world_between(&sim->world, -14, 14) * SIM_MINUTE_MS;
	snprintf(common, sizeof(common),
		 "\"integration\": \"aws\", \"ttl\": \"%llds\", \"max_ttl\": \"%llds\", "
		 "\"max_leases\": %u, \"warm\": %u, \"max_rate\": \"%s\", "
		 "\"max_rate_per_holder\": \"%s\"",
		 (long long)ttl_s, (long long)(sim->max_ttl_ms / 1000), sim->max_leases, sim->warm,
		 many ? "200/s" : "60/m", holder_rate);
	for (size_t i = 0; i < SIM_CATALOGS; i++)
		sim->catalogs[i] = make_catalog(sim, i, rate, common);
}

struct cloud_fate sim_fate(void *arg, const struct provider_call *call)
{
	struct sim *sim = arg;
	struct world *world = &sim->world;
	const struct sim_weather *weather = &sim->weather;
	struct cloud_fate fate = {.latency_ms = world_between(world, 2, weather->latency_max_ms)};
	bool makes = call->op == PROVIDER_CREATE_USER || call->op == PROVIDER_CREATE_KEY;

	if (sim->calm) {
		fate.latency_ms = world_between(world, 2, 300);
		return fate;
	}
	if (world->now_at < sim->outage_until_at) {
		fate.fails = true;
		fate.kind = DSEC_ERROR_UNREACHABLE;
	} else if (world_chance(world, weather->throttled) ||
		   (call->op != PROVIDER_VERIFY_KEY &&
		    !bucket_take(&sim->cloud_rate, world->now_at))) {
		fate.fails = true;
		fate.kind = DSEC_ERROR_THROTTLED;
	} else if (world_chance(world, weather->busy)) {
		fate.fails = fate.ambiguous = true;
		fate.kind = DSEC_ERROR_BUSY;
		fate.effect = one_in(sim, 2);
		fate.effect_delay_ms = fate.latency_ms / 2;
	} else if (world_chance(world, weather->lost)) {
		fate.fails = fate.ambiguous = true;
		fate.kind = one_in(sim, 2) ? DSEC_ERROR_TIMEOUT : DSEC_ERROR_UNREACHABLE;
		fate.effect = one_in(sim, 2);
		fate.effect_delay_ms = fate.latency_ms / 2;
	} else if (makes && world_chance(world, weather->late)) {
		fate.fails = fate.ambiguous = fate.effect = true;
		fate.kind = DSEC_ERROR_TIMEOUT;
		fate.effect_delay_ms = world_between(world, 0, 30000);
	}
	return fate;
}

/* Somebody else makes a user of the very name that was just chosen. */
void sim_recorded(void *arg, const struct journal_record *record)
{
	struct sim *sim = arg;

	if (record->state == JOURNAL_INTENDED && !sim->calm &&
	    !cloud_user(&sim->cloud, record->user) &&
	    world_chance(&sim->world, sim->weather.taken)) {
		sim_say(sim, "somebody takes the name %s", record->user);
		cloud_make_user(&sim->cloud, record->user, "/somebody/")->tag = -1;
	}
}

/* Readers. */

static void answered(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct sim_reader *reader = arg;
	struct sim *sim = reader->sim;

	sim->refused += err != NULL;
	sim->handed_out += !err;
	if (err)
		sim_say(sim, "a reader is refused: %s", err->message);
	for (size_t i = 0; i < n; i++)
		sim_check_handed_out(sim, leases[i]);
	if (n > 0)
		sim_check_snapshot(sim, leases, n);
	list_remove(&reader->link);
	free(reader);
}

static void read_config(struct sim *sim)
{
	static const char *const configs[] = {"dev", "web", "two"};
	const char *name = configs[world_between(&sim->world, 0, 2)];
	const struct config *config = catalog_config(sim->catalogs[sim->catalog], "a", name);
	struct sim_reader *reader = alloc_zeroed(1, sizeof(*reader));
	const struct acquire asked = {
		.project = "a",
		.config = name,
		.secrets = (UINT64_C(1) << config->n_dynamics) - 1,
		.ttl_ms = one_in(sim, 10) ? sim->max_ttl_ms : 0,
		.holders = {[SCOPE_USER] = (lease_holder)world_between(&sim->world, 1, sim->uids)},
	};

	reader->sim = sim;
	reader->asked_at = sim->world.now_at;
	list_append(&sim->readers, &reader->link);

	/* It may be answered, and freed, before this returns. */
	struct list *last = sim->readers.prev;
	uint64_t ticket = engine_acquire(sim->engine, &asked, answered, reader);

	if (ticket != 0)
		container_of(last, struct sim_reader, link)->ticket = ticket;
}

static void interrupt_reader(struct sim *sim)
{
	if (list_empty(&sim->readers))
		return;

	struct sim_reader *reader = list_first(&sim->readers, struct sim_reader, link);

	engine_abandon(sim->engine, reader->ticket);
	list_remove(&reader->link);
	free(reader);
}

/* Operators, and others. */

static struct sim_lease *some_lease(struct sim *sim)
{
	int64_t skip = world_between(&sim->world, 0, 10);
	struct sim_lease *lease = NULL;

	list_each (at, &sim->leases) {
		lease = container_of(at, struct sim_lease, link);
		if (skip-- == 0)
			break;
	}
	return lease;
}

static struct cloud_user *some_user(struct sim *sim)
{
	int64_t skip = world_between(&sim->world, 0, 10);
	struct cloud_user *some = NULL;

	list_each (at, &sim->cloud.users) {
		struct cloud_user *user = container_of(at, struct cloud_user, link);

		if (user->until_at != DSEC_NEVER)
			continue;
		some = user;
		if (skip-- == 0)
			break;
	}
	return some;
}

static void renew(struct sim *sim)
{
	struct sim_lease *seen = some_lease(sim);
	struct dsec_error err;

	if (!seen)
		return;
	sim_say(sim, "renew %s", seen->lease->user);
	engine_renew(sim->engine, seen->lease->id,
		     world_between(&sim->world, 10000, 2 * sim->max_ttl_ms), &err);
}

static void revoke(struct sim *sim)
{
	struct sim_lease *seen = some_lease(sim);
	struct dsec_error err;

	if (!seen)
		return;
	sim_say(sim, "revoke %s", seen->lease->user);
	if (engine_revoke(sim->engine, seen->lease->id, &err) < 0)
		sim_broken(sim, "a live lease cannot be revoked: %s", err.message);
}

static void reload(struct sim *sim)
{
	sim->catalog = (size_t)world_between(&sim->world, 0, SIM_CATALOGS - 1);
	sim_say(sim, "reload: catalog %zu", sim->catalog);
	list_each (at, &sim->leases)
		container_of(at, struct sim_lease, link)->passed_over = true;
	engine_reload(sim->engine, sim->catalogs[sim->catalog]);
}

static void tamper(struct sim *sim)
{
	static const char *const names[ATTACHMENT_KINDS] = {
		[ATTACHMENT_ACCESS_KEY] = "AKIAOTHER00000000000",
		[ATTACHMENT_INLINE_POLICY] = "other",
		[ATTACHMENT_MANAGED_POLICY] = "arn:aws:iam::aws:policy/Other",
		[ATTACHMENT_GROUP] = "admins",
		[ATTACHMENT_LOGIN_PROFILE] = "",
		[ATTACHMENT_MFA_DEVICE] = "arn:aws:iam::1:mfa/x",
		[ATTACHMENT_SIGNING_CERTIFICATE] = "certificate",
		[ATTACHMENT_SSH_KEY] = "APKA0000000000000000",
		[ATTACHMENT_SERVICE_CREDENTIAL] = "ACCA0000000000000000",
	};
	struct cloud_user *user = some_user(sim);

	if (!user)
		return;
	if (one_in(sim, 10)) {
		sim_say(sim, "somebody deletes %s", user->name);
		if (user->tag >= 0)
			sim->n_users[user->tag]--;
		snprintf(sim->robbed[sim->n_robbed++ % SIM_ROBBED], IAM_USER_NAME_MAX, "%s",
			 user->name);
		cloud_remove_user(&sim->cloud, user);
		return;
	}
	for (int64_t n = world_between(&sim->world, 1, 4); n > 0; n--) {
		int64_t kind = world_between(&sim->world, 0, ATTACHMENT_KINDS - 1);

		sim_say(sim, "somebody puts a %s on %s",
			provider_attachment_name((enum provider_attachment)kind), user->name);
		cloud_put(&sim->cloud, user, (enum provider_attachment)kind, names[kind]);
	}
}

void sim_crash(struct sim *sim)
{
	sim_say(sim, "crash");
	sim->crashes++;
	sim->engine = engine_free(sim->engine);
	cloud_forget_callers(&sim->cloud);
	disk_crash(&sim->disk);
	list_each (at, &sim->readers) {
		list_remove(at);
		free(container_of(at, struct sim_reader, link));
	}
	list_each (each, &sim->leases) {
		struct sim_lease *seen = container_of(each, struct sim_lease, link);

		list_remove(&seen->link);
		lease_unref(seen->lease);
		free(seen);
	}
}

static void crash(struct sim *sim)
{
	sim_crash(sim);
	if (one_in(sim, 10)) {
		sim_say(sim, "the journal is lost");
		disk_damage(&sim->disk);
		sim->rebuilt = true;
		memset(sim->n_users, 0, sizeof(sim->n_users));
		list_each (user, &sim->cloud.users)
			container_of(user, struct cloud_user, link)->tag = -1;
	}
	world_arm(&sim->world, &sim->revive, world_between(&sim->world, 1, 60000));
}

/* The machine sleeps, the world goes on, and the engine wakes with everything overdue. */
static void sleep_for_hours(struct sim *sim)
{
	int64_t until_at = sim->world.now_at + world_between(&sim->world, 1, 180) * SIM_MINUTE_MS;

	sim_say(sim, "asleep until %lld", (long long)until_at);
	while (world_step(&sim->world, until_at))
		;
	sim->alive_at = sim->world.now_at;
}

static void bad_luck(struct sim *sim)
{
	switch (world_between(&sim->world, 0, 5)) {
	case 0:
		sim->disk.full = !sim->disk.full;
		sim->disk_failed = true;
		sim_say(sim, "the disk is %s", sim->disk.full ? "full" : "not full any more");
		break;
	case 1:
		/* Within what AWS's signatures allow; beyond, the provider refuses to go on. */
		sim->world.local_ms =
			sim->world.cloud_ms + world_between(&sim->world, -14, 14) * SIM_MINUTE_MS;
		break;
	case 2:
		if (one_in(sim, 4))
			sleep_for_hours(sim);
		break;
	default:
		tamper(sim);
		break;
	}
}

static void happen(struct sim *sim)
{
	const struct sim_weather *weather = &sim->weather;
	struct world *world = &sim->world;

	if (world_chance(world, weather->crash)) {
		crash(sim);
	} else if (world_chance(world, weather->reload)) {
		reload(sim);
	} else if (world_chance(world, weather->outage)) {
		sim->outage_until_at = world->now_at + world_between(world, 1, SIM_OUTAGE_MAX_MS);
		sim_say(sim, "an outage");
	} else if (world_chance(world, weather->trouble)) {
		bad_luck(sim);
	} else if (world_chance(world, 0.05)) {
		revoke(sim);
	} else if (world_chance(world, 0.05)) {
		renew(sim);
	} else if (world_chance(world, 0.05)) {
		interrupt_reader(sim);
	} else {
		read_config(sim);
	}
}

void sim_act(struct timer *timer)
{
	struct sim *sim = container_of(timer, struct sim, act);

	if (sim->calm)
		return;
	if (sim->engine)
		happen(sim);
	world_arm(&sim->world, &sim->act,
		  world_between(&sim->world, 1, sim->weather.busy_every_ms));
}

void sim_start(struct sim *sim, bool rebuild)
{
	struct dsec_error err;

	sim_say(sim, "start");
	sim->alive_at = sim->world.now_at;
	if (engine_new(&sim->engine, &sim->env, sim->catalogs[sim->catalog], &err) < 0)
		sim_broken(sim, "%s", err.message);
	list_each (at, &sim->disk.records)
		engine_recall(sim->engine, &container_of(at, struct disk_record, link)->record);
	engine_start(sim->engine, rebuild);
}

void sim_revive(struct timer *timer)
{
	struct sim *sim = container_of(timer, struct sim, revive);

	sim_start(sim, sim->rebuilt);
}
