/* reload.c: the configuration is read again, for an administrator who may not signal the daemon. */
#include "api/api_private.h"

void route_reload(struct call *call)
{
	struct dsec_error err;

	if (!call->api->reload)
		answer_error(call, MHD_HTTP_NOT_FOUND, "this daemon cannot be told to reload");
	else if (call->api->reload(call->api->reload_arg, &call->asker.caller, &err) < 0)
		answer_failure(call, &err);
	else
		answer_success(call);
}
