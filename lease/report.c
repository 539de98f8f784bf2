#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/engine_private.h"

#define HOLDER_TEXT_MAX 32

const char *engine_advice(enum dsec_error_kind kind)
{
	switch (kind) {
	case DSEC_ERROR_CREDENTIALS:
		return "give the integration credentials that AWS accepts; dsec check tries them";
	case DSEC_ERROR_DENIED:
		return "allow the integration's user what it lacks; dsec integration policy prints "
		       "what it needs";
	case DSEC_ERROR_QUOTA:
		return "end leases that are not needed (dsec leases), or raise max_leases where it "
		       "is that; AWS allows 5,000 users an account";
	case DSEC_ERROR_THROTTLED:
		return "nothing, it is tried again more slowly; if it lasts, lower the "
		       "integration's rate, or raise max_rate or max_rate_per_holder, whichever it "
		       "names";
	case DSEC_ERROR_UNREACHABLE:
		return "see whether this machine reaches the integration's endpoint; it is tried "
		       "again meanwhile";
	case DSEC_ERROR_CLOCK_SKEW:
		return "set this machine's clock";
	case DSEC_ERROR_NO_SPACE:
		return "make room in the state folder, or in the memory that may be locked where "
		       "it "
		       "is that; leases that are, are not in danger";
	case DSEC_ERROR_INVALID:
		return "correct the policy; dsec check finds most mistakes";
	case DSEC_ERROR_NOT_CONFIGURED:
		return "look at the configuration; dsec check";
	default:
		return "nothing, unless it lasts: it is tried again";
	}
}

static void print_error(FILE *to, const char *indent, const char *what,
			const struct dsec_error *err, int64_t when_ms)
{
	char when[CLOCK_ISO_MAX];

	clock_iso(when, when_ms);
	fprintf(to, "%s%s %s: %s", indent, what, when, err->message);
	if (err->code[0])
		fprintf(to, " (AWS: %s)", err->code);
	if (err->request_id[0])
		fprintf(to, " (request %s)", err->request_id);
	fprintf(to, "\n%s  what to do: %s\n", indent, engine_advice(err->kind));
}

static const char *state_name(enum principal_state state)
{
	switch (state) {
	case PRINCIPAL_ACTIVE:
		return "active";
	case PRINCIPAL_REVOKING:
	case PRINCIPAL_GONE:
		return "revoking";
	default:
		return "creating";
	}
}

static void print_principal(FILE *to, const struct principal *principal)
{
	const struct line *record = &principal->record;
	char start[CLOCK_ISO_MAX], end[CLOCK_ISO_MAX], last[CLOCK_ISO_MAX];

	clock_iso(start, record->start_ms);
	clock_iso(end, record->expires_ms);
	clock_iso(last, record->last_end_ms);
	fprintf(to, "    %s: %s\n      lease %s, from %s to %s, at the latest %s\n", record->user,
		state_name(principal->state), record->lease_id, start, end, last);
	if (principal->state < PRINCIPAL_ACTIVE)
		fprintf(to, "      still %s\n", grant_step_text(principal));
	if (principal->state == PRINCIPAL_ACTIVE && principal->adopted)
		fprintf(to, "      made by an earlier daemon: kept to its end, not handed out\n");
	if (principal->state == PRINCIPAL_ACTIVE &&
	    lease_holder_kind(principal->holder) == HOLDER_STOCK)
		fprintf(to, "      kept ready: nobody has it yet\n");
	if (principal->state == PRINCIPAL_REVOKING) {
		fprintf(to, "      to be removed: %s\n", record->reason);
		if (!principal->account)
			fprintf(to,
				"      integration %s is not in the configuration, and nothing "
				"else "
				"can remove it\n",
				record->integration);
		if (principal->ending && principal->ending->troubles > 0) {
			fprintf(to, "      %u calls have failed; it is tried again\n",
				principal->ending->troubles);
			print_error(to, "      ", "last", &principal->ending->trouble,
				    principal->ending->trouble_ms);
		}
	}
	if (principal->write_failures > 0)
		fprintf(to, "      its line in the journal cannot be written\n");
}

static size_t n_waiting(const struct pool *pool)
{
	size_t n = 0;

	list_each (slot_at, &pool->slots)
		list_each (at, &container_of(slot_at, struct slot, link)->waiters)
			n += at != NULL;
	return n;
}

static size_t n_in_state(const struct pool *pool, enum principal_state state)
{
	size_t n = 0;

	list_each (at, &pool->principals)
		n += container_of(at, struct principal, in_pool)->state == state;
	return n;
}

static void print_account(FILE *to, const struct account *account)
{
	const struct reconcile *reconcile = &account->reconcile;

	if (reconcile->error_ms != 0)
		print_error(to, "  ",
			    "the users of this daemon cannot be listed:", &reconcile->error,
			    reconcile->error_ms);
}

static void print_pool(FILE *to, const struct pool *pool)
{
	size_t waiting = n_waiting(pool);

	fprintf(to, "%s (integration %s): %zu active, %zu of at most %u users\n", pool->secret,
		pool->account->name, n_in_state(pool, PRINCIPAL_ACTIVE), pool->n_principals,
		pool->recipe->secret.max_leases);
	if (pool->n_places > 0)
		fprintf(to, "  %zu of %zu kept ready (warm) can be had at once\n",
			warm_ready_count(pool), pool->n_places);
	if (waiting > 0)
		fprintf(to, "  %zu readers wait\n", waiting);
	if (pool->error_ms != 0)
		print_error(to, "  ", "last error", &pool->error, pool->error_ms);
	print_account(to, pool->account);
	list_each (at, &pool->principals) {
		const struct principal *principal = container_of(at, struct principal, in_pool);

		if (principal->state != PRINCIPAL_GONE)
			print_principal(to, principal);
	}
}

char *engine_status_text(const struct engine *engine, const char *project, const char *config)
{
	const struct config *asked = catalog_config(engine->catalog, project, config);
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	if (engine->closing)
		fprintf(to, "no new leases: %s; %zu users are left, %zu of them with a key\n",
			engine->closing_reason, engine->n_users, engine->n_keys);
	if (!asked)
		fprintf(to, "%s/%s is not in the configuration\n", project, config);
	else if (asked->n_dynamics == 0)
		fprintf(to, "%s/%s has no dynamic secrets\n", project, config);
	for (size_t i = 0; asked && i < asked->n_dynamics; i++)
		print_pool(to, pool_find(engine, project, config, asked->dynamics[i].name));
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static json_t *json_time(int64_t ms)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, ms);
	return json_string(text);
}

static json_t *json_error(const struct dsec_error *err)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "kind", dsec_error_kind_name(err->kind), "message",
			 err->message, "code", err->code, "request_id", err->request_id);
}

/* Who shares the lease: "shared", "uid 1000", or of what kind the one holder is. */
static void holder_text(char to[HOLDER_TEXT_MAX], const struct principal *principal)
{
	static const char *const kinds[] = {
		[HOLDER_CONTAINER] = "container", [HOLDER_PROCESS] = "process",
		[HOLDER_OPEN] = "open file",      [HOLDER_CLIENT] = "client",
		[HOLDER_STOCK] = "nobody yet",
	};
	lease_holder holder = principal->slot    ? principal->slot->holder
			      : principal->lease ? principal->lease->slot.holder
						 : 0;
	uint64_t kind = holder >> 56, number = holder & ((1ull << 56) - 1);

	if (holder == 0)
		snprintf(to, HOLDER_TEXT_MAX, "%s", principal->adopted ? "" : "shared");
	else if (kind == HOLDER_USERS && number > UINT32_MAX)
		snprintf(to, HOLDER_TEXT_MAX, "token");
	else if (kind == HOLDER_USERS)
		snprintf(to, HOLDER_TEXT_MAX, "uid %" PRIu64, number - 1);
	else
		snprintf(to, HOLDER_TEXT_MAX, "%s",
			 kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[kind] : "");
}

static json_t *json_principal(const struct principal *principal)
{
	const struct line *record = &principal->record;
	const struct pool *pool = principal->pool;
	char holder[HOLDER_TEXT_MAX];
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "id",
		record->lease_id, "state", state_name(principal->state), "project", pool->project,
		"config", pool->config, "secret", pool->secret, "integration", record->integration,
		"user", record->user, "arn", record->arn, "policy_name", record->policy_name,
		"access_key_id", record->access_key_id, "adopted", (int)principal->adopted, "start",
		json_time(record->start_ms), "expires", json_time(record->expires_ms), "last_end",
		json_time(record->last_end_ms));

	holder_text(holder, principal);
	json_object_set_new(object, "holder", json_string(holder));
	if (principal->state == PRINCIPAL_REVOKING)
		json_object_set_new(object, "reason", json_string(record->reason));
	if (principal->ending && principal->ending->troubles > 0)
		json_object_set_new(object, "error", json_error(&principal->ending->trouble));
	return object;
}

char *engine_leases_json(const struct engine *engine)
{
	json_t *leases = json_array();

	list_each (at, &engine->principals) {
		const struct principal *principal = container_of(at, struct principal, link);

		if (principal->state != PRINCIPAL_GONE)
			json_array_append_new(leases, json_principal(principal));
	}

	json_t *all = json_pack("{s:s, s:o}", "daemon", engine->daemon_id, "leases", leases);
	char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;

	json_decref(all);
	return text;
}
