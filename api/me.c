/* me.c: who asks, whether the daemon lives, and how it is. */
#include <stdio.h>

#include "api/api_private.h"
#include "lease/clock.h"

void route_ping(struct call *call)
{
	answer_success(call);
}

static void answer_token(struct call *call, const struct token *token, const char *now)
{
	char created[CLOCK_ISO_MAX], preview[CATALOG_NAME_MAX + 16], name[2 * CATALOG_NAME_MAX + 2];

	clock_iso(created, token->created_ms);
	snprintf(preview, sizeof(preview), "dp.st.%s.…", token->config);
	snprintf(name, sizeof(name), "%s/%s", token->project, token->config);
	answer_json(call, MHD_HTTP_OK,
		    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:s,s:s},s:b}", "slug", token->id,
			      "name", name, "created_at", created, "last_seen_at", now, "type",
			      "service_token", "token_preview", preview, "workplace", "slug",
			      "dsec", "name", "dsec", "success", 1));
}

void route_me(struct call *call)
{
	const struct token *token =
		call->asker.token ? tokens_find(call->api->tokens, call->asker.token) : NULL;
	char now[CLOCK_ISO_MAX];

	clock_iso(now, call->api->clock->calendar_ms(call->api->clock));
	if (token) {
		answer_token(call, token, now);
		return;
	}
	answer_json(call, MHD_HTTP_OK,
		    json_pack("{s:s,s:s,s:n,s:s,s:s,s:s,s:{s:s,s:s},s:b}", "slug", call->asker.id,
			      "name", call->asker.id, "created_at", "last_seen_at", now, "type",
			      call->asker.admin ? "administrator" : "user", "token_preview", "",
			      "workplace", "slug", "dsec", "name", "dsec", "success", 1));
}

void route_metrics(struct call *call)
{
	/* They name all configs. */
	if ((!call->asker.token || catalog_hides(call->catalog)) && !asker_need_admin(call))
		return;
	answer_text(call, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		    engine_metrics_text(call->api->engine));
}
