/* token_routes.c: the tokens themselves, for administrators. */
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/duration.h"
#include "lease/secret.h"

#define EXAMPLE                                                                                    \
	"{\"project\": …, \"config\": …, \"ttl_sec\": SECONDS or none, \"held\": true or none}"

static bool have_tokens(struct call *call)
{
	if (call->api->tokens)
		return true;
	answer_error(call, MHD_HTTP_NOT_FOUND, "this daemon keeps no tokens");
	return false;
}

void route_tokens(struct call *call)
{
	if (have_tokens(call))
		answer_json(call, MHD_HTTP_OK,
			    json_pack("{s:o,s:b}", "tokens", tokens_list(call->api->tokens),
				      "success", 1));
}

static bool read_ttl(struct call *call, const json_t *body, int64_t *ret_ms)
{
	const json_t *ttl = json_object_get(body, "ttl_sec");
	json_int_t seconds = json_integer_value(ttl);

	*ret_ms = 0;
	if (!ttl || json_is_null(ttl))
		return true;
	if (seconds < 1 || seconds > DURATION_MAX_MS / 1000) {
		answer_error(call, MHD_HTTP_BAD_REQUEST,
			     "ttl_sec has to be from 1 to %d, or not there for a token that does "
			     "not expire",
			     (int)(DURATION_MAX_MS / 1000));
		return false;
	}
	*ret_ms = seconds * 1000;
	return true;
}

/* The process at the other end, to hold a token. It waits for the answer, and so is still it. */
static bool read_holder(struct call *call, struct token_process *ret)
{
	const struct who *who = call->asker.caller.who;

	if (who && call->client->peer.local && who->start) {
		*ret = (struct token_process){.pid = who->pid, .start = who->start};
		return true;
	}
	answer_error(call, MHD_HTTP_BAD_REQUEST,
		     "dsec cannot see the process that asks, which is to hold the token (is it on "
		     "TCP, or /proc mounted with hidepid?)");
	return false;
}

/* The token is in this answer and nowhere else: not even in a JSON value on its way. */
static void answer_created(struct call *call, const struct token *token, const char *text)
{
	json_t *json = token_json(token);
	char *rest = json ? json_dumps(json, JSON_COMPACT) : NULL;
	struct download body = {.failed = !rest};

	download_text(&body, "{\"token\":\"");
	download_json_text(&body, text);
	download_text(&body, "\",\"success\":true,");
	download_text(&body, rest ? rest + 1 : "");
	free(rest);
	json_decref(json);
	answer_body(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, &body);
}

/* As its bearer is called in the audit log, too. */
static void tell(const struct call *call, enum api_token_what what, const char *token_id)
{
	char id[PEER_ID_MAX];

	asker_token_id(id, token_id);
	asker_tell(call, what, id, NULL);
}

static void create(struct call *call, const json_t *body)
{
	const char *project = json_string_value(json_object_get(body, "project"));
	const char *config = json_string_value(json_object_get(body, "config"));
	char text[TOKEN_TEXT_MAX];
	const struct token *token;
	struct token_wish wish = {.project = project, .config = config};
	struct dsec_error err;

	if (!project || !config || !catalog_config(call->catalog, project, config)) {
		answer_error(call, MHD_HTTP_NOT_FOUND,
			     "Could not find requested config '%.128s' of project '%.128s'",
			     config ? config : "", project ? project : "");
		return;
	}
	if (!read_ttl(call, body, &wish.ttl_ms) ||
	    (json_is_true(json_object_get(body, "held")) && !read_holder(call, &wish.holder)))
		return;
	if (tokens_create(call->api->tokens, &wish, text, &token, &err) < 0) {
		answer_failure(call, &err);
	} else {
		tell(call, API_TOKEN_CREATED, token->id);
		answer_created(call, token, text);
	}
	secret_wipe(text, sizeof(text));
}

void route_token_create(struct call *call)
{
	json_t *body = have_tokens(call) ? call_body(call, EXAMPLE) : NULL;

	if (body)
		create(call, body);
	json_decref(body);
}

void route_token_hold(struct call *call)
{
	struct token_process process;
	struct dsec_error err;

	if (!have_tokens(call) || !read_holder(call, &process))
		return;
	if (tokens_hold(call->api->tokens, call->segments[0], &process, &err) < 0)
		answer_failure(call, &err);
	else
		answer_success(call);
}

/* Whoever still waits by that token gets nothing any more. */
static void end_calls(struct api *api, const char *id)
{
	char asker[PEER_ID_MAX];

	asker_token_id(asker, id);
	list_each (at, &api->clients) {
		struct call *call = container_of(at, struct client, link)->call;

		if (call && strcmp(call->asker.id, asker) == 0)
			exchange_gone(call);
	}
}

void route_token_revoke(struct call *call)
{
	const char *id = call->segments[0];
	struct dsec_error err;

	if (!have_tokens(call))
		return;
	int r = tokens_revoke(call->api->tokens, id, &err);
	end_calls(call->api, id);
	if (r < 0) {
		answer_failure(call, &err);
		return;
	}
	tell(call, API_TOKEN_REVOKED, id);
	answer_success(call);
}
