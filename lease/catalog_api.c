/* catalog_api.c: where the API listens. */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "lease/catalog_reader.h"

#define LISTEN_MAX 16

bool catalog_listen_split(const char *listen, char host[CATALOG_HOST_MAX], const char **ret_port)
{
	const char *colon = strrchr(listen, ':');

	if (!colon || (size_t)(colon - listen) >= CATALOG_HOST_MAX)
		return false;
	memcpy(host, listen, (size_t)(colon - listen));
	host[colon - listen] = '\0';
	*ret_port = colon + 1;
	return true;
}

/* "10.0.0.1", "[::]": a name could become another address. */
static bool is_address(const char *host)
{
	char bare[CATALOG_HOST_MAX];
	size_t n = strlen(host);
	struct in6_addr v6;
	struct in_addr v4;

	if (host[0] != '[' || host[n - 1] != ']')
		return inet_pton(AF_INET, host, &v4) == 1;
	snprintf(bare, sizeof(bare), "%.*s", (int)(n - 2), host + 1);
	return inet_pton(AF_INET6, bare, &v6) == 1;
}

static const char *unix_problem(const char *path)
{
	if (*path != '/')
		return "needs a whole path, such as \"unix:/run/dsec.sock\"";
	return strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path)
		       ? NULL
		       : "has a path that is too long for a socket";
}

static const char *listen_problem(const char *text, bool tls)
{
	const size_t prefix = strlen(CATALOG_UNIX_PREFIX);
	char host[CATALOG_HOST_MAX];
	const char *port;

	if (strncmp(text, CATALOG_UNIX_PREFIX, prefix) == 0)
		return unix_problem(text + prefix);
	if (!catalog_listen_split(text, host, &port))
		return "has to look like \"unix:/run/dsec.sock\" or \"127.0.0.1:7080\"";
	if (!catalog_is_loopback(host) && !tls)
		return "has to be a loopback address, since whoever reaches it may ask for "
		       "secrets; others need TLS: api.tls_certificate and api.tls_key";
	if (!catalog_is_loopback(host) && !is_address(host))
		return "has to be an address, such as \"0.0.0.0:7443\" or \"[::]:7443\"";
	if (!catalog_port_valid(port))
		return "has no valid port";
	return NULL;
}

static void read_listen(struct catalog *ret, const struct cursor *object)
{
	struct cursor list, at;

	if (!cursor_list(object, "listen", "[\"unix:/run/dsec.sock\"]", &list))
		return;
	size_t n = json_array_size(list.value);
	if (n > LISTEN_MAX) {
		cursor_refuse(&list, "has %zu addresses; at most %d are possible", n, LISTEN_MAX);
		return;
	}
	const char **listen = reader_array(object->reader, n, sizeof(*listen));
	for (size_t i = 0; listen && cursor_element(&list, i, &at); i++) {
		const char *text = cursor_text(&at, "\"unix:/run/dsec.sock\"");
		const char *problem =
			text ? listen_problem(text, ret->api_tls_certificate != NULL) : NULL;
		if (problem)
			cursor_refuse(&at, "\"%.128s\" %s", text, problem);
		else if (text)
			listen[ret->n_api_listen++] = reader_string(object->reader, text);
	}
	ret->api_listen = listen;
}

static void read_tls(struct catalog *ret, const struct cursor *object)
{
	ret->api_tls_certificate =
		cursor_file_name(object, "tls_certificate", "\"/etc/dsec/api.pem\"", false);
	ret->api_tls_key = cursor_file_name(object, "tls_key", "\"/etc/dsec/api.key\"", true);
	if (ret->api_tls_certificate)
		cursor_need(object, "tls_key", "the certificate's private key, in a file");
	if (ret->api_tls_key)
		cursor_need(object, "tls_certificate",
			    "the key's certificate, followed by those of its issuers, in a file");
}

void read_api(struct catalog *ret, const struct cursor *root)
{
	static const char *const known[] = {"listen", "admin_group", "tls_certificate", "tls_key",
					    NULL};
	const struct catalog_system *system = root->reader->system;
	struct cursor object, at;
	gid_t gid;

	if (!cursor_object(root, "api", "{\"listen\": [\"unix:/run/dsec.sock\"]}", &object))
		return;
	cursor_known(&object, known);
	read_tls(ret, &object);
	read_listen(ret, &object);
	const char *group = cursor_string(&object, "admin_group", "\"dsec\"", &at);
	if (group && system->group(system, group, &gid) < 0)
		cursor_refuse(&at, "there is no group \"%.64s\"", group);
	else if (group)
		ret->api_admin_group = reader_string(root->reader, group);
}
