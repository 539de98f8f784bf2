#include "tests/engine/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/alloc.h"

#define ARENA_SIZE (1u << 20)
#define EVENTS_MAX 10000000 /* an engine that never rests is a bug, not a long test */
#define INTEGRATION                                                                                \
	"\"aws\": {\"type\": \"aws-iam\", \"credentials\": {\"source\": \"static\", "              \
	"\"access_key_id\": \"AKIA0000000000000000\", \"secret_access_key\": \"x\"}}"
#define POLICY                                                                                     \
	"{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", "                   \
	"\"Action\": \"ec2:Describe*\", \"Resource\": \"*\"}]}"

const char fixture_plain[] =
	"{\"integrations\": {" INTEGRATION "}, \"projects\": {\"a\": {\"dev\": "
	"{\"dynamic_secrets\": {\"AWS_USER\": {\"integration\": \"aws\", \"policy\": " POLICY
	"}}}}}}";

struct catalog *fixture_catalog(const char *json)
{
	struct catalog_problems problems = {0};
	struct catalog_system system;
	struct catalog *catalog = NULL;

	catalog_system_init(&system);
	if (catalog_parse(&catalog, json, strlen(json), "test.json", true, &system, &problems) < 0)
		fail_msg("%s: %s", problems.at[0].path, problems.at[0].message);
	return catalog;
}

static struct cloud_fate fate(void *arg, const struct provider_call *call)
{
	struct fixture *fixture = arg;

	size_t n = strlen(fixture->calls);

	/* Enough for whoever looks at it; the mass tests do not. */
	if (n + 32 < sizeof(fixture->calls))
		snprintf(fixture->calls + n, sizeof(fixture->calls) - n, "%s ",
			 provider_op_name(call->op));
	if (call->op == fixture->bad_op && fixture->n_bad > 0 &&
	    (!fixture->is_bad || fixture->is_bad(call))) {
		fixture->n_bad--;
		return fixture->bad;
	}
	return (struct cloud_fate){.latency_ms = 20};
}

static void changed(void *arg, struct cloud_user *user, enum provider_op op)
{
	struct fixture *fixture = arg;

	if (fixture->watch)
		fixture->watch(fixture, user, op);
}

static struct provider *provider(void *arg, const struct integration *integration)
{
	struct fixture *fixture = arg;

	return &fixture->cloud.provider;
}

static int on_intended(void *arg, const struct journal_record *record, struct dsec_error *err)
{
	struct fixture *fixture = arg;

	if (++fixture->n_intended < fixture->intents_refused_from ||
	    fixture->intents_refused_from == 0)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "no line can be written");
}

static void on_lease(void *arg, enum lease_event event, const struct lease *lease,
		     const char *reason)
{
	struct fixture *fixture = arg;

	fixture->n_active += event == LEASE_ACTIVE;
	fixture->n_ended += event == LEASE_ENDED;
	fixture->n_gone += event == LEASE_GONE;
	if (reason)
		snprintf(fixture->last_reason, sizeof(fixture->last_reason), "%s", reason);
}

static void on_failed(void *arg, const struct lease_slot *slot, const struct lease_caller *caller,
		      const struct dsec_error *err)
{
	((struct fixture *)arg)->n_failed++;
}

static void on_handed_out(void *arg, const struct lease *lease, const struct lease_caller *caller)
{
	((struct fixture *)arg)->n_handed_out++;
}

static void on_rotated(void *arg, const struct lease *lease, const char *reason)
{
	struct fixture *fixture = arg;

	fixture->n_rotated++;
}

static void on_due(void *arg, const struct lease *lease)
{
	struct fixture *fixture = arg;
	struct dsec_error err;

	fixture->n_due++;
	if (fixture->held)
		assert_int_equal(engine_renew(fixture->engine, lease->id, lease->slot.ttl_ms, &err),
				 0);
}

static void on_log(void *arg, int priority, const char *message)
{
	struct fixture *fixture = arg;
	size_t n = strlen(fixture->log);

	if (n + strlen(message) + 2 > sizeof(fixture->log))
		n = 0;
	snprintf(fixture->log + n, sizeof(fixture->log) - n, "%s\n", message);
}

static void recall(struct fixture *fixture, const struct journal_record *record)
{
	const struct lease *lease = fixture->kept;

	if (!lease || strcmp(lease->id, record->lease_id) != 0) {
		engine_recall(fixture->engine, record);
		return;
	}

	const struct engine_kept kept = {
		.generation = lease->generation,
		.secret_access_key = lease->secret_access_key,
		.holder = lease->slot.holder,
		.start_at = lease->start_at,
		.rotate_at = lease->rotate_at,
		.expire_at = lease->expire_at,
		.expires_ms = lease->expires_ms,
	};
	engine_recall_kept(fixture->engine, record, &kept);
}

static void start(struct fixture *fixture, const char *json, bool rebuild)
{
	struct catalog *catalog = fixture_catalog(json);
	struct dsec_error err;

	fixture->env.last_generation = fixture->kept ? fixture->kept->generation : 0;
	if (engine_new(&fixture->engine, &fixture->env, catalog, &err) < 0)
		fail_msg("%s", err.message);
	catalog_unref(catalog);
	list_each (at, &fixture->disk.records)
		recall(fixture, &container_of(at, struct disk_record, link)->record);
	engine_start(fixture->engine, rebuild);
}

struct fixture *fixture_new(const char *json)
{
	static bool has_arena;
	struct fixture *fixture = alloc_zeroed(1, sizeof(*fixture));
	struct dsec_error err;

	if (!has_arena && secret_arena_init(ARENA_SIZE, &err) < 0)
		fail_msg("%s", err.message);
	has_arena = true;
	world_init(&fixture->world, 1);
	disk_init(&fixture->disk, &fixture->world);
	cloud_init(&fixture->cloud, &fixture->world, "123456789012");
	fixture->cloud.fate = fate;
	fixture->cloud.changed = changed;
	fixture->cloud.arg = fixture;
	fixture->env = (struct engine_env){
		.clock = &fixture->world.clock,
		.journal = &fixture->disk.journal,
		.provider = provider,
		.provider_arg = fixture,
		.observer = {.intended = on_intended,
			     .lease = on_lease,
			     .failed = on_failed,
			     .handed_out = on_handed_out,
			     .due = on_due,
			     .rotated = on_rotated,
			     .log = on_log,
			     .arg = fixture},
		.daemon_id = FIXTURE_DAEMON,
	};
	start(fixture, json, false);
	return fixture;
}

struct fixture *fixture_free(struct fixture *fixture)
{
	engine_free(fixture->engine);
	cloud_finish(&fixture->cloud);
	disk_finish(&fixture->disk);
	world_finish(&fixture->world);
	free(fixture);
	return NULL;
}

int fixture_setup(void **state)
{
	*state = fixture_new(fixture_plain);
	return 0;
}

int fixture_teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

void fixture_crash(struct fixture *fixture)
{
	fixture->engine = engine_free(fixture->engine);
	cloud_forget_callers(&fixture->cloud);
	disk_crash(&fixture->disk);
}

void fixture_restart(struct fixture *fixture, const char *json, bool rebuild)
{
	if (fixture->engine)
		fixture_crash(fixture);
	start(fixture, json, rebuild);
}

static bool step(struct fixture *fixture, int64_t until_at)
{
	int64_t next = fixture->engine ? engine_tick(fixture->engine) : DSEC_NEVER;

	if (world_step(&fixture->world, next < until_at ? next : until_at))
		return true;
	return fixture->world.now_at < until_at;
}

void fixture_run(struct fixture *fixture, int64_t ms)
{
	int64_t until_at = fixture->world.now_at + ms;

	for (long n = 0; step(fixture, until_at); n++)
		if (n == EVENTS_MAX)
			fail_msg("the engine never rests");
	if (fixture->engine)
		engine_tick(fixture->engine);
}

bool fixture_until(struct fixture *fixture, bool (*is)(struct fixture *fixture))
{
	int64_t until_at = fixture->world.now_at + HOUR_MS;

	while (!is(fixture))
		if (!step(fixture, until_at))
			return false;
	return true;
}

static void answered(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct reader *reader = arg;

	assert_false(reader->answered);
	reader->answered = true;
	reader->at = reader->fixture->world.now_at;
	reader->n = n;
	if (n > 0)
		reader->lease = lease_ref(leases[0]);
	if (err)
		reader->err = *err;
}

static void ask(struct fixture *fixture, struct reader *reader, const struct acquire *request)
{
	*reader = (struct reader){.fixture = fixture};
	reader->ticket = engine_acquire(fixture->engine, request, answered, reader);
	assert_int_equal(reader->answered, reader->ticket == 0);
}

void fixture_read_as(struct fixture *fixture, struct reader *reader, const char *config,
		     uint64_t secrets, int64_t ttl_ms, uid_t uid)
{
	const struct acquire request = {
		.project = "a",
		.config = config,
		.secrets = secrets,
		.ttl_ms = ttl_ms,
		.holders = {[SCOPE_USER] = lease_holder_user(uid)},
		.caller = {.uid = uid, .pid = 1},
	};

	ask(fixture, reader, &request);
}

void fixture_read_alone(struct fixture *fixture, struct reader *reader, const char *config,
			uint64_t secrets, uint64_t number)
{
	struct acquire request = {
		.project = "a",
		.config = config,
		.secrets = secrets,
		.caller = {.pid = 1},
	};

	for (int scope = 0; scope < SCOPES; scope++)
		request.holders[scope] = lease_holder_of(HOLDER_OPEN, number);
	ask(fixture, reader, &request);
}

void fixture_read_for(struct fixture *fixture, struct reader *reader, const char *config,
		      uint64_t number, const char *payer)
{
	struct acquire request = {
		.project = "a",
		.config = config,
		.secrets = 1,
		.caller = {.pid = 1},
		.payer = payer,
	};

	for (int scope = 0; scope < SCOPES; scope++)
		request.holders[scope] = number ? lease_holder_of(HOLDER_OPEN, number) : 0;
	ask(fixture, reader, &request);
}

void fixture_read_in_scope(struct fixture *fixture, struct reader *reader, const char *config,
			   enum lease_scope scope, lease_holder holder,
			   const struct lease_caller *caller)
{
	struct acquire request = {
		.project = "a",
		.config = config,
		.secrets = 1,
		.caller = *caller,
	};

	request.holders[scope] = holder;
	ask(fixture, reader, &request);
}

void fixture_read(struct fixture *fixture, struct reader *reader)
{
	fixture_read_as(fixture, reader, "dev", 1, 0, 0);
}

void reader_finish(struct reader *reader)
{
	reader->lease = lease_unref(reader->lease);
}

struct lease *fixture_lease(struct fixture *fixture)
{
	struct reader reader;

	fixture_read(fixture, &reader);
	for (int64_t until_at = fixture->world.now_at + HOUR_MS; !reader.answered;)
		if (!step(fixture, until_at))
			break;
	if (!reader.lease)
		fail_msg("no lease: %s", reader.err.message);
	return reader.lease;
}

struct cloud_user *fixture_only_user(struct fixture *fixture)
{
	struct cloud_user *only = NULL;

	list_each (at, &fixture->cloud.users) {
		struct cloud_user *user = container_of(at, struct cloud_user, link);

		if (user->until_at != DSEC_NEVER)
			continue;
		assert_null(only);
		only = user;
	}
	return only;
}
