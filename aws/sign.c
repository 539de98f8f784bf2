#include "aws/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aws/wipe.h"
#include "lease/alloc.h"

#define HEADER_MAX (KEYS_TOKEN_MAX + 64u)
/* Of a request line and headers, of which the token is the longest. */
#define HEAD_MAX (KEYS_TOKEN_MAX + 8192u)

static int no_memory(struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
}

static int add_header(struct curl_slist **headers, const char *name, const char *value,
		      struct dsec_error *err)
{
	_cleanup_wipe_ char *line = alloc_zeroed(HEADER_MAX, 1);
	struct curl_slist *longer;

	snprintf(line, HEADER_MAX, "%s: %s", name, value);
	longer = curl_slist_append(*headers, line);
	if (!longer)
		return no_memory(err);
	*headers = longer;
	return 0;
}

static int add_token(struct curl_slist **headers, const struct secret *token,
		     struct dsec_error *err)
{
	_cleanup_wipe_ char *text = alloc_zeroed(KEYS_TOKEN_MAX + 1, 1);

	secret_copy(token, 0, text, KEYS_TOKEN_MAX);
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

/*
 * Signing at another time than the local one.
 *
 * libcurl signs with the X-Amz-Date that it is given, but up to 8.2 it then sends that header
 * twice, and AWS, which joins what is repeated, finds the signature wrong. So libcurl is made to
 * sign the request into a socket that leads nowhere, and its Authorization is taken from there: a
 * request that has one is not signed again, and one X-Amz-Date is sent, on all versions alike.
 */

static curl_socket_t give_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	int *fd = arg;
	int given = *fd;

	*fd = -1; /* libcurl closes it */
	return given < 0 ? CURL_SOCKET_BAD : given;
}

static int socket_is_connected(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	return CURL_SOCKOPT_ALREADY_CONNECTED;
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

/* Sends the request into the socket, whose other end is half closed: libcurl then sees an answer
 * of no bytes and gives up. */
static int send_nowhere(const struct request *request, struct curl_slist *headers, const char *url,
			int *fd, struct dsec_error *err)
{
	CURL *easy = curl_easy_init();
	int r = easy ? give_keys(easy, request, err) : no_memory(err);

	if (r == 0) {
		curl_easy_setopt(easy, CURLOPT_URL, url);
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->n_body);
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, give_socket);
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, fd);
		curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, socket_is_connected);
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 1000L);
		curl_easy_perform(easy);
	}
	curl_easy_cleanup(easy);
	return r;
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

static int read_head(int fd, char *head)
{
	size_t n = 0;
	ssize_t got;

	do {
		got = recv(fd, head + n, HEAD_MAX - n, MSG_DONTWAIT);
		if (got > 0)
			n += (size_t)got;
	} while (got > 0 && n < HEAD_MAX);
	head[n] = '\0';
	return n > 0 ? 0 : -EIO;
}

static int add_authorization(struct curl_slist **headers, const struct request *request,
			     const char *nowhere, struct dsec_error *err)
{
	_cleanup_wipe_ char *head = alloc_zeroed(HEAD_MAX + 1, 1);
	const char *value = NULL;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "socketpair: %s", strerror(errno));
	shutdown(pair[1], SHUT_WR);
	r = send_nowhere(request, *headers, nowhere, &pair[0], err);
	if (r == 0 && read_head(pair[1], head) == 0)
		value = find_authorization(head);
	close(pair[1]);
	if (pair[0] >= 0)
		close(pair[0]);
	if (r < 0)
		return r;
	if (!value)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "libcurl did not sign with AWS's time");
	return add_header(headers, "Authorization", value, err);
}

static int sign_at(struct curl_slist **headers, const struct request *request,
		   struct dsec_error *err)
{
	char host[300], date[CLOCK_COMPACT_MAX];
	char *nowhere = NULL;
	int r;

	if (split_url(request->url, host, sizeof(host), &nowhere) < 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s is no URL", request->url);
	clock_compact(date, request->signed_ms);
	r = add_header(headers, "X-Amz-Date", date, err);
	if (r == 0)
		r = add_header(headers, "Host", host, err);
	if (r == 0)
		r = add_authorization(headers, request, nowhere, err);
	curl_free(nowhere);
	return r;
}

int sign(CURL *easy, struct curl_slist **headers, const struct request *request,
	 struct dsec_error *err)
{
	/* Ceph and moto want it among what is signed; libcurl signs all that stands in this list,
	 * also what it would not send: no blank entries. */
	int r = add_header(headers, "Content-Type",
			   "application/x-www-form-urlencoded; charset=utf-8", err);

	if (r == 0 && request->keys->token)
		r = add_token(headers, request->keys->token, err);
	if (r < 0)
		return r;
	return request->signed_ms ? sign_at(headers, request, err) : give_keys(easy, request, err);
}
