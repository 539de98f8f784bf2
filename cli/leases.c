#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/recorded.h"
#include "lease/alloc.h"
#include "lease/catalog.h"
#include "lease/duration.h"
#include "lease/journal.h"

#define LEASES "/v3/dsec/leases"

static int fetch(const char *socket, char **ret, struct dsec_error *err)
{
	return client_ask(socket, "GET", LEASES, NULL, ret, err);
}

static const char *member(const json_t *lease, const char *name)
{
	const char *text = json_string_value(json_object_get(lease, name));

	return text ? text : "";
}

static void print_table(const json_t *leases)
{
	const json_t *lease;
	size_t i;

	json_array_foreach(leases, i, lease)
	{
		printf("%s\t%s\t%s/%s/%s\t%s\t%s\n", member(lease, "id"), member(lease, "state"),
		       member(lease, "project"), member(lease, "config"), member(lease, "secret"),
		       member(lease, "user"), member(lease, "expires"));
	}
}

/* Where no daemon answers, its journal still knows whose users are left. */
static int fetch_recorded(const struct options *options, char **ret, struct dsec_error *err)
{
	struct dsec_error unreachable = *err;
	char folder[PATH_MAX];

	if (unreachable.kind != DSEC_ERROR_UNREACHABLE)
		return -dsec_error_errno(err->kind);
	int r = paths_state(folder, options->state, err);
	if (r == 0)
		r = recorded_leases(ret, folder, err);
	if (r < 0)
		dsec_error_wrap(err, "%s", unreachable.message);
	else
		log_line(LOG_WARNING, "%s; this is what the journal in %s holds",
			 unreachable.message, folder);
	return r;
}

static int run_list(const struct options *options)
{
	_cleanup_free_ char *text = NULL;
	char socket[PATH_MAX];
	struct dsec_error err;

	if ((client_socket(socket, options, &err) < 0 || fetch(socket, &text, &err) < 0) &&
	    fetch_recorded(options, &text, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (options->json) {
		puts(text);
		return STATUS_FINE;
	}
	json_t *root = json_loads(text, 0, NULL);
	print_table(json_object_get(root, "leases"));
	json_decref(root);
	return STATUS_FINE;
}

/* An id stands in a URL: whatever is none is refused before it gets there. */
static bool is_id(const char *text)
{
	return strlen(text) == LEASE_ID_MAX - 1 &&
	       strspn(text, "0123456789abcdef-") == LEASE_ID_MAX - 1;
}

static int ask_about(const char *socket, const char *id, const char *method, const char *end,
		     const char *body, struct dsec_error *err)
{
	char path[sizeof(LEASES) + LEASE_ID_MAX + 16];

	if (!is_id(id))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "\"%s\" is no lease's id: 'dsec leases' lists them", id);
	snprintf(path, sizeof(path), LEASES "/%s%s", id, end);
	return client_ask(socket, method, path, body, NULL, err);
}

static bool revoke(const char *socket, const char *id)
{
	struct dsec_error err;

	if (ask_about(socket, id, "DELETE", "", NULL, &err) == 0)
		return true;
	log_error(LOG_ERR, &err, NULL);
	return false;
}

static bool revoke_all(const char *socket)
{
	_cleanup_free_ char *text = NULL;
	struct dsec_error err;
	const json_t *lease;
	size_t i;
	bool fine = true;

	if (fetch(socket, &text, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return false;
	}
	json_t *root = json_loads(text, 0, NULL);
	json_array_foreach(json_object_get(root, "leases"), i, lease)
	{
		if (strcmp(member(lease, "state"), "active") == 0)
			fine = revoke(socket, member(lease, "id")) && fine;
	}
	json_decref(root);
	return fine;
}

static int run_revoke(const struct options *options)
{
	char socket[PATH_MAX];
	struct dsec_error err;
	bool fine = true;

	if (options->all == (options->n_operands > 0)) {
		log_line(LOG_ERR, "name the leases to revoke, or say --all");
		return STATUS_USAGE;
	}
	if (client_socket(socket, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (options->all)
		fine = revoke_all(socket);
	for (size_t i = 0; i < options->n_operands; i++)
		fine = revoke(socket, options->operands[i]) && fine;
	return fine ? STATUS_FINE : STATUS_FAILED;
}

static int run_renew(const struct options *options)
{
	const char *ttl = options->operands[1];
	char socket[PATH_MAX], body[64];
	struct dsec_error err;
	int64_t ttl_ms;

	if (duration_parse(ttl, strlen(ttl), &ttl_ms) < 0 || ttl_ms < CATALOG_TTL_MIN_MS) {
		log_line(LOG_ERR, "\"%s\" is no TTL: at least 10s, such as 30m or 1h30m", ttl);
		return STATUS_USAGE;
	}
	snprintf(body, sizeof(body), "{\"ttl_sec\":%" PRId64 "}", ttl_ms / 1000);
	if (client_socket(socket, options, &err) < 0 ||
	    ask_about(socket, options->operands[0], "POST", "/renew", body, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return STATUS_FINE;
}

const struct command leases_command = {
	.name = "leases",
	.operands = "",
	.options = OPTION_CONFIG | OPTION_STATE | OPTION_SOCKET | OPTION_JSON,
	.summary = "list the leases of the running daemon",
	.help = "Prints each lease: id, state, project/config/secret, IAM user, end; separated by "
		"tabs.\n"
		"With --json all that the daemon knows of them; never a secret. Where no daemon "
		"answers,\n"
		"those that the journal in the state folder holds.\n"
		"\n"
		"Exit status: 0, or 1 when there is neither a daemon nor a journal.\n",
	.run = run_list,
};

const struct command leases_revoke_command = {
	.name = "leases revoke",
	.operands = "ID…|--all",
	.operands_max = OPERANDS_MAX,
	.options = OPTION_CONFIG | OPTION_SOCKET | OPTION_ALL,
	.summary = "end leases before their TTL",
	.help = "Ends the leases: from now on no reader gets them, and their IAM users are "
		"removed. A\n"
		"reader that comes later gets a new lease.\n"
		"\n"
		"Exit status: 0 when the daemon ends all of them, else 1.\n",
	.run = run_revoke,
};

const struct command leases_renew_command = {
	.name = "leases renew",
	.operands = "ID TTL",
	.operands_min = 2,
	.operands_max = 2,
	.options = OPTION_CONFIG | OPTION_SOCKET,
	.summary = "move the end of a lease",
	.help = "Moves the end of the lease to TTL from now (30m, 1h30m), but not beyond the "
		"max_ttl that\n"
		"it was made with. Its key and its user stay the same.\n"
		"\n"
		"Exit status: 0 when the daemon begins to renew it, else 1; 'dsec leases' shows "
		"the "
		"end.\n",
	.run = run_renew,
};
