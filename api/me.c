/* me.c: who asks, whether the daemon lives, and how it is. */
#include "api/api_private.h"
#include "lease/clock.h"

void route_ping(struct call *call)
{
	answer_success(call);
}

void route_me(struct call *call)
{
	char now[CLOCK_ISO_MAX];

	clock_iso(now, call->api->clock->calendar_ms(call->api->clock));
	answer_json(call, MHD_HTTP_OK,
		    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:s,s:s},s:b}", "slug", call->asker.id,
			      "name", call->asker.id, "created_at", now, "last_seen_at", now,
			      "type", "user", "token_preview", "", "workplace", "slug", "dsec",
			      "name", "dsec", "success", 1));
}

void route_metrics(struct call *call)
{
	answer_text(call, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		    engine_metrics_text(call->api->engine));
}
