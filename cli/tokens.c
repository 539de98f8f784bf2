#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/names.h"
#include "cli/printable.h"
#include "lease/alloc.h"
#include "lease/duration.h"
#include "lease/secret.h"

#define TOKENS       "/v3/dsec/tokens"
#define TOKEN_ID_MAX 64

/* 0: it does not expire. */
static int read_expires(int64_t *ret_s, const char *text, struct dsec_error *err)
{
	int64_t ms = 0;

	*ret_s = 0;
	if (!text)
		return 0;
	if (duration_parse(text, strlen(text), &ms) < 0 || ms < 1000)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "--expires: \"%s\" is no duration such as 24h or 90m, of at "
				      "least 1s",
				      text);
	*ret_s = ms / 1000;
	return 0;
}

static int create(const char *socket, const struct names *names, int64_t expires_s, char **ret,
		  struct dsec_error *err)
{
	char body[2 * CATALOG_NAME_MAX + 128], ttl[64] = "";

	if (expires_s > 0)
		snprintf(ttl, sizeof(ttl), ",\"ttl_sec\":%" PRId64, expires_s);
	snprintf(body, sizeof(body), "{\"project\":\"%s\",\"config\":\"%s\"%s}", names->project,
		 names->config, ttl);
	return client_ask(socket, "POST", TOKENS, body, ret, err);
}

static int print_token(char *text, struct dsec_error *err)
{
	json_t *root = json_loads(text, 0, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	int r = token ? 0 : dsec_error_set(err, DSEC_ERROR_FAULT, "the daemon gave no token");

	if (token)
		puts(token);
	json_decref(root);
	secret_wipe(text, strlen(text));
	return r;
}

static int run_create(const struct options *options)
{
	_cleanup_free_ char *text = NULL;
	char socket[PATH_MAX];
	struct names names;
	struct dsec_error err;
	int64_t expires_s;

	if (read_expires(&expires_s, options->expires, &err) < 0)
		return command_misused(&tokens_create_command, "%s", err.message);
	if (names_find(&names, options, &err) < 0 || names_required(&names, &err) < 0 ||
	    client_socket(socket, options, &err) < 0 ||
	    create(socket, &names, expires_s, &text, &err) < 0 || print_token(text, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return STATUS_FINE;
}

static const char *member(const json_t *token, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(token, name));

	return text ? text : otherwise;
}

static void print_tokens(const json_t *tokens)
{
	const json_t *token;
	size_t i;

	printf("%-18s  %-24s  %-20s  %-20s  %s\n", "ID", "CONFIG", "CREATED", "EXPIRES",
	       "LAST USED");
	json_array_foreach(tokens, i, token)
	{
		char config[2 * CATALOG_NAME_MAX + 4];
		bool held = json_array_size(json_object_get(token, "processes")) > 0;

		snprintf(config, sizeof(config), "%s/%s", member(token, "project", ""),
			 member(token, "config", ""));
		/* To the second. */
		printf("%-18s  %-24s  %-20.19s  %-20.19s  %.19s\n", member(token, "slug", ""),
		       config, member(token, "created_at", "-"),
		       member(token, "expires_at", held ? "with its process" : "never"),
		       member(token, "last_seen_at", "-"));
	}
}

static int run_list(const struct options *options)
{
	_cleanup_free_ char *text = NULL;
	char socket[PATH_MAX];
	struct dsec_error err;

	if (client_socket(socket, options, &err) < 0 ||
	    client_ask(socket, "GET", TOKENS, NULL, &text, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (options->json) {
		puts(text);
		return STATUS_FINE;
	}
	json_t *root = json_loads(text, 0, NULL);
	printable_json(root);
	const json_t *tokens = json_object_get(root, "tokens");
	if (json_array_size(tokens) == 0)
		puts("no tokens: 'dsec tokens create' makes one");
	else
		print_tokens(tokens);
	json_decref(root);
	return STATUS_FINE;
}

/* An id stands in a URL. */
static bool is_id(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n < TOKEN_ID_MAX && !text[n];
}

static int revoke_one(const char *socket, const char *id, struct dsec_error *err)
{
	char path[sizeof(TOKENS) + TOKEN_ID_MAX + 2];

	if (!is_id(id))
		return dsec_error_set(
			err, DSEC_ERROR_INVALID,
			"\"%.64s\" is no token's id: 'dsec tokens list' lists them (the "
			"token itself names nothing)",
			id);
	snprintf(path, sizeof(path), TOKENS "/%s", id);
	return client_ask(socket, "DELETE", path, NULL, NULL, err);
}

static int run_revoke(const struct options *options)
{
	char socket[PATH_MAX];
	struct dsec_error err;
	int status = STATUS_FINE;

	if (client_socket(socket, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < options->n_operands; i++)
		if (revoke_one(socket, options->operands[i], &err) < 0) {
			log_error(LOG_ERR, &err, NULL);
			status = STATUS_FAILED;
		}
	return status;
}

const struct command tokens_create_command = {
	.name = "tokens create",
	.operands = "",
	.options = OPTION_NAMES | OPTION_EXPIRES | OPTION_SOCKET,
	.summary = "make a token with which the API gives one config",
	.help = "Prints a new token for one config: whoever sends it to the API gets the config's "
		"secrets. It is shown once, and the daemon keeps its hash alone. For Doppler's own "
		"clients it is a service token (DOPPLER_TOKEN).\n"
		"\n"
		"Exit status: 0, or 1 when the daemon refuses.\n",
	.run = run_create,
};

const struct command tokens_list_command = {
	.name = "tokens list",
	.operands = "",
	.options = OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON,
	.summary = "list the tokens of the API",
	.help = "Prints each token's id, its config, when it was made and used, and when it ends.\n"
		"The tokens themselves are nowhere kept.\n",
	.run = run_list,
};

const struct command tokens_revoke_command = {
	.name = "tokens revoke",
	.operands = "ID…",
	.operands_min = 1,
	.operands_max = OPERANDS_MAX,
	.options = OPTION_CONFIG | OPTION_SOCKET,
	.summary = "end tokens of the API",
	.help = "From now on the API does not know the tokens. The leases that it has given for\n"
		"them live to their TTL: 'dsec leases revoke'.\n"
		"\n"
		"Exit status: 0 when all are revoked, else 1.\n",
	.run = run_revoke,
};
