/*
 * sign.h: how a request is signed: by libcurl, at the local time or at AWS's.
 */
#ifndef DSEC_AWS_SIGN_H
#define DSEC_AWS_SIGN_H

#include <curl/curl.h>

#include "aws/http.h"

/* Makes libcurl sign `easy` with the request's keys, and adds to `headers` what is signed or takes
 * the place of a signature. The caller frees the list, also on failure. */
int sign(CURL *easy, struct curl_slist **headers, const struct request *request,
	 struct dsec_error *err);

#endif
