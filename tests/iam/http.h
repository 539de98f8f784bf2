/*
 * http.h: the local IAM's listening socket, by libmicrohttpd.
 */
#ifndef DSEC_TESTS_IAM_HTTP_H
#define DSEC_TESTS_IAM_HTTP_H

#include <stdint.h>

#include "server.h"

struct http;

/* Listens on 127.0.0.1 and `port` (0: a free one); with TLS where `certificate` (PEM, borrowed) is
 * not NULL. NULL: it could not. */
struct http *http_start(struct server *server, uint16_t port, const char *certificate,
			const char *key);
struct http *http_stop(struct http *http);
uint16_t http_port(const struct http *http);
/* Readable when http_run() has something to do. */
int http_fd(const struct http *http);
void http_run(struct http *http);
/* When http_run() wants to be called at the latest (CLOCK_MONOTONIC milliseconds). */
int64_t http_deadline(const struct http *http);

#endif
