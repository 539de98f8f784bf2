#include "aws/sign.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "aws/wipe.h"
#include "lease/alloc.h"

/*
 * libcurl signs, but not the request that is sent: the same request goes into a socket of our own
 * first, and its Authorization is taken from there. One that has an Authorization is not signed
 * again. That is for two reasons:
 *
 * - The keys. A connection that is kept for the next request keeps the name and password of the
 *   last one with it, and so the secret key of a lease long after that has ended.
 * - The time. libcurl signs with the X-Amz-Date that it is given, but up to 8.2 it then sends that
 *   header twice, and AWS, which joins what is repeated, finds the signature wrong.
 *
 * All of it happens within one call, because nobody else is at the other end.
 */

/* Of a request line and headers, without the token. */
#define HEAD_MAX         8192u
#define SIGN_BUFFER_SIZE 1024L /* the least: no answer comes */
/* How often libcurl is called until it has sent a request that it need not wait for. */
#define STEPS_MAX 16

static int no_memory(struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
}

static int add_header(struct curl_slist **headers, const char *name, const char *value,
		      struct dsec_error *err)
{
	size_t size = strlen(name) + strlen(": ") + strlen(value) + 1;
	_cleanup_wipe_ char *line = alloc_zeroed(size, 1);
	struct curl_slist *longer;

	snprintf(line, size, "%s: %s", name, value);
	longer = curl_slist_append(*headers, line);
	if (!longer)
		return no_memory(err);
	*headers = longer;
	return 0;
}

static int add_token(struct curl_slist **headers, const struct secret *token,
		     struct dsec_error *err)
{
	_cleanup_wipe_ char *text = alloc_zeroed(secret_size(token) + 1, 1);

	secret_copy(token, 0, text, secret_size(token));
	return add_header(headers, "X-Amz-Security-Token", text, err);
}

/* libcurl copies all it is given, and frees the copies by aws_global_init's allocator. */
static int give_keys(CURL *easy, const struct request *request, struct dsec_error *err)
{
	char secret[KEYS_SECRET_MAX + 1] = "";
	char scope[256];
	CURLcode r;

	snprintf(scope, sizeof(scope), "aws:amz:%s:%s", request->region, request->service);
	secret_copy(request->keys->secret, 0, secret, KEYS_SECRET_MAX);
	r = curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, scope);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_USERNAME, request->keys->id);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_PASSWORD, secret);
	secret_wipe(secret, sizeof(secret));
	return r == CURLE_OK ? 0
			     : dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl cannot sign: %s",
					      curl_easy_strerror(r));
}

/* Host as it will be sent, because it is signed; and the same URL without a name to resolve. */
static int split_url(const char *url, char *host, size_t size, char **ret_nowhere)
{
	CURLU *parts = curl_url();
	char *name = NULL, *port = NULL;
	int r = -EINVAL;

	if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_HOST, &name, 0) == CURLUE_OK) {
		curl_url_get(parts, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
		snprintf(host, size, "%s%s%s", name, port ? ":" : "", port ? port : "");
		if (curl_url_set(parts, CURLUPART_SCHEME, "http", 0) == CURLUE_OK &&
		    curl_url_set(parts, CURLUPART_HOST, "127.0.0.1", 0) == CURLUE_OK &&
		    curl_url_get(parts, CURLUPART_URL, ret_nowhere, 0) == CURLUE_OK)
			r = 0;
	}
	curl_free(name);
	curl_free(port);
	curl_url_cleanup(parts);
	return r;
}

/* A listening socket with an abstract name that the kernel chose; the name is told without its
 * leading NUL. The descriptor or a negative errno. */
static int listen_nowhere(char *name, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t n = sizeof(address);
	int error, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0 && listen(fd, 1) == 0 &&
	    getsockname(fd, (struct sockaddr *)&address, &n) == 0) {
		snprintf(name, size, "%.*s", (int)(n - offsetof(struct sockaddr_un, sun_path) - 1),
			 address.sun_path + 1);
		return fd;
	}
	error = errno;
	close(fd);
	return -error;
}

static CURL *make_nowhere(const struct request *request, struct curl_slist *headers,
			  const char *url, const char *name, struct dsec_error *err)
{
	CURL *easy = curl_easy_init();

	if (!easy || give_keys(easy, request, err) < 0) {
		curl_easy_cleanup(easy);
		return NULL;
	}
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_ABSTRACT_UNIX_SOCKET, name);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, SIGN_BUFFER_SIZE);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, HTTP_BUFFER_SIZE);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->n_body);
	return easy;
}

/* The value of the Authorization header among what was sent, or NULL. */
static char *find_authorization(char *head)
{
	char *value = strstr(head, "\r\nAuthorization: ");
	char *end;

	if (!value)
		return NULL;
	value += strlen("\r\nAuthorization: ");
	end = strstr(value, "\r\n");
	if (!end)
		return NULL;
	*end = '\0';
	return value;
}

/* Takes the connection as soon as there is one, and what has come on it. True once the whole head
 * has. */
static bool read_head(int listening, int *fd, char *head, size_t max, size_t *n)
{
	ssize_t got;

	if (*fd < 0)
		*fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	do {
		got = *fd < 0 ? 0 : recv(*fd, head + *n, max - *n, 0);
		if (got > 0)
			*n += (size_t)got;
	} while (got > 0 && *n < max);
	return strstr(head, "\r\n\r\n") != NULL;
}

/* Performs what can be done without waiting, which is all up to the answer. */
static bool catch_head(CURL *easy, int listening, char *head, size_t max)
{
	CURLM *multi = curl_multi_init();
	bool whole = false;
	size_t n = 0;
	int fd = -1, running = 1;

	if (!multi)
		return false;
	curl_multi_add_handle(multi, easy);
	for (int step = 0; step < STEPS_MAX && running && !whole; step++) {
		curl_multi_perform(multi, &running);
		whole = read_head(listening, &fd, head, max, &n);
	}
	curl_multi_remove_handle(multi, easy);
	curl_multi_cleanup(multi);
	if (fd >= 0)
		close(fd);
	return whole;
}

static int add_authorization(struct curl_slist **headers, const struct request *request,
			     const char *url, struct dsec_error *err)
{
	const struct secret *token = request->keys->token;
	size_t max = HEAD_MAX + (token ? secret_size(token) : 0);
	_cleanup_wipe_ char *head = alloc_zeroed(max + 1, 1);
	char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const char *value = NULL;
	int listening = listen_nowhere(name, sizeof(name));
	CURL *easy;

	if (listening < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot sign: %s",
				      strerror(-listening));
	easy = make_nowhere(request, *headers, url, name, err);
	if (easy && catch_head(easy, listening, head, max))
		value = find_authorization(head);
	curl_easy_cleanup(easy);
	close(listening);
	if (!value)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl did not sign the request");
	return add_header(headers, "Authorization", value, err);
}

int sign(struct curl_slist **headers, const struct request *request, struct dsec_error *err)
{
	char host[300], date[CLOCK_COMPACT_MAX];
	char *nowhere = NULL;
	int r;

	if (split_url(request->url, host, sizeof(host), &nowhere) < 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s is no URL", request->url);
	clock_compact(date, request->signed_ms);
	/* libcurl signs all that stands in this list, also what it would not send: no blank
	 * entries. Ceph and moto want Content-Type among it. */
	r = add_header(headers, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8",
		       err);
	if (r == 0)
		r = add_header(headers, "Host", host, err);
	if (r == 0)
		r = add_header(headers, "X-Amz-Date", date, err);
	if (r == 0 && request->keys->token)
		r = add_token(headers, request->keys->token, err);
	if (r == 0)
		r = add_authorization(headers, request, nowhere, err);
	curl_free(nowhere);
	return r;
}
