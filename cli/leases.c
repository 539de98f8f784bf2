#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/lease_table.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/printable.h"
#include "cli/recorded.h"
#include "cli/style.h"
#include "lease/alloc.h"
#include "lease/catalog.h"
#include "lease/duration.h"
#include "lease/journal.h"

#define LEASES         "/v3/dsec/leases"
#define ID_BEGIN_MIN   4 /* of an id, to name a lease by */
#define WATCH_EVERY_US 1000000

static int fetch(const char *socket, char **ret, struct dsec_error *err)
{
	return client_ask(socket, "GET", LEASES, NULL, ret, err);
}

static const char *member(const json_t *lease, const char *name)
{
	const char *text = json_string_value(json_object_get(lease, name));

	return text ? text : "";
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

static int look(char **ret, const struct options *options, struct dsec_error *err)
{
	char socket[PATH_MAX];

	if (client_socket(socket, options, err) == 0 && fetch(socket, ret, err) == 0)
		return 0;
	return fetch_recorded(options, ret, err);
}

static void print_leases(const char *text, const struct options *options)
{
	if (options->json) {
		puts(text);
		return;
	}
	json_t *root = json_loads(text, 0, NULL);
	printable_json(root);
	const json_t *leases = json_object_get(root, "leases");
	if (json_array_size(leases) == 0)
		puts("no leases: nothing is leased, and no user of this daemon is left");
	else
		lease_table_print(leases, style_columns(STDOUT_FILENO), style_wanted(STDOUT_FILENO),
				  time(NULL));
	json_decref(root);
}

static int run_list(const struct options *options)
{
	bool clear = options->watch && isatty(STDOUT_FILENO);
	struct dsec_error err;

	if (options->watch && options->json)
		return command_misused(&leases_command, "--watch shows a table: leave --json out");
	do {
		_cleanup_free_ char *text = NULL;

		if (look(&text, options, &err) < 0) {
			log_error(LOG_ERR, &err, NULL);
			return STATUS_FAILED;
		}
		if (clear)
			fputs("\033[H\033[2J", stdout);
		print_leases(text, options);
		fflush(stdout);
	} while (options->watch && !ferror(stdout) && usleep(WATCH_EVERY_US) == 0);
	return STATUS_FINE;
}

/* An id stands in a URL: whatever is none is refused before it gets there. */
static bool is_id_text(const char *text)
{
	return text[strspn(text, "0123456789abcdef-")] == '\0';
}

/* The whole id of the one lease whose id begins so. */
static int complete_id(char to[LEASE_ID_MAX], const char *socket, const char *begin,
		       struct dsec_error *err)
{
	_cleanup_free_ char *text = NULL;
	const json_t *lease;
	size_t i, n = 0;

	int r = fetch(socket, &text, err);
	if (r < 0)
		return r;
	json_t *root = json_loads(text, 0, NULL);
	json_array_foreach(json_object_get(root, "leases"), i, lease)
	{
		const char *id = member(lease, "id");
		if (strncmp(id, begin, strlen(begin)) == 0 && n++ == 0)
			snprintf(to, LEASE_ID_MAX, "%s", id);
	}
	json_decref(root);
	if (n == 1)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      n == 0 ? "no lease's id begins with \"%s\": 'dsec leases' lists them"
				     : "several leases' ids begin with \"%s\": give more of it",
			      begin);
}

static int ask_about(const char *socket, const char *given, const char *method, const char *end,
		     const char *body, struct dsec_error *err)
{
	char path[sizeof(LEASES) + LEASE_ID_MAX + 16], id[LEASE_ID_MAX];
	size_t n = strlen(given);

	if (n < ID_BEGIN_MIN || n >= LEASE_ID_MAX || !is_id_text(given))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "\"%s\" is no lease's id: 'dsec leases' lists them", given);
	snprintf(id, sizeof(id), "%s", given);
	int r = n < LEASE_ID_MAX - 1 ? complete_id(id, socket, given, err) : 0;
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), LEASES "/%s%s", id, end);
	return client_ask(socket, method, path, body, NULL, err);
}

static bool revoke_one(const char *socket, const char *id)
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
			fine = revoke_one(socket, member(lease, "id")) && fine;
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
		fine = revoke_one(socket, options->operands[i]) && fine;
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
	.options = OPTION_CONFIG | OPTION_STATE | OPTION_SOCKET | OPTION_JSON | OPTION_WATCH,
	.summary = "list the leases of the running daemon",
	.help = "Prints a table of the leases, the one that ends first above: who holds it, how "
		"old it\n"
		"is, and how much of its time is left. On a narrow terminal ids and users are "
		"short;\n"
		"the first characters of an id are enough to name it. With --json all that the "
		"daemon\n"
		"knows; never a secret. Where no daemon answers, what its journal holds.\n"
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
