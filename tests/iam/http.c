#include "http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONNECTIONS_MAX       1024
#define CONNECTION_MEMORY_MAX (64UL * 1024) /* headers; bodies are ours */
#define HUGE_SIZE             (64UL * 1024 * 1024)
#define BLOCK_SIZE            (32UL * 1024)

struct http {
	struct server *server;
	struct MHD_Daemon *daemon;
	bool secure;
};

/* Called with the request line's target as it came, which the signature is over. What it returns
 * becomes the request's `con_cls`. */
static void *begin_exchange(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct exchange *exchange = must_alloc(sizeof(*exchange));

	exchange->connection = connection;
	exchange->target = must_strdup(target);
	return exchange;
}

static void end_exchange(void *arg, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	struct http *http = arg;
	struct exchange *exchange = *con_cls;

	*con_cls = NULL;
	if (!exchange)
		return;
	if (exchange->step)
		server_forget(http->server, exchange);
	for (size_t i = 0; i < exchange->n_headers; i++) {
		free((char *)exchange->headers[i].name);
		free((char *)exchange->headers[i].value);
	}
	free(exchange->method);
	free(exchange->target);
	free(exchange->answer.request_id);
	text_clear(&exchange->answer.body);
	text_clear(&exchange->body);
	free(exchange);
}

static enum MHD_Result add_header(void *arg, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	struct exchange *exchange = arg;
	char *lower;

	if (exchange->n_headers == EXCHANGE_HEADERS_MAX)
		return MHD_NO;
	lower = must_strdup(name);
	for (char *at = lower; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	exchange->headers[exchange->n_headers] =
		(struct header){lower, must_strdup(value ? value : "")};
	exchange->n_headers++;
	return MHD_YES;
}

static void read_head(const struct http *http, struct exchange *exchange, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr_in *address = (const struct sockaddr_in *)info->client_addr;

	exchange->method = must_strdup(method);
	exchange->secure = http->secure;
	inet_ntop(AF_INET, &address->sin_addr, exchange->source_ip, sizeof(exchange->source_ip));
	MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, add_header, exchange);
}

struct stream {
	bool dies; /* when all is sent: the announced size was larger */
	struct text body;
	uint64_t padding; /* how much white space follows the body; UINT64_MAX: without end */
};

static ssize_t read_stream(void *arg, uint64_t at, char *to, size_t room)
{
	const struct stream *stream = arg;

	if (at < stream->body.size) {
		size_t n = stream->body.size - at < room ? stream->body.size - at : room;

		memcpy(to, stream->body.data + at, n);
		return (ssize_t)n;
	}
	if (stream->dies || at - stream->body.size >= stream->padding)
		return MHD_CONTENT_READER_END_WITH_ERROR;

	size_t n = stream->padding - (at - stream->body.size) < room
			   ? (size_t)(stream->padding - (at - stream->body.size))
			   : room;

	memset(to, ' ', n);
	return (ssize_t)n;
}

static void free_stream(void *arg)
{
	struct stream *stream = arg;

	text_clear(&stream->body);
	free(stream);
}

/* The answers that no buffer holds. White space in front of the end tag keeps them XML. */
static struct MHD_Response *stream_response(struct answer *answer)
{
	struct stream *stream = must_alloc(sizeof(*stream));
	uint64_t size = answer->body.size;

	stream->body = answer->body;
	answer->body = (struct text){0};
	if (answer->shape == ANSWER_BROKEN) {
		stream->body.size /= 2;
		stream->dies = true;
	} else {
		size_t end = stream->body.size;

		while (end > 0 && stream->body.data[end - 1] != '<')
			end--;
		stream->body.size = end > 0 ? end - 1 : 0;
		stream->padding = answer->shape == ANSWER_HUGE ? HUGE_SIZE : UINT64_MAX;
		size = answer->shape == ANSWER_HUGE ? stream->body.size + HUGE_SIZE
						    : MHD_SIZE_UNKNOWN;
	}
	return MHD_create_response_from_callback(size, BLOCK_SIZE, read_stream, stream,
						 free_stream);
}

static struct MHD_Response *whole_response(struct answer *answer)
{
	size_t size = answer->body.size;

	return MHD_create_response_from_buffer(size, text_take(&answer->body),
					       MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_answer(struct exchange *exchange)
{
	struct answer *answer = &exchange->answer;
	time_t seconds = (time_t)(answer->date_ms / 1000);
	struct tm tm;
	char date[64];

	/* Refusing to answer is how libmicrohttpd is told to close the connection. */
	if (answer->shape == ANSWER_DROPPED)
		return MHD_NO;

	struct MHD_Response *response =
		answer->shape == ANSWER_WHOLE ? whole_response(answer) : stream_response(answer);

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&seconds, &tm));
	MHD_add_response_header(response, "Date", date);
	MHD_add_response_header(response, "Content-Type", answer->content_type);
	if (answer->request_id)
		MHD_add_response_header(response, "x-amzn-RequestId", answer->request_id);

	enum MHD_Result result = MHD_queue_response(exchange->connection, answer->status, response);

	MHD_destroy_response(response);
	return result;
}

void exchange_finish(struct server *server, struct exchange *exchange)
{
	exchange->done = true;
	if (exchange->suspended) {
		MHD_resume_connection(exchange->connection);
		server->woken = true;
	}
	exchange->suspended = false;
}

/* Called once with the headers, again with each part of the body, then with none, and again after
 * each resumption. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **con_cls)
{
	struct http *http = arg;
	struct exchange *exchange = *con_cls;

	if (!exchange->method) {
		read_head(http, exchange, method);
		return MHD_YES;
	}
	if (*upload_size > 0) {
		if (exchange->body.size + *upload_size <= EXCHANGE_BODY_MAX)
			text_add_bytes(&exchange->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (!exchange->step)
		server_begin(http->server, exchange);
	if (exchange->done)
		return send_answer(exchange);
	MHD_suspend_connection(connection);
	exchange->suspended = true;
	return MHD_YES;
}

struct http *http_start(struct server *server, uint16_t port, const char *certificate,
			const char *key)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct http *http = must_alloc(sizeof(*http));
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key},
		{MHD_OPTION_END, 0, NULL},
	};

	http->server = server;
	http->secure = certificate != NULL;
	/* No thread of libmicrohttpd's: http_run() does the work. */
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK |
			(certificate ? MHD_USE_TLS : 0),
		port, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR, &address,
		MHD_OPTION_URI_LOG_CALLBACK, begin_exchange, http, MHD_OPTION_NOTIFY_COMPLETED,
		end_exchange, http, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_MAX, MHD_OPTION_ARRAY,
		certificate ? tls : &tls[2], MHD_OPTION_END);
	return http->daemon ? http : http_stop(http);
}

struct http *http_stop(struct http *http)
{
	struct exchange *exchange;

	if (!http)
		return NULL;
	/* Whoever still waits is dropped: libmicrohttpd cannot stop while a connection sleeps. */
	TAILQ_FOREACH (exchange, &http->server->pending, pending) {
		if (exchange->done)
			continue;
		exchange->answer.shape = ANSWER_DROPPED;
		exchange_finish(http->server, exchange);
	}
	if (http->daemon) {
		MHD_run(http->daemon);
		MHD_stop_daemon(http->daemon);
	}
	free(http);
	return NULL;
}

uint16_t http_port(const struct http *http)
{
	return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

int http_fd(const struct http *http)
{
	return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

void http_run(struct http *http)
{
	http->server->woken = false;
	MHD_run(http->daemon);
}

int64_t http_deadline(const struct http *http)
{
	MHD_UNSIGNED_LONG_LONG ms;

	/* Without a thread of its own, libmicrohttpd wakes nobody when it resumes a connection. */
	if (http->server->woken)
		return 0;
	if (MHD_get_timeout(http->daemon, &ms) != MHD_YES)
		return INT64_MAX;
	return clock_monotonic_ms() + (int64_t)ms;
}
