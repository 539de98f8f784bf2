#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "api/api_private.h"

/* How Doppler's command says that it is one: it tries again on 429, others on 503. */
#define DOPPLER_CLI "doppler-go-cli"

void answer_body(struct call *call, unsigned status, const char *type, struct download *body)
{
	static const char no_memory[] =
		"{\"messages\":[\"the daemon is short of memory\"],\"success\":false}";
	bool failed = body->failed;

	if (call->answer.status) {
		download_finish(body);
		return;
	}
	if (failed) {
		download_finish(body);
		download_text(body, no_memory);
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		type = ANSWER_TYPE_JSON;
	}
	call->answer.status = status;
	call->answer.type = type;
	call->answer.body = *body;
	*body = (struct download){0};
	exchange_resume(call);
}

void answer_stream(struct call *call)
{
	call->answer.status = MHD_HTTP_OK;
	call->answer.type = "text/event-stream";
}

void answer_text(struct call *call, unsigned status, const char *type, char *text)
{
	struct download body = {.failed = !text};

	if (text)
		download_text(&body, text);
	free(text);
	answer_body(call, status, type, &body);
}

void answer_json(struct call *call, unsigned status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	answer_text(call, status, ANSWER_TYPE_JSON, text);
}

void answer_success(struct call *call)
{
	answer_json(call, MHD_HTTP_OK, json_pack("{s:b}", "success", 1));
}

static void answer_messages(struct call *call, unsigned status, const char *message,
			    const char *more)
{
	json_t *messages = json_array();

	json_array_append_new(messages, json_string(message));
	if (more)
		json_array_append_new(messages, json_string(more));
	answer_json(call, status, json_pack("{s:o,s:b}", "messages", messages, "success", 0));
}

void answer_error(struct call *call, unsigned status, const char *format, ...)
{
	char raw[DSEC_ERROR_MESSAGE_MAX], message[DSEC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	dsec_print_safely(message, sizeof(message), raw);
	answer_messages(call, status, message, NULL);
}

void answer_failure(struct call *call, const struct dsec_error *err)
{
	unsigned status = err->kind == DSEC_ERROR_NOT_CONFIGURED ? MHD_HTTP_NOT_FOUND
			  : err->kind == DSEC_ERROR_INVALID      ? MHD_HTTP_BAD_REQUEST
								 : MHD_HTTP_BAD_GATEWAY;

	answer_messages(call, status, err->message, NULL);
}

void answer_lease_failure(struct call *call, const struct dsec_error *err)
{
	char message[2 * DSEC_ERROR_MESSAGE_MAX], advice[DSEC_ERROR_MESSAGE_MAX];

	/* The config is there: what is not is the TTL that was asked for. */
	if (err->kind == DSEC_ERROR_NOT_CONFIGURED) {
		answer_messages(call, MHD_HTTP_BAD_REQUEST, err->message, NULL);
		return;
	}
	snprintf(message, sizeof(message), "%s%s%s%s", err->message, err->code[0] ? " (AWS: " : "",
		 err->code, err->code[0] ? ")" : "");
	snprintf(advice, sizeof(advice), "what to do: %s", engine_advice(err->kind));
	answer_messages(call, MHD_HTTP_BAD_GATEWAY, message, advice);
}

/* Keyed, so that a name that lies about tells nothing of short values. */
void answer_name(const struct api *api, const struct download *body, char to[ANSWER_ETAG_MAX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	*to = '\0';
	if (!HMAC(EVP_sha256(), api->etag_key, sizeof(api->etag_key),
		  (const unsigned char *)body->bytes, body->n, digest, &n))
		return;
	*to++ = '"';
	for (unsigned i = 0; i < n && i < 32; i++, to += 2)
		snprintf(to, 3, "%02x", digest[i]);
	memcpy(to, "\"", 2);
}

void answer_later(struct call *call, const char *why)
{
	const char *agent = call_header(call, MHD_HTTP_HEADER_USER_AGENT);
	bool cli = agent && strncasecmp(agent, DOPPLER_CLI, strlen(DOPPLER_CLI)) == 0;

	call->answer.retry = true;
	answer_error(call, cli ? MHD_HTTP_TOO_MANY_REQUESTS : MHD_HTTP_SERVICE_UNAVAILABLE,
		     "%s: ask again", why);
}
