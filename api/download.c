/* download.c: the whole config in a format. */
#include <string.h>

#include "api/api_private.h"

static const char *type_of(enum download_format format)
{
	return format == FORMAT_JSON || format == FORMAT_DOTNET_JSON ? ANSWER_TYPE_JSON
								     : ANSWER_TYPE_TEXT;
}

/* Without leases, a client may keep what it has as long as it is the same. */
static void answer_static(struct call *call, const struct wish *wish)
{
	const char *known = call_header(call, MHD_HTTP_HEADER_IF_NONE_MATCH);
	struct download body = {0}, none = {0};

	if (download_render_as(&body, call->config, NULL, &wish->choice) == 0)
		answer_name(call->api, &body, call->answer.etag);
	if (known && call->answer.etag[0] && strcmp(known, call->answer.etag) == 0) {
		download_finish(&body);
		answer_body(call, MHD_HTTP_NOT_MODIFIED, type_of(wish->choice.format), &none);
	} else {
		answer_body(call, MHD_HTTP_OK, type_of(wish->choice.format), &body);
	}
}

static void answer_granted(struct call *call, const struct wish *wish,
			   const struct lease *const *leases)
{
	struct download body = {0};

	if (!leases) {
		answer_static(call, wish);
		return;
	}
	download_render_as(&body, call->config, leases, &wish->choice);
	answer_body(call, MHD_HTTP_OK, type_of(wish->choice.format), &body);
}

void route_download(struct call *call)
{
	wish_grant(call, answer_granted);
}
