#include "cli/aws_endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "lease/alloc.h"
#include "lease/secret.h"

#define TOKENS      "/v3/dsec/tokens"
#define ADDRESS_MAX 64

/* The configuration of the daemon that is meant: the mount's own, else the usual one. */
static int configuration_of(char to[PATH_MAX], const struct source *source, struct dsec_error *err)
{
	char tree[PATH_MAX];
	struct peer peer;

	if (!source->is_mounted || !source->mounted.above[0])
		return paths_config(to, NULL, err);
	snprintf(tree, sizeof(tree), "%s", source->mounted.above);
	int r = peer_look(dirname(tree), &peer, err);
	if (r == 0)
		snprintf(to, PATH_MAX, "%s", peer.config);
	return r;
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost:", 10) == 0 ||
	       strncmp(address, "[::1]:", 6) == 0;
}

/* The first address that the SDKs take without TLS. */
static int address_of(char to[ADDRESS_MAX], const char *file, struct dsec_error *err)
{
	json_t *root = json_load_file(file, 0, NULL);
	const json_t *entry;
	size_t i;

	to[0] = '\0';
	json_array_foreach(json_object_get(json_object_get(root, "api"), "listen"), i, entry)
	{
		const char *address = json_string_value(entry);
		if (address && is_loopback(address) && strlen(address) < ADDRESS_MAX && !to[0])
			snprintf(to, ADDRESS_MAX, "%s", address);
	}
	int r = root ? 0
		     : dsec_error_set(
			       err, DSEC_ERROR_NOT_ALLOWED,
			       "--aws: %s, which says where the API listens, cannot be read: "
			       "use --aws-keys",
			       file);
	json_decref(root);
	if (r == 0 && !to[0])
		r = dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				   "--aws: the daemon does not listen on loopback TCP: add "
				   "\"127.0.0.1:7080\" to api.listen in %s, or use --aws-keys",
				   file);
	return r;
}

static int write_token(struct aws_endpoint *endpoint, const char *token, struct dsec_error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	snprintf(endpoint->folder, PATH_MAX, "%s/dsec-run-XXXXXX",
		 runtime && runtime[0] == '/' ? runtime : "/tmp");
	if (!mkdtemp(endpoint->folder)) {
		int number = errno;
		endpoint->folder[0] = '\0';
		return dsec_error_set(err, DSEC_ERROR_FAULT, "--aws: no folder for the token: %s",
				      strerror(number));
	}
	if (snprintf(endpoint->token_file, PATH_MAX, "%s/token", endpoint->folder) >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the path is too long");
	_cleanup_fd_ int fd =
		open(endpoint->token_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n = (ssize_t)strlen(token);
	if (fd < 0 || write(fd, token, (size_t)n) != n)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", endpoint->token_file,
				      strerror(errno));
	return 0;
}

static int get_token(struct aws_endpoint *endpoint, struct environment *environment,
		     const struct source *source, struct dsec_error *err)
{
	_cleanup_free_ char *text = NULL;
	char body[2 * CATALOG_NAME_MAX + 64];

	/* Whatever becomes of us, it ends with us. */
	snprintf(body, sizeof(body), "{\"project\":\"%s\",\"config\":\"%s\",\"held\":true}",
		 source->names.project, source->names.config);
	int r = client_ask(endpoint->socket, "POST", TOKENS, body, &text, err);
	if (r < 0) {
		dsec_error_wrap(err, "--aws: no token was given (--aws-keys needs none)");
		return r;
	}
	json_t *root = json_loads(text, 0, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	const char *id = json_string_value(json_object_get(root, "slug"));
	if (token && id) {
		snprintf(endpoint->token_id, sizeof(endpoint->token_id), "%s", id);
		/* SDKs of before 2024 know no file. */
		environment_set(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN", token);
		r = write_token(endpoint, token, err);
	} else {
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "the daemon gave no token");
	}
	json_decref(root);
	secret_wipe(text, strlen(text));
	return r;
}

/* The SDKs look there last: whatever comes before must not be there. */
static void set_environment(struct environment *environment, const struct aws_endpoint *endpoint,
			    const char *address, const struct source *source, const char *name)
{
	static const char *const others[] = {
		"AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
		"AWS_SECURITY_TOKEN",
		"AWS_PROFILE",
		"AWS_DEFAULT_PROFILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	};
	char url[3 * CATALOG_NAME_MAX + ADDRESS_MAX + 64], key[2 * CATALOG_NAME_MAX];

	for (int i = 0; i < PROPERTIES; i++) {
		snprintf(key, sizeof(key), "%s_%s", name,
			 download_property_suffix((enum download_property)i));
		environment_set(environment, key, NULL);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		environment_set(environment, others[i], NULL);
	snprintf(url, sizeof(url), "http://%s/v3/dsec/credentials/%s/%s/%s", address,
		 source->names.project, source->names.config, name);
	environment_set(environment, "AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
	environment_set(environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
	environment_set(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
			endpoint->token_file);
}

int aws_endpoint_open(struct aws_endpoint *ret, struct environment *environment,
		      const struct source *source, const char *name, struct dsec_error *err)
{
	char file[PATH_MAX], address[ADDRESS_MAX];
	const struct options options = {.config = file};

	if (!catalog_key_valid(name) || strlen(name) > CATALOG_NAME_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "--aws: \"%.64s\" is no name of a dynamic secret", name);
	int r = configuration_of(file, source, err);
	if (r == 0)
		r = address_of(address, file, err);
	if (r == 0 && source->socket[0])
		snprintf(ret->socket, PATH_MAX, "%s", source->socket);
	else if (r == 0)
		r = client_socket(ret->socket, &options, err);
	if (r == 0)
		r = get_token(ret, environment, source, err);
	if (r == 0)
		set_environment(environment, ret, address, source, name);
	return r;
}

void aws_endpoint_hold(const struct aws_endpoint *endpoint)
{
	char path[sizeof(TOKENS) + sizeof(endpoint->token_id) + sizeof("//hold")];
	struct dsec_error err;

	if (!endpoint->token_id[0])
		return;
	snprintf(path, sizeof(path), TOKENS "/%s/hold", endpoint->token_id);
	if (client_ask(endpoint->socket, "POST", path, NULL, NULL, &err) < 0)
		log_error(LOG_WARNING, &err,
			  "--aws: what goes on after the command will get no other lease");
}

void aws_endpoint_close(struct aws_endpoint *endpoint)
{
	char path[sizeof(TOKENS) + sizeof(endpoint->token_id) + 2];
	struct dsec_error ignored;

	if (endpoint->token_file[0])
		unlink(endpoint->token_file);
	if (endpoint->folder[0])
		rmdir(endpoint->folder);
	if (!endpoint->token_id[0])
		return;
	snprintf(path, sizeof(path), TOKENS "/%s", endpoint->token_id);
	client_ask(endpoint->socket, "DELETE", path, NULL, NULL, &ignored);
	endpoint->token_id[0] = '\0';
}
