#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define BODY_SIZE_FIRST 1024

static struct call *call_new(struct api *api, struct client *client,
			     struct MHD_Connection *connection)
{
	struct call *call = alloc_zeroed(1, sizeof(*call));

	call->api = api;
	call->client = client;
	call->connection = connection;
	call->catalog = catalog_ref(api->catalog);
	client->call = call;
	return call;
}

static void forget_handed(struct call *call)
{
	for (size_t i = 0; i < call->n_handed; i++)
		lease_unref(call->handed[i]);
	free(call->handed);
	call->handed = NULL;
	call->n_handed = 0;
}

static void call_free(struct call *call)
{
	forget_handed(call);
	download_finish(&call->answer.body);
	catalog_unref(call->catalog);
	timer_disarm(&call->api->timers, &call->delay);
	secret_wipe(call->body, call->size);
	free(call->body);
	free(call->detail);
	if (call->client)
		call->client->call = NULL;
	free(call);
}

static void receive(struct call *call, const char *data, size_t n)
{
	if (call->too_long || n > API_BODY_SIZE_MAX - call->n) {
		call->too_long = true;
		return;
	}
	if (call->n + n + 1 > call->size) {
		size_t size = call->size ? call->size : BODY_SIZE_FIRST;

		while (size < call->n + n + 1)
			size *= 2;
		call->body = alloc_resized(call->body, size, 1);
		call->size = size;
	}
	memcpy(call->body + call->n, data, n);
	call->n += n;
	call->body[call->n] = '\0';
}

/* The answer's bytes belong to libmicrohttpd from here on, which says when they were sent. */

static void wipe_sent(void *arg)
{
	struct download *body = arg;

	download_finish(body);
	free(body);
}

static struct MHD_Response *take_body(struct answer *answer)
{
	static char nothing[1];
	struct download *body = alloc_zeroed(1, sizeof(*body));
	struct MHD_Response *response;

	*body = answer->body;
	answer->body = (struct download){0};
	response = MHD_create_response_from_buffer_with_free_callback_cls(
		body->n, body->n ? body->bytes : nothing, wipe_sent, body);
	if (!response)
		wipe_sent(body);
	return response;
}

static enum MHD_Result send_answer(struct call *call)
{
	struct answer *answer = &call->answer;
	struct MHD_Response *response = call->watcher ? watch_response(call) : take_body(answer);

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (answer->etag[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, answer->etag);
	if (answer->retry)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, ANSWER_RETRY_AFTER);
	if (answer->challenge)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	enum MHD_Result result = MHD_queue_response(call->connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

void exchange_suspend(struct call *call)
{
	call->suspended = true;
	MHD_suspend_connection(call->connection);
	client_watch(call->client);
}

void exchange_resume(struct call *call)
{
	if (!call->suspended)
		return;
	call->suspended = false;
	client_unwatch(call->client);
	MHD_resume_connection(call->connection);
	call->api->resumed = true;
}

static enum MHD_Result proceed(struct call *call)
{
	if (!call->handled) {
		call->handled = true;
		client_has_asked(call->client);
		if (call->n == 0 && call->client->unframed)
			receive(call, call->client->unframed, call->client->n_unframed);
		if (call->too_long)
			answer_error(call, MHD_HTTP_CONTENT_TOO_LARGE,
				     "a request's body has at most %u bytes", API_BODY_SIZE_MAX);
		else
			router_handle(call);
	}
	/* A lease must not be written to somebody who does not read it. */
	if (call->gone || client_is_gone(call->client))
		return MHD_NO;
	if (call->answer.status)
		return send_answer(call);
	exchange_suspend(call);
	return MHD_YES;
}

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

enum MHD_Result exchange_handle(void *arg, struct MHD_Connection *connection, const char *url,
				const char *method, const char *version, const char *data,
				size_t *data_size, void **request_arg)
{
	struct listener *listener = arg;
	struct call *call = *request_arg;

	if (!call) {
		struct client *client = client_of(connection);

		if (!client || client->call)
			return MHD_NO;
		*request_arg = call_new(listener->api, client, connection);
		return MHD_YES;
	}
	if (*data_size > 0) {
		receive(call, data, *data_size);
		*data_size = 0;
		return MHD_YES;
	}
	call->method = method;
	call->path = url;
	return proceed(call);
}

void exchange_gone(struct call *call)
{
	call->gone = true;
	timer_disarm(&call->api->timers, &call->delay);
	order_leave(call);
	exchange_resume(call);
}

void exchange_completed(void *arg, struct MHD_Connection *connection, void **request_arg,
			enum MHD_RequestTerminationCode code)
{
	struct call *call = *request_arg;
	struct dsec_error ignored;

	if (!call)
		return;
	*request_arg = NULL;
	client_unwatch(call->client);
	order_leave(call);
	watch_end(call);
	bool sent =
		code == MHD_REQUEST_TERMINATED_COMPLETED_OK && call->answer.status == MHD_HTTP_OK;
	for (size_t i = 0; i < call->n_handed; i++) {
		if (sent && call->asker.token)
			asker_tell(call, API_TOKEN_USED, call->asker.id, call->handed[i]);
		if (sent)
			issued_add(call->api, call->handed[i], call->asker.id);
		else
			engine_revoke(call->api->engine, call->handed[i]->id, &ignored);
	}
	call_free(call);
}

const char *call_parameter(const struct call *call, const char *name)
{
	return MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *call_header(const struct call *call, const char *name)
{
	return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

bool call_flag(struct call *call, const char *name, bool otherwise, bool *ret)
{
	const char *text = call_parameter(call, name);

	*ret = otherwise;
	if (!text || !*text)
		return true;
	*ret = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	if (*ret || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
		return true;
	answer_error(call, MHD_HTTP_BAD_REQUEST, "%s has to be true or false", name);
	return false;
}

json_t *call_body(struct call *call, const char *example)
{
	json_error_t where;
	json_t *body =
		json_loadb(call->body ? call->body : "", call->n, JSON_REJECT_DUPLICATES, &where);

	if (json_is_object(body))
		return body;
	json_decref(body);
	answer_error(call, MHD_HTTP_BAD_REQUEST, "the body has to be %s", example);
	return NULL;
}
