/*
 * exchange.h: one HTTP request and what becomes of it.
 */
#ifndef DSEC_TESTS_IAM_EXCHANGE_H
#define DSEC_TESTS_IAM_EXCHANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sigv4.h"
#include "text.h"

#define EXCHANGE_BODY_MAX    (1024UL * 1024) /* of a request; a longer one is cut off */
#define EXCHANGE_HEADERS_MAX 64

/* How the body of an answer goes out. */
enum answer_shape {
	ANSWER_WHOLE,
	ANSWER_DROPPED, /* the connection is closed instead of an answer */
	ANSWER_BROKEN,  /* the connection is closed after half of the announced body */
	ANSWER_HUGE,    /* 64 MiB */
	ANSWER_ENDLESS,
};

struct answer {
	enum answer_shape shape;
	unsigned status;
	const char *content_type;
	int64_t date_ms;  /* for the Date header */
	char *request_id; /* for x-amzn-RequestId; NULL: none */
	struct text body;
};

struct server;

struct exchange {
	TAILQ_ENTRY(exchange) pending;

	/* The request, read to its end. */
	char *method, *target;
	struct header headers[EXCHANGE_HEADERS_MAX];
	size_t n_headers;
	struct text body;
	char source_ip[INET_ADDRSTRLEN];
	bool secure;

	/* What goes on between request and answer. `step` is called whenever anything may have
	 * changed, until it has called exchange_finish; it sets `wake_at` (CLOCK_MONOTONIC
	 * milliseconds, INT64_MAX: nothing to wait for) for when it wants to be called at last. */
	void (*step)(struct server *server, struct exchange *exchange);
	void *work;
	void (*free_work)(void *work);
	int64_t wake_at;
	bool done;

	struct answer answer;

	void *connection; /* http.c's */
	bool suspended;
};

/* The answer is complete: sends it. Implemented by http.c. */
void exchange_finish(struct server *server, struct exchange *exchange);

#endif
