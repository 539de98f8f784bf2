/* leases.c: the leases of the whole daemon, and each one's end. */
#include <string.h>

#include "api/api_private.h"

void route_leases(struct call *call)
{
	answer_text(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, engine_leases_json(call->api->engine));
}

/* The one that the path names; NULL when it has none of a possible length. */
static const char *lease_id(struct call *call)
{
	if (strlen(call->segments[0]) < LEASE_ID_MAX)
		return call->segments[0];
	answer_error(call, MHD_HTTP_NOT_FOUND, "there is no such lease");
	return NULL;
}

void route_lease_revoke(struct call *call)
{
	const char *id = lease_id(call);
	struct dsec_error err;

	if (!id || !asker_holds(call, id))
		return;
	if (engine_revoke(call->api->engine, id, &err) < 0) {
		answer_failure(call, &err);
	} else {
		asker_tell_lease(call, API_LEASE_REVOKE, id);
		answer_success(call);
	}
}

void route_lease_renew(struct call *call)
{
	static const char example[] = "{\"ttl_sec\": SECONDS}";
	const char *id = lease_id(call);
	json_int_t ttl_sec = 0;
	struct dsec_error err;

	if (!id || !asker_holds(call, id))
		return;
	json_t *body = call_body(call, example);
	if (!body)
		return;
	int read = json_unpack(body, "{s:I!}", "ttl_sec", &ttl_sec);
	json_decref(body);
	if (read < 0)
		answer_error(call, MHD_HTTP_BAD_REQUEST, "the body has to be %s", example);
	else if (ttl_sec < CATALOG_TTL_MIN_MS / 1000 || ttl_sec > INT32_MAX)
		answer_error(call, MHD_HTTP_BAD_REQUEST, "ttl_sec has to be at least 10");
	else if (engine_renew(call->api->engine, id, ttl_sec * 1000, &err) < 0) {
		answer_failure(call, &err);
	} else {
		asker_tell_lease(call, API_LEASE_RENEW, id);
		answer_success(call);
	}
}
