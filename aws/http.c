#include "aws/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "aws/aws.h"
#include "aws/sign.h"
#include "lease/alloc.h"
#include "lease/list.h"

/* A socket of libcurl's. */
struct connection {
	struct watch watch;
	struct http *http;
	int fd;
};

struct exchange {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	struct answer *answer;
	exchange_done *done;
	void *arg;
	size_t received;
	unsigned starts; /* how often libcurl was about to send the request */
	bool too_big;
	char text[CURL_ERROR_SIZE];
};

/*
 * The exchange.
 */

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct exchange *exchange = arg;

	exchange->received += n;
	exchange->too_big = exchange->received > AWS_ANSWER_SIZE_MAX;
	return !exchange->too_big && answer_feed(exchange->answer, bytes, n) ? n : 0;
}

/* libcurl sends a request again when a kept connection dies under it. The first may have had its
 * effect, so that is for the engine to decide. */
static int on_start(void *arg, char *server, char *local, int server_port, int local_port)
{
	struct exchange *exchange = arg;

	return exchange->starts++ == 0 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

	if (address->sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* Plain http reaches loopback only, whatever a name has been made to mean. */
static curl_socket_t open_plain(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	if (!is_loopback(&address->addr))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int set_protocol(CURL *easy, const char *url, struct dsec_error *err)
{
	if (strncasecmp(url, "https://", 8) == 0) {
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
		return 0;
	}
	if (strncasecmp(url, "http://", 7) != 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the endpoint %s does not begin with https://", url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_plain);
	return 0;
}

/* A private CA is trusted alone: without the NULL, the system's folder would be trusted too. */
static CURLcode set_trust(CURL *easy, const struct trust *trust)
{
	struct curl_blob certificates = {
		.data = trust->bytes, .len = trust->n, .flags = CURL_BLOB_COPY};
	CURLcode r = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);

	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (r == CURLE_OK && trust->bytes)
		r = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &certificates);
	if (r == CURLE_OK && trust->bytes)
		r = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	return r;
}

static void set_content(struct exchange *exchange, const struct request *request)
{
	CURL *easy = exchange->easy;

	if (!request->keys) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->n_body);
}

static int prepare(struct exchange *exchange, const struct request *request, struct dsec_error *err)
{
	CURL *easy = exchange->easy;
	int r = set_protocol(easy, request->url, err);

	if (r == 0 && request->ca_file)
		r = trust_read(&exchange->http->trust, request->ca_file, err);
	if (r == 0 && request->keys)
		r = sign(&exchange->headers, request, err);
	if (r < 0)
		return r;
	if (set_trust(easy, &exchange->http->trust) != CURLE_OK)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl cannot verify TLS");
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	/* IAM and STS speak no other. A server that speaks HTTP/2 (a gateway of Ceph's may) is
	 * spoken to in this one all the same: a connection of HTTP/2 keeps, as long as it is open,
	 * what came last, and so a lease's secret key, and its table of headers, and so a session's
	 * token. */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* not what the environment names */
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* A name is looked up by a thread. Without this libcurl waits for it when the transfer ends
	 * before the look-up does, by a timeout or by us, and with it all that this thread serves.
	 */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, HTTP_BUFFER_SIZE);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, HTTP_BUFFER_SIZE);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "dsec/" DSEC_VERSION);
	set_content(exchange, request);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, HTTP_CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, HTTP_IDLE_MAX_S);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->text);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_start);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
	return 0;
}

/* The easy handle first: its buffers hold what the headers and the answer hold. */
static struct exchange *release(struct exchange *exchange)
{
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->headers);
	answer_free(exchange->answer);
	free(exchange);
	return NULL;
}

int exchange_start(struct exchange **ret, struct http *http, const struct request *request,
		   exchange_done *done, void *arg, struct dsec_error *err)
{
	struct exchange *exchange = alloc_zeroed(1, sizeof(*exchange));
	int r;

	exchange->http = http;
	exchange->done = done;
	exchange->arg = arg;
	exchange->answer = answer_new(request->names);
	exchange->easy = curl_easy_init();
	if (exchange->easy)
		r = prepare(exchange, request, err);
	else
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
	if (r == 0 && curl_multi_add_handle(http->multi, exchange->easy) != CURLM_OK)
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl takes no more transfers");
	if (r < 0) {
		release(exchange);
		return r;
	}
	*ret = exchange;
	return 0;
}

struct exchange *exchange_cancel(struct exchange *exchange)
{
	if (!exchange)
		return NULL;
	curl_multi_remove_handle(exchange->http->multi, exchange->easy);
	return release(exchange);
}

/* AWS's time, from the Date header; 0 where there is none that can be read. */
static int64_t read_date(CURL *easy)
{
	struct curl_header *date = NULL;
	time_t seconds = -1;

	if (curl_easy_header(easy, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
		seconds = curl_getdate(date->value, NULL);
	return seconds < 0 ? 0 : (int64_t)seconds * 1000;
}

static void finish(struct exchange *exchange, CURLcode code)
{
	struct outcome outcome = {
		.curl = code,
		.died = exchange->starts > 1,
		.too_big = exchange->too_big,
		.server_ms = read_date(exchange->easy),
	};
	long request_size = 0;

	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &outcome.status);
	curl_easy_getinfo(exchange->easy, CURLINFO_REQUEST_SIZE, &request_size);
	outcome.sent = request_size > 0 || outcome.died;
	outcome.curl_text = *exchange->text ? exchange->text : curl_easy_strerror(code);
	answer_end(exchange->answer, &outcome.answer);
	curl_multi_remove_handle(exchange->http->multi, exchange->easy);
	exchange->done(exchange->arg, &outcome);
	release(exchange);
}

/*
 * libcurl's sockets and timer in the loop.
 */

static void collect(struct http *http)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct exchange *exchange = NULL;
		CURLcode code = message->data.result;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
		finish(exchange, code);
	}
}

static void on_socket(struct watch *watch, uint32_t events)
{
	struct connection *connection = container_of(watch, struct connection, watch);
	struct http *http = connection->http;
	int running, ready = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
			     (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			     (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	/* May free the connection. */
	curl_multi_socket_action(http->multi, connection->fd, ready, &running);
	collect(http);
}

static void on_timer(struct timer *timer)
{
	struct http *http = container_of(timer, struct http, timer);
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(http);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http *http = arg;
	struct connection *connection = socket_arg;
	uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
			  (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);

	if (what == CURL_POLL_REMOVE) {
		loop_unwatch(http->loop, fd);
		free(connection);
		return 0;
	}
	if (!connection) {
		connection = alloc_zeroed(1, sizeof(*connection));
		*connection = (struct connection){.watch.ready = on_socket, .http = http, .fd = fd};
		curl_multi_assign(http->multi, fd, connection);
	}
	/* A socket that cannot be watched leaves its exchange to the deadline. */
	loop_watch(http->loop, fd, events, &connection->watch);
	return 0;
}

static int want_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *http = arg;

	timer_arm(&http->loop->timers, &http->timer,
		  timeout_ms < 0 ? DSEC_NEVER : loop_now(http->loop) + timeout_ms);
	return 0;
}

int http_init(struct http *http, struct loop *loop, struct dsec_error *err)
{
	*http = (struct http){.multi = curl_multi_init(), .loop = loop, .timer.fire = on_timer};
	if (!http->multi)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)AWS_CONNECTIONS_MAX);
	return 0;
}

void http_finish(struct http *http)
{
	curl_multi_cleanup(http->multi);
	timer_disarm(&http->loop->timers, &http->timer);
	trust_finish(&http->trust);
}
