/*
 * credentials.c: what AWS's SDKs ask the URL in AWS_CONTAINER_CREDENTIALS_FULL_URI for, again and
 * again. They are given the lease that the files have.
 */
#include "api/api_private.h"

static void made(struct call *call, const struct lease *const *leases, size_t n,
		 const struct dsec_error *err)
{
	struct download body = {0};

	if (err) {
		answer_lease_failure(call, err);
		return;
	}
	if (call->asker.token)
		asker_tell(call, API_TOKEN_USED, call->asker.id, leases[0]);
	download_aws_container(&body, leases[0]);
	answer_body(call, MHD_HTTP_OK, ANSWER_TYPE_JSON, &body);
}

/* Which container, or process, a Unix socket's peer belongs to is not known here. */
static bool has_holder(struct call *call, const struct dynamic_secret *secret)
{
	if (call->asker.token || secret->scope == SCOPE_SHARED || secret->scope == SCOPE_USER)
		return true;
	answer_error(call, MHD_HTTP_BAD_REQUEST,
		     "%s has a scope that is told by the files, or by a token of one's own: 'dsec "
		     "tokens create'",
		     secret->name);
	return false;
}

void route_credentials(struct call *call)
{
	size_t index;

	if (!asker_find_config(call, call->segments[0], call->segments[1]))
		return;
	const struct dynamic_secret *secret =
		config_dynamic(call->config, call->segments[2], &index);
	if (!secret)
		answer_error(call, MHD_HTTP_NOT_FOUND,
			     "Could not find requested dynamic secret '%.128s'", call->segments[2]);
	else if (has_holder(call, secret))
		order_shared(call, UINT64_C(1) << index, made);
}
