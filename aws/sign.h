/*
 * sign.h: how a request is signed: by libcurl, with a time of our choice, and without keys in the
 * handle that sends it.
 */
#ifndef DSEC_AWS_SIGN_H
#define DSEC_AWS_SIGN_H

#include <curl/curl.h>

#include "aws/http.h"

/* Adds to `headers` all that is signed, and the signature. The caller frees the list, also on
 * failure. */
int sign(struct curl_slist **headers, const struct request *request, struct dsec_error *err);

#endif
