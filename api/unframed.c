/*
 * unframed.c: the body of Doppler's SDK's revocations.
 *
 * Node sends it with neither Content-Length nor Transfer-Encoding, behind the headers: for HTTP
 * that is the beginning of a next request, and libmicrohttpd reads it as one. So for this one path
 * it is looked at before libmicrohttpd has the connection, which every answer closes. (Within TLS
 * there is nothing to look at: there such a body is lost, and the answer says so.)
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define PEEK_MAX 8192 /* the longest of these requests */

static const char request_line[] =
	"DELETE /v3/configs/config/dynamic_secrets/dynamic_secret/leases/lease";

/* In the lines of the head, which is terminated. */
static bool has_field(const char *head, const char *name)
{
	for (const char *line = strchr(head, '\n'); line; line = strchr(line + 1, '\n'))
		if (strncasecmp(line + 1, name, strlen(name)) == 0)
			return true;
	return false;
}

static bool is_whole(const char *body, size_t n)
{
	json_error_t where;
	json_t *json = json_loadb(body, n, JSON_DISABLE_EOF_CHECK, &where);

	json_decref(json);
	return json != NULL;
}

static void keep(struct client *client, const char *body, size_t n)
{
	client->unframed = alloc_zeroed(n + 1, 1);
	memcpy(client->unframed, body, n);
	client->n_unframed = n;
}

enum unframed unframed_look(struct client *client, bool last)
{
	char text[PEEK_MAX + 1];
	const size_t line = sizeof(request_line) - 1;
	ssize_t got = recv(client->fd, text, PEEK_MAX, MSG_PEEK | MSG_DONTWAIT);
	size_t n = got > 0 ? (size_t)got : 0;

	text[n] = '\0';
	if (client->listener->tls || memcmp(text, request_line, n < line ? n : line) != 0)
		return UNFRAMED_NO;
	char *end = strstr(text, "\r\n\r\n");
	if (!end)
		return n < PEEK_MAX && !last ? UNFRAMED_HEAD : UNFRAMED_NO;
	*end = '\0';
	if (has_field(text, "content-length:") || has_field(text, "transfer-encoding:"))
		return UNFRAMED_NO;
	const char *body = end + 4;
	size_t n_body = (size_t)(text + n - body);
	if (!is_whole(body, n_body) && n < PEEK_MAX && !last)
		return UNFRAMED_BODY;
	keep(client, body, n_body);
	return UNFRAMED_NO;
}
