/*
 * The endpoints for tests: POST /_control, GET /_state, GET /_log, GET /_wait.
 */
#include <limits.h>
#include <string.h>

#include "form.h"
#include "server.h"

#define WAIT_SECONDS_DEFAULT 30

static void answer_json(struct server *server, struct exchange *exchange, unsigned status,
			json_t *json)
{
	char *body = json_dumps(json, JSON_COMPACT);

	exchange->answer.status = status;
	exchange->answer.content_type = "application/json";
	text_add(&exchange->answer.body, body ? body : "null");
	free(body);
	json_decref(json);
	exchange_finish(server, exchange);
}

static int64_t seconds_to_ms(const json_t *seconds)
{
	return (int64_t)(json_number_value(seconds) * 1000);
}

struct member {
	const char *name;
	/* NULL, or what is wrong with the value, for free(). */
	char *(*apply)(struct server *server, const json_t *value);
};

/* Applies each member of the object, in the order of the table. */
static char *apply_members(struct server *server, const json_t *object,
			   const struct member *members, size_t n)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return must_strdup("not an object");
	json_object_foreach((json_t *)object, key, value)
	{
		size_t i = 0;

		while (i < n && strcmp(members[i].name, key) != 0)
			i++;
		if (i == n)
			return must_printf("no such member: %s", key);
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *wanted = json_object_get(object, members[i].name);
		char *wrong = wanted ? members[i].apply(server, wanted) : NULL;

		if (wrong)
			return wrong;
	}
	return NULL;
}

static char *apply_number(const json_t *value, int64_t *ret_ms)
{
	if (!json_is_number(value))
		return must_strdup("not a number of seconds");
	*ret_ms = seconds_to_ms(value);
	return NULL;
}

static char *apply_unsigned(const json_t *value, unsigned *ret)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > UINT_MAX)
		return must_strdup("not a whole number");
	*ret = (unsigned)json_integer_value(value);
	return NULL;
}

static char *apply_bool(const json_t *value, bool *ret)
{
	if (!json_is_boolean(value))
		return must_strdup("not a boolean");
	*ret = json_is_true(value);
	return NULL;
}

#define MEMBER(function, kind, target)                                                             \
	static char *function(struct server *server, const json_t *value)                          \
	{                                                                                          \
		return apply_##kind(value, &server->target);                                       \
	}

MEMBER(apply_users_delay, number, store->consistency.users_ms)
MEMBER(apply_keys_delay, number, store->consistency.keys_ms)
MEMBER(apply_policies_delay, number, store->consistency.policies_ms)
MEMBER(apply_deletions_delay, number, store->consistency.deletions_ms)
MEMBER(apply_fresh, unsigned, store->consistency.fresh)
MEMBER(apply_of, unsigned, store->consistency.of)
MEMBER(apply_date_off, number, settings.date_off_ms)
MEMBER(apply_signature_off, number, settings.signature_off_ms)
MEMBER(apply_policy_off, number, settings.policy_off_ms)
MEMBER(apply_page_size, unsigned, settings.page_size)
MEMBER(apply_empty_pages, bool, settings.empty_pages)
MEMBER(apply_sts, bool, settings.sts)
MEMBER(apply_account_summary, bool, settings.account_summary)

static char *apply_users_quota(struct server *server, const json_t *value)
{
	unsigned quota = 0;
	char *wrong = apply_unsigned(value, &quota);

	if (!wrong)
		server->settings.users_quota = quota;
	return wrong;
}

static char *apply_consistency(struct server *server, const json_t *value)
{
	static const struct member members[] = {
		{"users_s", apply_users_delay},
		{"keys_s", apply_keys_delay},
		{"policies_s", apply_policies_delay},
		{"deletions_s", apply_deletions_delay},
		{"fresh", apply_fresh},
		{"of", apply_of},
	};

	return apply_members(server, value, members, sizeof(members) / sizeof(members[0]));
}

static char *apply_clock(struct server *server, const json_t *value)
{
	static const struct member members[] = {
		{"date_s", apply_date_off},
		{"signatures_s", apply_signature_off},
		{"policies_s", apply_policy_off},
	};

	return apply_members(server, value, members, sizeof(members) / sizeof(members[0]));
}

static char *apply_reset(struct server *server, const json_t *value)
{
	if (json_is_true(value)) {
		faults_clear(&server->faults);
		server_default_settings(server);
	}
	return NULL;
}

static char *apply_clear_faults(struct server *server, const json_t *value)
{
	if (json_is_true(value))
		faults_clear(&server->faults);
	return NULL;
}

static char *apply_faults(struct server *server, const json_t *value)
{
	char *wrong = json_is_array(value) ? NULL : must_strdup("faults: not an array");

	for (size_t i = 0; !wrong && i < json_array_size(value); i++)
		wrong = faults_add(&server->faults, json_array_get(value, i));
	return wrong;
}

static char *apply_release(struct server *server, const json_t *value)
{
	const char *action = "*", *user = "*";
	json_error_t error;
	int drop = 0;

	if (json_unpack_ex((json_t *)value, &error, JSON_STRICT, "{s?s s?s s?b}", "action", &action,
			   "user", &user, "drop", &drop) < 0)
		return must_printf("release: %s", error.text);
	calls_release(server, action, user, drop);
	return NULL;
}

static char *apply_control(struct server *server, const json_t *value)
{
	static const struct member members[] = {
		{"reset", apply_reset},
		{"clear_faults", apply_clear_faults},
		{"principals", server_add_principals},
		{"consistency", apply_consistency},
		{"clock", apply_clock},
		{"users_quota", apply_users_quota},
		{"page_size", apply_page_size},
		{"empty_pages", apply_empty_pages},
		{"sts", apply_sts},
		{"account_summary", apply_account_summary},
		{"faults", apply_faults},
		{"release", apply_release},
	};

	return apply_members(server, value, members, sizeof(members) / sizeof(members[0]));
}

static void step_control(struct server *server, struct exchange *exchange)
{
	json_error_t error;
	json_t *wanted = json_loads(text_string(&exchange->body), JSON_REJECT_DUPLICATES, &error);
	_cleanup_free_ char *wrong =
		wanted ? apply_control(server, wanted) : must_printf("no JSON: %s", error.text);

	json_decref(wanted);
	if (wrong)
		answer_json(server, exchange, 400, json_pack("{s:s}", "error", wrong));
	else
		answer_json(server, exchange, 200, json_pack("{s:o}", "held", calls_held(server)));
}

static void step_state(struct server *server, struct exchange *exchange)
{
	answer_json(server, exchange, 200, server_state(server));
}

static struct form *query_of(const struct exchange *exchange)
{
	const char *query = strchr(exchange->target, '?');

	return form_parse(query ? query + 1 : "", query ? strlen(query + 1) : 0);
}

static void step_log(struct server *server, struct exchange *exchange)
{
	struct form *query = query_of(exchange);
	const char *since = form_get(query, "since");

	answer_json(server, exchange, 200,
		    record_json(&server->record, since ? strtoull(since, NULL, 10) : 0));
	form_free(query);
}

/* What /_wait waits for: so many calls held, or so many of an action received or carried out. */
struct wait {
	unsigned held;
	char *action;
	int64_t received, effects;
	int64_t until;
};

static void free_wait(void *work)
{
	struct wait *wait = work;

	free(wait->action);
	free(wait);
}

static int64_t number_of(const struct form *query, const char *name)
{
	const char *value = form_get(query, name);

	return value ? strtoll(value, NULL, 10) : 0;
}

static void step_wait(struct server *server, struct exchange *exchange)
{
	const struct wait *wait = exchange->work;
	bool come = server->n_held >= wait->held &&
		    record_total(&server->record, wait->action, "received") >= wait->received &&
		    record_total(&server->record, wait->action, "effects") >= wait->effects;

	if (come || clock_monotonic_ms() >= wait->until)
		answer_json(server, exchange, come ? 200 : 408,
			    json_pack("{s:o}", "held", calls_held(server)));
}

static void begin_wait(struct exchange *exchange)
{
	struct form *query = query_of(exchange);
	struct wait *wait = must_alloc(sizeof(*wait));
	const char *action = form_get(query, "action"), *timeout = form_get(query, "timeout");
	double seconds = timeout ? strtod(timeout, NULL) : WAIT_SECONDS_DEFAULT;

	wait->held = (unsigned)number_of(query, "held");
	wait->action = must_strdup(action ? action : "");
	wait->received = number_of(query, "received");
	wait->effects = number_of(query, "effects");
	wait->until = clock_monotonic_ms() + (int64_t)(seconds * 1000);
	exchange->work = wait;
	exchange->free_work = free_wait;
	exchange->step = step_wait;
	exchange->wake_at = wait->until;
	form_free(query);
}

static void step_unknown(struct server *server, struct exchange *exchange)
{
	answer_json(server, exchange, 404, json_pack("{s:s}", "error", "no such endpoint"));
}

void control_begin(struct server *server, struct exchange *exchange)
{
	static const struct {
		const char *method, *path;
		void (*step)(struct server *server, struct exchange *exchange);
	} endpoints[] = {
		{"POST", "/_control", step_control},
		{"GET", "/_state", step_state},
		{"GET", "/_log", step_log},
	};
	size_t n = strcspn(exchange->target, "?");

	exchange->step = step_unknown;
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
		if (!strcmp(endpoints[i].method, exchange->method) &&
		    strlen(endpoints[i].path) == n &&
		    !strncmp(endpoints[i].path, exchange->target, n))
			exchange->step = endpoints[i].step;
	if (!strcmp(exchange->method, "GET") && n == strlen("/_wait") &&
	    !strncmp(exchange->target, "/_wait", n))
		begin_wait(exchange);
}
