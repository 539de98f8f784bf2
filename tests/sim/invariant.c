#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lease/download.h"
#include "lease/identity.h"
#include "tests/sim/sim.h"

void sim_broken(const struct sim *sim, const char *format, ...)
{
	va_list args;

	printf("seed %llu, event %llu, %lld ms: ", (unsigned long long)sim->seed,
	       (unsigned long long)sim->events, (long long)sim->world.now_at);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\nreplay: tests/sim/sim --verbose --seed %llu\n", (unsigned long long)sim->seed);
	fflush(stdout);
	abort();
}

static bool is_ours(const struct cloud_user *user)
{
	return strncmp(user->path, SIM_PATH, strlen(SIM_PATH)) == 0;
}

static int64_t rounded_up(int64_t ms)
{
	return (ms + 999) / 1000 * 1000;
}

static void check_policies(const struct sim *sim, const struct cloud_user *user)
{
	bool allows = false, denies = false;

	list_each (at, &user->things) {
		const struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		if (thing->until_at != DSEC_NEVER)
			continue;
		allows |= thing->allows;
		denies |= thing->denies;
		if (thing->denies && thing->deny_ms > user->created_ms + sim->max_ttl_ms)
			sim_broken(
				sim, "%s: its policy ends %lld ms beyond creation + max_ttl",
				user->name,
				(long long)(thing->deny_ms - user->created_ms - sim->max_ttl_ms));
	}
	if (allows && !denies && sim->expiry_in_policy && !user->tampered)
		sim_broken(sim, "%s: an Allow is in force without its Deny", user->name);
}

static void check_created(struct sim *sim, struct cloud_user *user)
{
	const struct journal_record *line = disk_by_user(&sim->disk, user->name);

	if (!is_ours(user))
		sim_broken(sim, "%s was made under %s", user->name, user->path);
	if (!line && !sim->rebuilt)
		sim_broken(sim, "%s was made without a line in the journal", user->name);
	/* A lost call that takes effect after somebody has deleted the user makes it once more,
	 * without what the grant has put on it since. */
	for (size_t i = 0; i < SIM_ROBBED; i++)
		if (strcmp(sim->robbed[i], user->name) == 0)
			user->tampered = true;
	user->tag = -1;
	if (!line || !sim_parse_pool(line->config, line->secret, &user->tag))
		return;
	if (++sim->n_users[user->tag] > sim->max_leases)
		sim_broken(sim, "%s is user %zu of %s, and max_leases is %u", user->name,
			   sim->n_users[user->tag], line->secret, sim->max_leases);
}

void sim_check_effect(void *arg, struct cloud_user *user, enum provider_op op)
{
	struct sim *sim = arg;

	sim_say(sim, "  %s took effect on %s", provider_op_name(op), user->name);
	if (op == PROVIDER_CREATE_USER)
		check_created(sim, user);
	if (op == PROVIDER_DELETE_USER && user->tag >= 0)
		sim->n_users[user->tag]--;
	if (!is_ours(user))
		sim_broken(sim, "%s of %s, which is not ours", provider_op_name(op), user->name);
	check_policies(sim, user);
}

/* The user of a lease that is to be used now. */
static const struct cloud_user *check_usable(const struct sim *sim, const struct lease *lease)
{
	const struct cloud_user *user = cloud_user(&sim->cloud, lease->user);

	if (sim->world.now_at >= lease->expire_at)
		sim_broken(sim, "%s: handed out although it is dead", lease->user);
	if (!lease->secret_access_key)
		sim_broken(sim, "%s: handed out without its secret", lease->user);
	if (!user)
		return NULL; /* somebody took it away: only that is excused below */
	if (!user->tampered && !cloud_thing(user, ATTACHMENT_ACCESS_KEY, lease->access_key_id))
		sim_broken(sim, "%s: handed out without its key", lease->user);
	return user;
}

void sim_check_active(struct sim *sim, const struct lease *lease)
{
	const struct cloud_user *user = check_usable(sim, lease);
	const struct journal_record *line = disk_by_user(&sim->disk, lease->user);

	if (!sim->disk_failed && (!line || line->state != JOURNAL_ACTIVE))
		sim_broken(sim, "%s is active, and the journal does not know", lease->user);
	if (!user || user->tampered)
		return;

	const struct cloud_thing *key =
		cloud_thing(user, ATTACHMENT_ACCESS_KEY, lease->access_key_id);
	const struct cloud_thing *policy =
		cloud_thing(user, ATTACHMENT_INLINE_POLICY, lease->policy_name);

	/* A key whose answer was lost is discarded, where a list shows it. */
	if (sim->cloud.consistency_ms == 0 && sim->weather.late == 0 &&
	    cloud_count(user, ATTACHMENT_ACCESS_KEY) != 1)
		sim_broken(sim, "%s: active with a key that nobody knows", lease->user);
	if (sim->verify && key->n_verified < 3)
		sim_broken(sim, "%s: active after %u verifications", lease->user, key->n_verified);
	if (sim->expiry_in_policy && !policy)
		sim_broken(sim, "%s: active without its policy", lease->user);
	if (sim->expiry_in_policy && policy->deny_ms != rounded_up(lease->expires_ms))
		sim_broken(sim, "%s: told to end %lld ms before its policy does", lease->user,
			   (long long)(policy->deny_ms - lease->expires_ms));
}

/* Of one that nobody had yet, what counts is when it was taken. What is kept ready is made before
 * its predecessor is over. */
static int64_t needed_at(const struct sim *sim, const struct lease *lease)
{
	const struct sim_lease *seen = NULL;

	list_each (at, &sim->leases)
		if (strcmp(container_of(at, struct sim_lease, link)->lease->id, lease->id) == 0)
			seen = container_of(at, struct sim_lease, link);
	if (seen)
		return sim->world.now_at;
	bool ahead = sim->warm > 0 && (lease->slot.holder == 0 ||
				       lease_holder_kind(lease->slot.holder) == HOLDER_STOCK);

	return lease->start_at + (ahead ? WARM_LEAD_MS : 0);
}

/* Single flight: nothing is made, or taken, where something can be had. */
void sim_check_needed(struct sim *sim, const struct lease *lease)
{
	int64_t at = needed_at(sim, lease);

	list_each (link, &sim->leases) {
		const struct sim_lease *seen = container_of(link, struct sim_lease, link);
		const struct lease *other = seen->lease;

		if (other->fingerprint == lease->fingerprint && !seen->passed_over &&
		    other->start_at < lease->start_at && other->rotate_at > at &&
		    other->slot.ttl_ms == lease->slot.ttl_ms &&
		    other->slot.holder == lease->slot.holder &&
		    strcmp(other->slot.config, lease->slot.config) == 0 &&
		    strcmp(other->slot.secret, lease->slot.secret) == 0)
			sim_broken(sim, "%s was made although %s could be had", lease->user,
				   other->user);
	}
}

void sim_check_handed_out(struct sim *sim, const struct lease *lease)
{
	const struct cloud_user *user = check_usable(sim, lease);
	const struct catalog *catalog = sim->catalogs[sim->catalog];
	const struct config *config = catalog_config(catalog, "a", lease->slot.config);
	size_t index;
	const struct dynamic_secret *secret =
		config ? config_dynamic(config, lease->slot.secret, &index) : NULL;

	if (!secret || secret->fingerprint != lease->fingerprint)
		sim_broken(sim, "%s: handed out under another configuration", lease->user);
	(void)user;
}

static void check_value(const struct sim *sim, json_t *file, const struct lease *lease,
			const char *property, const char *expected)
{
	char key[128];

	snprintf(key, sizeof(key), "%s_%s", lease->slot.secret, property);

	const char *value = json_string_value(json_object_get(file, key));

	if (!value || strcmp(value, expected) != 0)
		sim_broken(sim, "%s of %s is %s, and not %s", key, lease->user,
			   value ? value : "not there", expected);
}

static void check_values(const struct sim *sim, json_t *file, const struct lease *lease)
{
	char secret[CLOUD_SECRET_MAX];

	cloud_secret(secret, lease->access_key_id);
	check_value(sim, file, lease, "USERNAME", lease->user);
	check_value(sim, file, lease, "LEASE_ID", lease->id);
	check_value(sim, file, lease, "ARN", lease->arn);
	check_value(sim, file, lease, "POLICY_NAME", lease->policy_name);
	check_value(sim, file, lease, "ACCESS_KEY_ID", lease->access_key_id);
	check_value(sim, file, lease, "SECRET_ACCESS_KEY", secret);
}

void sim_check_snapshot(const struct sim *sim, const struct lease *const *leases, size_t n)
{
	const struct config *config =
		catalog_config(sim->catalogs[sim->catalog], "a", leases[0]->slot.config);
	struct download text = {0};

	if (n != config->n_dynamics)
		return; /* it was asked for under another configuration, and is for nobody now */
	if (download_render(&text, config, leases, FORMAT_JSON) < 0)
		sim_broken(sim, "%s: cannot be rendered", leases[0]->user);

	json_t *file = json_loadb(text.bytes, text.n, 0, NULL);

	for (size_t i = 0; i < n; i++)
		check_values(sim, file, leases[i]);
	json_decref(file);
	download_finish(&text);
}

void sim_check_now(struct sim *sim)
{
	if (list_empty(&sim->readers))
		return;

	const struct sim_reader *first = list_first(&sim->readers, struct sim_reader, link);

	if (sim->world.now_at > first->asked_at + SIM_READ_TIMEOUT_MS &&
	    sim->alive_at <= first->asked_at)
		sim_broken(sim, "a reader waits for %lld ms",
			   (long long)(sim->world.now_at - first->asked_at));
}

static int64_t end_of(const struct sim *sim, const struct cloud_user *user)
{
	const struct journal_record *line = disk_by_user(&sim->disk, user->name);
	int64_t end_ms;
	char daemon_id[DAEMON_ID_MAX];

	if (line && line->expires_ms > 0)
		return line->expires_ms;
	if (!identity_parse_path(user->path, "/doppler/", daemon_id, &end_ms))
		sim_broken(sim, "%s has no end in its path %s", user->name, user->path);
	return end_ms;
}

void sim_check_often(struct sim *sim)
{
	int64_t now_ms = world_cloud_ms(&sim->world);

	if (!sim->engine)
		return;
	list_each (at, &sim->leases) {
		const struct lease *lease = container_of(at, struct sim_lease, link)->lease;

		if (sim->world.now_at > lease->expire_at)
			sim_broken(sim, "%s: still published after its end", lease->user);
	}
	list_each (each, &sim->cloud.users) {
		const struct cloud_user *user = container_of(each, struct cloud_user, link);
		int64_t since_at;

		if (user->until_at != DSEC_NEVER || !is_ours(user))
			continue;
		since_at = sim->world.now_at - (now_ms - end_of(sim, user));
		if (since_at < sim->alive_at)
			since_at = sim->alive_at;
		if (sim->world.now_at - since_at > SIM_BOUND_MS)
			sim_broken(sim, "%s is still there %lld ms after its end", user->name,
				   (long long)(now_ms - end_of(sim, user)));
	}
}

void sim_check_nobody(const struct sim *sim)
{
	list_each (at, &sim->cloud.users) {
		const struct cloud_user *user = container_of(at, struct cloud_user, link);

		if (user->until_at == DSEC_NEVER && is_ours(user))
			sim_broken(sim, "%s is left at the end", user->name);
	}
}

void sim_check_end(struct sim *sim)
{
	sim_check_nobody(sim);
	if (!list_empty(&sim->disk.records))
		sim_broken(sim, "the journal still knows %s",
			   list_first(&sim->disk.records, struct disk_record, link)->record.user);
	if (!list_empty(&sim->readers))
		sim_broken(sim, "a reader was not answered");
	if (engine_left(sim->engine).users != 0 || engine_left(sim->engine).keys != 0)
		sim_broken(sim, "the engine does not know that nothing is left");
}
