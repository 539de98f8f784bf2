/*
 * classify.h: what came of one exchange, as the engine and a reader are to understand it.
 */
#ifndef DSEC_AWS_CLASSIFY_H
#define DSEC_AWS_CLASSIFY_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "aws/answer.h"
#include "lease/error.h"

struct outcome {
	CURLcode curl;
	const char *curl_text; /* libcurl's own words */
	bool sent;             /* the server may have seen the request */
	bool died;    /* a kept connection died under it, and libcurl would have sent it again */
	bool too_big; /* the answer was longer than AWS_ANSWER_SIZE_MAX */
	long status;  /* HTTP; 0: none came */
	int64_t server_ms;
	struct answer_result answer;
};

/* Whether the call was done: 0, or what went wrong with `action`. AWS's own words become part of
 * the message where they help and cannot hold a secret: `forbidden` says whether a text does. */
int classify(const struct outcome *outcome, const char *action,
	     bool (*forbidden)(const void *arg, const char *text), const void *arg,
	     struct dsec_error *err);

/* The server does not know this action at all, as Ceph does not know GetCallerIdentity. */
bool classify_is_unknown_action(const struct outcome *outcome);

/* The code of an answer that refuses the key itself, or its signature. */
bool classify_is_key_refused(const char *code);

/* The code of an answer that may be due to the time that was signed. */
bool classify_may_be_skew(const char *code);

#endif
