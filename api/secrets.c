/* secrets.c: a config's secrets one by one. */
#include <stdlib.h>

#include "api/api_private.h"

/* Doppler's client wants the visibilities as plain strings. */
static void put_secret(struct download *to, const struct call *call, const struct download_key *key,
		       const struct lease *const *leases)
{
	download_text(to, "\"");
	download_text(to, key->name);
	download_text(to, "\":{\"raw\":\"");
	download_json_value(to, call->config, key, leases);
	download_text(to, "\",\"computed\":\"");
	download_json_value(to, call->config, key, leases);
	download_text(to, "\",\"note\":\"\",\"rawVisibility\":\"masked\","
			  "\"computedVisibility\":\"masked\","
			  "\"rawValueType\":{\"type\":\"string\"},"
			  "\"computedValueType\":{\"type\":\"string\"}}");
}

static void answer_list(struct call *call, const struct wish *wish,
			const struct lease *const *leases)
{
	struct download body = {0};
	struct download_key *keys;
	struct dsec_error err;
	size_t n;

	if (download_chosen(&keys, &n, call->config, &wish->choice, &err) < 0) {
		answer_failure(call, &err);
		return;
	}
	download_text(&body, "{\"secrets\":{");
	for (size_t i = 0; i < n && !body.failed; i++) {
		download_text(&body, i > 0 ? "," : "");
		put_secret(&body, call, &keys[i], leases);
	}
	download_text(&body, "},\"success\":true}");
	free(keys);
	answer_body(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, &body);
}

void route_secrets(struct call *call)
{
	wish_grant(call, answer_list);
}

void route_names(struct call *call)
{
	const struct wish *wish = wish_read(call);
	struct download_key *keys;
	struct dsec_error err;
	size_t n;

	if (!wish)
		return;
	if (download_chosen(&keys, &n, call->config, &wish->choice, &err) < 0) {
		answer_failure(call, &err);
		return;
	}
	json_t *names = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(names, json_string(keys[i].name));
	free(keys);
	answer_json(call, MHD_HTTP_OK, json_pack("{s:o,s:b}", "names", names, "success", 1));
}

static void answer_one(struct call *call, const struct download_key *key)
{
	struct download body = {0};

	download_text(&body, "{\"name\":\"");
	download_text(&body, key->name);
	download_text(&body, "\",\"value\":{\"raw\":\"");
	download_json_value(&body, call->config, key, NULL);
	download_text(&body, "\",\"computed\":\"");
	download_json_value(&body, call->config, key, NULL);
	download_text(&body, "\",\"note\":\"\"},\"success\":true}");
	answer_body(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, &body);
}

void route_secret(struct call *call)
{
	const struct download_choice choice = {
		.only = call_parameter(call, "name"), .dynamics = true, .fixed = true};
	struct download_key *keys;
	struct dsec_error err;
	size_t n;

	if (!choice.only || !catalog_key_valid(choice.only)) {
		answer_error(call, MHD_HTTP_BAD_REQUEST, "say which secret: name=NAME");
		return;
	}
	if (download_chosen(&keys, &n, call->config, &choice, &err) < 0) {
		answer_failure(call, &err);
		return;
	}
	if (n == 0)
		answer_error(call, MHD_HTTP_NOT_FOUND, "Could not find requested secret '%.128s'",
			     choice.only);
	else if (keys[0].kind == KEY_DYNAMIC)
		answer_error(call, MHD_HTTP_NOT_FOUND,
			     "%s is a key of the dynamic secret %s, and looking at one does not "
			     "lease: download it with include_dynamic_secrets=true, or issue a "
			     "lease",
			     keys[0].name, call->config->dynamics[keys[0].index].name);
	else
		answer_one(call, &keys[0]);
	free(keys);
}
