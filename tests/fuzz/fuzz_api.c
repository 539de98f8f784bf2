/*
 * Whatever a client says, in whatever pieces, and whenever leases come or do not: the API ends each
 * connection, answers nothing twice, and keeps nothing of it.
 *
 * The input is what is said on a connection. Bytes that no text has in it stand for what else
 * happens: 0xff another connection, 0xfe a second passes, 0xfd a lease is there, 0xfc it has
 * failed, 0xfb the client leaves, 0xfa the lease ends, 0xf9 another configuration, 0xf8 what was
 * made last as a token is said, 0xf7 another connection by TCP, 0xf6 a lease is there that the
 * files have.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/lease_private.h"
#include "tests/api/double.h"

#define CLIENTS_MAX 16
#define TOKEN_MAX   128

#define DYNAMIC(scope)                                                                             \
	"\"dynamic_secrets\":{\"AWS_USER\":{\"integration\":\"aws\",\"scope\":\"" scope            \
	"\",\"policy\":{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","           \
	"\"Action\":\"ec2:*\",\"Resource\":\"*\"}}}}"

/* With what a reload changes: a static secret, and whether there is a config prd. */
static const char configuration[] =
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":"
	"\"environment\"}}},"
	"\"api\":{\"admin_group\":\"root\"},\"projects\":{\"app\":{"
	"\"dev\":{\"secrets\":{\"GREETING\":\"%1$s\",\"A_B\":\"\\\"$\\\\\\n\"}," DYNAMIC(
		"shared") "},"
			  "\"own\":{" DYNAMIC("user") "},\"box\":{" DYNAMIC(
				  "container") "},\"prd%2$s\":{},"
					       "\"closed\":{\"access\":{\"mode\":\"0044\","
					       "\"allow\":{\"uids\":[4242],\"gids\":[4242]}}},"
					       "\"hidden\":{\"access\":{\"hide\":%3$s,\"allow\":{"
					       "\"uids\":[4242]}}},"
					       "\"group\":{\"access\":{\"mode\":\"0440\",\"allow\":"
					       "{\"uids\":[1],\"gids\":[0]}}}}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char texts[2][4096];

struct clients {
	int fds[CLIENTS_MAX];
	size_t n;
	int port; /* of TCP, in the network's order */
	unsigned catalog, n_leases;
	char token[TOKEN_MAX];
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int reload(void *arg, const struct lease_caller *caller, struct dsec_error *err)
{
	return *(unsigned *)arg % 2 ? dsec_error_set(err, DSEC_ERROR_INVALID, "a mistake") : 0;
}

static int connect_tcp(struct scene *scene, const struct clients *clients)
{
	/* No port waits for what might yet come. */
	const struct linger at_once = {.l_onoff = 1};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = (in_port_t)clients->port,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0 &&
	     connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	scene_run(scene);
	return fd;
}

static struct catalog *load(const char *text)
{
	static struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog;

	catalog_system_init(&system);
	must(catalog_parse(&catalog, text, strlen(text), "dsec.json", true, &system, &problems) ==
	     0);
	return catalog;
}

/* Another configuration, and whether the next that is asked for has a mistake. */
static void change(struct scene *scene, struct clients *clients)
{
	struct catalog *last = scene->catalog;

	scene->catalog = load(texts[++clients->catalog % 2]);
	api_reload(scene->api, scene->catalog);
	catalog_unref(last);
	api_offer_reload(scene->api, reload, &clients->catalog);
}

/* The engine tells of a lease of the files. */
static void make_shared(struct scene *scene, struct clients *clients)
{
	struct lease from = {
		.generation = ++clients->n_leases,
		.slot = {"app", "dev", "AWS_USER", CATALOG_TTL_DEFAULT_MS,
			 clients->n_leases % 3 ? 0 : lease_holder_of(HOLDER_OPEN, 1)},
		.integration = "aws",
		.user = "user",
		.arn = "arn",
		.policy_name = "policy",
		.access_key_id = "AKIAIOSFODNN7EXAMPLE",
	};
	struct lease *lease;

	snprintf(from.id, sizeof(from.id), "shared-%u", clients->n_leases / 2);
	lease = lease_new(&from);
	api_lease(scene->api, clients->n_leases % 4 ? LEASE_ACTIVE : LEASE_ENDED, lease);
	lease_unref(lease);
}

static void leave(struct scene *scene, struct clients *clients)
{
	close(clients->fds[--clients->n]);
	scene_run(scene);
}

static void note_token(struct clients *clients, const char *heard)
{
	const char *token = strstr(heard, "{\"token\":\"");

	if (token && sscanf(token, "{\"token\":\"%127[^\"]", clients->token) != 1)
		clients->token[0] = '\0';
}

static void say(struct scene *scene, struct clients *clients, const uint8_t *data, size_t n)
{
	int fd = clients->n > 0 ? clients->fds[clients->n - 1] : -1;

	if (fd < 0 || n == 0)
		return;
	scene_say_bytes(scene, fd, (const char *)data, n);
	char *heard = scene_hear(scene, fd);
	note_token(clients, heard);
	free(heard);
}

static void happen(struct scene *scene, struct clients *clients, uint8_t what)
{
	switch (what) {
	case 0xff:
		if (clients->n < CLIENTS_MAX)
			clients->fds[clients->n++] = scene_connect(scene);
		break;
	case 0xfe:
		scene_pass(scene, 1000);
		break;
	case 0xfd:
		if (scene_waiting(scene) > 0)
			scene_lease(scene);
		break;
	case 0xfc:
		if (scene_waiting(scene) > 0)
			scene_fail(scene,
				   scene->engine.n % 2 ? DSEC_ERROR_QUOTA
						       : DSEC_ERROR_NOT_CONFIGURED,
				   "there are too many");
		break;
	case 0xfb:
		if (clients->n > 0)
			leave(scene, clients);
		break;
	case 0xfa:
		scene_end_lease(scene, 1);
		break;
	case 0xf9:
		change(scene, clients);
		break;
	case 0xf8:
		say(scene, clients, (const uint8_t *)clients->token, strlen(clients->token));
		break;
	case 0xf7:
		if (clients->n < CLIENTS_MAX)
			clients->fds[clients->n++] = connect_tcp(scene, clients);
		break;
	default:
		make_shared(scene, clients);
		break;
	}
	scene_run(scene);
}

/* The kernel's choice of a port. */
static void listen_tcp(struct scene *scene, struct clients *clients)
{
	struct sockaddr_in address = {0};
	socklen_t size = sizeof(address);
	struct dsec_error err;

	must(listener_open_tcp(scene->api, "127.0.0.1:0", &err) == 0);
	list_each (at, &scene->api->listeners) {
		const struct listener *listener = container_of(at, struct listener, link);
		if (!listener->local)
			must(getsockname(listener->fd, (struct sockaddr *)&address, &size) == 0);
	}
	clients->port = address.sin_port;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scene *scene;
	struct clients clients = {0};
	size_t said = 0;

	snprintf(texts[0], sizeof(texts[0]), configuration, "hello", "", "false");
	snprintf(texts[1], sizeof(texts[1]), configuration, "bye", "-2", "true");
	scene = scene_new(texts[0]);
	listen_tcp(scene, &clients);
	happen(scene, &clients, 0xff);
	for (size_t i = 0; i < size && scene->engine.n < DOUBLE_ACQUIRES_MAX / 2; i++) {
		if (data[i] < 0xf6)
			continue;
		say(scene, &clients, data + said, i - said);
		happen(scene, &clients, data[i]);
		said = i + 1;
	}
	say(scene, &clients, data + said, size - said);
	/* All that may be waited for has passed; what was made and not given is given up. */
	scene_pass(scene, API_ANSWERING_MS + API_PARKED_MS);
	while (clients.n > 0)
		leave(scene, &clients);
	scene_free(scene);
	return 0;
}
