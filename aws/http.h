/*
 * http.h: one signed request, one answer, over libcurl's multi-socket interface.
 */
#ifndef DSEC_AWS_HTTP_H
#define DSEC_AWS_HTTP_H

#include <curl/curl.h>

#include "aws/answer.h"
#include "aws/classify.h"
#include "aws/keys.h"
#include "aws/loop.h"
#include "aws/trust.h"

#define HTTP_CONNECT_TIMEOUT_MS 10000L
/* A connection that was idle for longer is not used again: servers close theirs after a minute or
 * so, and a request that meets the closing is lost. */
#define HTTP_IDLE_MAX_S 30L

/* Of what is sent and of what comes, at a time. All of it is wiped after each request, however
 * little was used: libcurl's own 64 KiB would be most of a request's cost. */
#define HTTP_BUFFER_SIZE 16384L

/* An integration's connections; they are shared with no other. */
struct http {
	CURLM *multi;
	struct loop *loop;
	struct timer timer;
	struct trust trust;
};

int http_init(struct http *http, struct loop *loop, struct dsec_error *err);
void http_finish(struct http *http); /* after the last exchange */

struct request {
	const char *url;
	/* NULL: nothing is asked and nothing signed (an unsigned HEAD): a connection is opened, and
	 * is there for the next request. Then only ca_file and timeout_ms count. */
	const struct keys *keys;
	const char *service, *region; /* what is signed for */
	const char *ca_file;          /* NULL: the system's */
	const char *body;             /* borrowed until the exchange ends */
	size_t n_body;
	int64_t signed_ms; /* the calendar time to sign with */
	int64_t timeout_ms;
	const struct answer_names *names; /* borrowed until the exchange ends */
};

/* May start other exchanges and cancel them; what it is given lives until it returns. */
typedef void exchange_done(void *arg, const struct outcome *outcome);

struct exchange;

/* `done` is called once, from the loop's dispatch. Fails with DSEC_ERROR_INVALID for a URL that is
 * neither https nor http on loopback, and DSEC_ERROR_FAULT. */
int exchange_start(struct exchange **ret, struct http *http, const struct request *request,
		   exchange_done *done, void *arg, struct dsec_error *err);

/* `done` is not called. NULL-safe; returns NULL. Not from within `done` of the same exchange. */
struct exchange *exchange_cancel(struct exchange *exchange);

#endif
