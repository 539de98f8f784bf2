/* wish.c: what of a config a request wants, and which leases that takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

static bool read_names(struct call *call, struct download_choice *choice)
{
	const char *format = call_parameter(call, "format");
	const char *names = call_parameter(call, "name_transformer");

	if (format && *format && download_format_find(format, &choice->format) < 0) {
		answer_error(call, MHD_HTTP_BAD_REQUEST,
			     "invalid format. Valid formats are json, dotnet-json, env, yaml, "
			     "docker, env-no-quotes");
		return false;
	}
	if (names && *names && download_names_find(names, &choice->names) < 0) {
		answer_error(call, MHD_HTTP_BAD_REQUEST,
			     "invalid name transformer. Valid name transformers are upper-camel, "
			     "camel, lower-snake, lower-kebab, tf-var, dotnet, dotnet-env");
		return false;
	}
	return true;
}

static bool read_ttl(struct call *call, int64_t *ret_ms)
{
	const char *text = call_parameter(call, "dynamic_secrets_ttl_sec");
	char *end;

	*ret_ms = 0;
	if (!text || !*text)
		return true;
	errno = 0;
	long long seconds = strtoll(text, &end, 10);
	if (*end || errno || !wish_ttl(seconds, ret_ms)) {
		answer_error(call, MHD_HTTP_BAD_REQUEST,
			     "dynamic_secrets_ttl_sec has to be a number of seconds, at least %d",
			     CATALOG_TTL_MIN_MS / 1000);
		return false;
	}
	return true;
}

bool wish_ttl(long long seconds, int64_t *ret_ms)
{
	if (seconds < CATALOG_TTL_MIN_MS / 1000 || seconds > INT32_MAX)
		return false;
	*ret_ms = (int64_t)seconds * 1000;
	return true;
}

struct wish *wish_read(struct call *call)
{
	struct wish *wish = alloc_zeroed(1, sizeof(*wish));
	const char *only = call_parameter(call, "secrets");
	struct dsec_error err;

	call->detail = wish;
	if (only && *only)
		wish->choice.only = only;
	if (!read_names(call, &wish->choice) || !read_ttl(call, &wish->ttl_ms) ||
	    !call_flag(call, "include_dynamic_secrets", false, &wish->choice.dynamics) ||
	    !call_flag(call, "include_managed_secrets", true, &wish->choice.fixed))
		return NULL;
	if (download_needs(&wish->secrets, call->config, &wish->choice, &err) < 0) {
		answer_failure(call, &err);
		return NULL;
	}
	return wish;
}

static void ready(struct call *call, const struct lease *const *leases, size_t n,
		  const struct dsec_error *err)
{
	const struct wish *wish = call->detail;
	const struct lease *of[CATALOG_DYNAMICS_MAX];

	if (err) {
		answer_lease_failure(call, err);
		return;
	}
	for (size_t i = 0; i < CATALOG_DYNAMICS_MAX; i++)
		of[i] = wish->secrets & UINT64_C(1) << i ? *leases++ : NULL;
	wish->granted(call, wish, of);
}

void wish_grant(struct call *call, wish_granted *granted)
{
	struct wish *wish = wish_read(call);

	if (!wish)
		return;
	wish->granted = granted;
	if (wish->secrets)
		order_own(call, wish->secrets, wish->ttl_ms, ready);
	else
		granted(call, wish, NULL);
}
