/* issue.c: one lease of one dynamic secret, and its end, as Doppler's SDKs ask for them. */
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"
#include "lease/clock.h"

#define ISSUE_EXAMPLE  "{\"project\": …, \"config\": …, \"dynamic_secret\": …, \"ttl_sec\": …}"
#define REVOKE_EXAMPLE "{\"project\": …, \"config\": …, \"dynamic_secret\": …, \"slug\": LEASE_ID}"

static const char *member(const json_t *body, const char *name)
{
	return json_string_value(json_object_get(body, name));
}

/* Finds config and dynamic secret. False: the call is answered. */
static bool find_secret(struct call *call, const json_t *body, size_t *ret_index)
{
	const char *name = member(body, "dynamic_secret");

	if (!asker_find_config(call, member(body, "project"), member(body, "config")))
		return false;
	if (!name) {
		answer_error(call, MHD_HTTP_BAD_REQUEST, "say which dynamic_secret");
		return false;
	}
	if (!config_dynamic(call->config, name, ret_index)) {
		answer_error(call, MHD_HTTP_NOT_FOUND,
			     "Could not find requested dynamic secret '%.128s'", name);
		return false;
	}
	return true;
}

static bool read_ttl(struct call *call, const json_t *body, int64_t *ret_ms)
{
	const json_t *ttl = json_object_get(body, "ttl_sec");

	*ret_ms = 0;
	if (!ttl || json_is_null(ttl))
		return true;
	if (json_is_integer(ttl) && wish_ttl(json_integer_value(ttl), ret_ms))
		return true;
	answer_error(call, MHD_HTTP_BAD_REQUEST,
		     "ttl_sec has to be a number of seconds, at least %d",
		     CATALOG_TTL_MIN_MS / 1000);
	return false;
}

static void put_value(struct download *to, const struct call *call, size_t index,
		      const struct lease *lease)
{
	const struct lease *of[CATALOG_DYNAMICS_MAX] = {NULL};
	struct download_key key = {.kind = KEY_DYNAMIC, .index = index};

	of[index] = lease;
	for (int property = 0; property < PROPERTIES; property++) {
		key.property = (enum download_property)property;
		download_text(to, property > 0 ? ",\"" : "\"");
		download_text(to, download_property_suffix(key.property));
		download_text(to, "\":\"");
		download_json_value(to, call->config, &key, of);
		download_text(to, "\"");
	}
}

static void made(struct call *call, const struct lease *const *leases, size_t n,
		 const struct dsec_error *err)
{
	const struct wish *wish = call->detail;
	struct download body = {0};
	char expires[CLOCK_ISO_MAX];

	if (err) {
		answer_lease_failure(call, err);
		return;
	}
	clock_iso(expires, leases[0]->expires_ms);
	download_text(&body, "{\"success\":true,\"id\":\"");
	download_json_text(&body, leases[0]->id);
	download_text(&body, "\",\"expires_at\":\"");
	download_text(&body, expires);
	download_text(&body, "\",\"value\":{");
	put_value(&body, call, (size_t)__builtin_ctzll(wish->secrets), leases[0]);
	download_text(&body, "}}");
	answer_body(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, &body);
}

void route_issue(struct call *call)
{
	struct wish *wish = alloc_zeroed(1, sizeof(*wish));
	json_t *body = call_body(call, ISSUE_EXAMPLE);
	size_t index;

	call->detail = wish;
	if (!body)
		return;
	if (find_secret(call, body, &index) && read_ttl(call, body, &wish->ttl_ms)) {
		wish->secrets = UINT64_C(1) << index;
		order_own(call, wish->secrets, wish->ttl_ms, made);
	}
	json_decref(body);
}

static void revoke_lease(struct call *call, const char *id)
{
	struct dsec_error err;

	if (!id)
		answer_error(call, MHD_HTTP_BAD_REQUEST, "the body has to be %s", REVOKE_EXAMPLE);
	else if (!asker_holds(call, id))
		return;
	else if (engine_revoke(call->api->engine, id, &err) < 0) {
		answer_failure(call, &err);
	} else {
		asker_tell_lease(call, API_LEASE_REVOKE, id);
		answer_success(call);
	}
}

void route_revoke(struct call *call)
{
	json_t *body = call_body(call, REVOKE_EXAMPLE);
	size_t index;

	if (!body)
		return;
	if (find_secret(call, body, &index))
		revoke_lease(call, member(body, "slug"));
	json_decref(body);
}
