#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/catalog.h"

#define LEASES_PATH "/v3/dsec/leases"

void api_answer_error(struct api_answer *answer, unsigned status, const char *message)
{
	json_t *json = json_pack("{s:[s],s:b}", "messages", message, "success", 0);

	answer->status = status;
	answer->json = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
}

static void answer_success(struct api_answer *answer)
{
	answer->status = 200;
	answer->json = strdup("{\"success\":true}");
}

static void answer_failure(struct api_answer *answer, const struct dsec_error *err)
{
	unsigned status = err->kind == DSEC_ERROR_NOT_CONFIGURED ? 404
			  : err->kind == DSEC_ERROR_INVALID      ? 400
								 : 502;

	api_answer_error(answer, status, err->message);
}

/* The lease's id between LEASES_PATH "/" and `end`; false when there is none of a possible length.
 */
static bool lease_id(char to[LEASE_ID_MAX], const char *rest, const char *end)
{
	size_t n = strlen(rest), tail = strlen(end);

	if (n < tail + 2 || rest[0] != '/' || strcmp(rest + n - tail, end) != 0)
		return false;
	n -= tail + 1;
	if (n >= LEASE_ID_MAX || memchr(rest + 1, '/', n))
		return false;
	memcpy(to, rest + 1, n);
	to[n] = '\0';
	return true;
}

static void list(struct engine *engine, struct api_answer *ret)
{
	ret->status = 200;
	ret->json = engine_leases_json(engine);
}

static void revoke(struct engine *engine, const char *id, struct api_answer *ret)
{
	struct dsec_error err;

	if (engine_revoke(engine, id, &err) < 0)
		answer_failure(ret, &err);
	else
		answer_success(ret);
}

static void renew(struct engine *engine, const char *id, const struct api_request *request,
		  struct api_answer *ret)
{
	struct dsec_error err;
	json_error_t where;
	json_int_t ttl_sec = 0;
	json_t *body =
		json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &where);
	int read = body ? json_unpack(body, "{s:I!}", "ttl_sec", &ttl_sec) : -1;

	json_decref(body);
	if (read < 0) {
		api_answer_error(ret, 400, "the body has to be {\"ttl_sec\": SECONDS}");
		return;
	}
	if (ttl_sec < CATALOG_TTL_MIN_MS / 1000 || ttl_sec > INT32_MAX) {
		api_answer_error(ret, 400, "ttl_sec has to be at least 10");
		return;
	}
	if (engine_renew(engine, id, ttl_sec * 1000, &err) < 0)
		answer_failure(ret, &err);
	else
		answer_success(ret);
}

void api_leases(struct engine *engine, const struct api_request *request, struct api_answer *ret)
{
	const char *rest = request->path + strlen(LEASES_PATH);
	char id[LEASE_ID_MAX];

	if (strncmp(request->path, LEASES_PATH, strlen(LEASES_PATH)) != 0)
		api_answer_error(ret, 404, "there is nothing at this path");
	else if (!*rest && strcmp(request->method, "GET") == 0)
		list(engine, ret);
	else if (strcmp(request->method, "DELETE") == 0 && lease_id(id, rest, ""))
		revoke(engine, id, ret);
	else if (strcmp(request->method, "POST") == 0 && lease_id(id, rest, "/renew"))
		renew(engine, id, request, ret);
	else
		api_answer_error(ret, 404, "there is nothing at this path for this method");
}
