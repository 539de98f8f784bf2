#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/command.h"
#include "cli/configure.h"
#include "cli/file.h"
#include "cli/log.h"
#include "lease/alloc.h"
#include "lease/catalog.h"
#include "lease/secret.h"

/* What is known of the integration, from options and answers. */
struct wanted {
	const struct options *options;
	char file[PATH_MAX]; /* the configuration */
	char name[ASK_LINE_MAX], source[ASK_LINE_MAX], key_id[ASK_LINE_MAX], region[ASK_LINE_MAX];
	char extra[ASK_LINE_MAX]; /* the profile's name, or the command */
	char key_file[PATH_MAX];  /* with the secret key */
	bool key_file_is_new;
};

/* From the option, else from a person, else `otherwise`; where that is NULL, it is missing. */
static int get(char to[ASK_LINE_MAX], const char *option, const char *what, const char *question,
	       const char *otherwise, struct dsec_error *err)
{
	if (option) {
		snprintf(to, ASK_LINE_MAX, "%s", option);
		return 0;
	}
	if (ask_possible())
		return ask_line(to, question, otherwise, err);
	if (!otherwise)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s is missing, and there is no terminal to ask at", what);
	snprintf(to, ASK_LINE_MAX, "%s", otherwise);
	return 0;
}

static int read_secret(char to[ASK_LINE_MAX], struct dsec_error *err)
{
	size_t n = 0;
	ssize_t got;

	while (n < ASK_LINE_MAX - 1 && (got = read(STDIN_FILENO, to + n, ASK_LINE_MAX - 1 - n)) > 0)
		n += (size_t)got;
	to[n] = '\0';
	to[strcspn(to, "\r\n")] = '\0';
	return to[0] ? 0
		     : dsec_error_set(err, DSEC_ERROR_INVALID, "there is no secret key on stdin");
}

/* Into a file of its own: the configuration is for people to read and to show. */
static int get_secret_key(struct wanted *wanted, struct dsec_error *err)
{
	const char *given = wanted->options->secret_access_key_file;
	char secret[ASK_LINE_MAX];
	int r;

	if (given && strcmp(given, "-") != 0) {
		if (!realpath(given, wanted->key_file))
			return dsec_error_set(err, DSEC_ERROR_INVALID, "%s: %s", given,
					      strerror(errno));
		return 0;
	}
	if (given)
		r = read_secret(secret, err);
	else if (ask_possible())
		r = ask_secret(secret, "Secret access key", err);
	else
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "--secret-access-key-file is missing, and there is no "
				      "terminal to ask at");
	if (r == 0)
		r = configure_key_file(wanted->key_file, wanted->file, wanted->name, secret, err);
	wanted->key_file_is_new = r == 0;
	secret_wipe(secret, sizeof(secret));
	return r;
}

static int get_static(struct wanted *wanted, struct dsec_error *err)
{
	int r = get(wanted->key_id, wanted->options->access_key_id, "--access-key-id",
		    "Access key id of dsec's own IAM user", NULL, err);

	return r < 0 ? r : get_secret_key(wanted, err);
}

static int get_all(struct wanted *wanted, struct dsec_error *err)
{
	const struct options *options = wanted->options;

	int r = get(wanted->name, options->n_operands > 0 ? options->operands[0] : NULL, "NAME",
		    "Name of the integration", ask_possible() ? "aws-main" : NULL, err);
	if (r == 0 && !catalog_name_valid(wanted->name))
		r = dsec_error_set(err, DSEC_ERROR_INVALID,
				   "\"%s\" is no name: letters, digits, _, - and . make one",
				   wanted->name);
	if (r == 0)
		r = get(wanted->source, options->source, "--source",
			"Credentials: static, environment, profile or process", "static", err);
	if (r < 0)
		return r;
	if (strcmp(wanted->source, "static") == 0)
		r = get_static(wanted, err);
	else if (strcmp(wanted->source, "profile") == 0)
		r = get(wanted->extra, options->profile, "--profile", "Profile", "default", err);
	else if (strcmp(wanted->source, "process") == 0)
		r = get(wanted->extra, options->credential_process, "--credential-process",
			"Command", NULL, err);
	else if (strcmp(wanted->source, "environment") != 0)
		r = dsec_error_set(err, DSEC_ERROR_INVALID,
				   "--source: \"%s\" is none of static, environment, profile and "
				   "process",
				   wanted->source);
	if (r == 0)
		r = get(wanted->region, options->region, "--region", "Region", "us-east-1", err);
	return r;
}

static json_t *credentials(const struct wanted *wanted)
{
	if (strcmp(wanted->source, "static") == 0)
		return json_pack("{s:s, s:s, s:s}", "source", "static", "access_key_id",
				 wanted->key_id, "secret_access_key_file", wanted->key_file);
	if (strcmp(wanted->source, "profile") == 0)
		return json_pack("{s:s, s:s}", "source", "profile", "profile", wanted->extra);
	if (strcmp(wanted->source, "process") == 0)
		return json_pack("{s:s, s:s}", "source", "process", "command", wanted->extra);
	return json_pack("{s:s}", "source", "environment");
}

static json_t *integration(const struct wanted *wanted)
{
	const struct options *options = wanted->options;
	const char *const more[][2] = {
		{"endpoint", options->endpoint},
		{"sts_endpoint", options->sts_endpoint},
		{"ca_file", options->ca_file},
		{"path", options->path},
	};
	json_t *all = json_pack("{s:s, s:o, s:s}", "type", "aws-iam", "credentials",
				credentials(wanted), "region", wanted->region);

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (more[i][1])
			json_object_set_new(all, more[i][0], json_string(more[i][1]));
	return all;
}

static int run(const struct options *options)
{
	_cleanup_free_ struct wanted *wanted = alloc_zeroed(1, sizeof(*wanted));
	struct dsec_error err;

	wanted->options = options;
	int r = configure_file(wanted->file, options, &err);
	if (r == 0)
		r = get_all(wanted, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		return err.kind == DSEC_ERROR_INVALID ? STATUS_USAGE : STATUS_FAILED;
	}
	const char *const path[] = {"integrations", wanted->name};
	json_t *value = integration(wanted);
	const struct configure_change change = {
		.path = path, .n_path = 2, .value = value, .integration = wanted->name};
	r = configure(options, &change);
	json_decref(value);
	if (r < 0 && wanted->key_file_is_new)
		unlink(wanted->key_file);
	if (r < 0)
		log_line(LOG_INFO, "added with --no-test, 'dsec integration policy' prints what "
				   "its user has to be allowed");
	return r < 0 ? STATUS_FAILED : STATUS_FINE;
}

const struct command integration_add_command = {
	.name = "integration add",
	.operands = "[NAME]",
	.operands_max = 1,
	.options = OPTION_CONFIG | OPTION_INTEGRATION | OPTION_WRITE,
	.summary = "add an integration to a configuration",
	.help = "Adds an integration: asks, on a terminal, for what the options leave open; tests "
		"it\n"
		"with AWS; writes the configuration whole or not at all, and has its daemon read "
		"it.\n"
		"A secret key that is typed or comes from stdin is kept in NAME.key, mode 0600.\n"
		"\n"
		"Exit status: 0; 1 when it does not work, and nothing was written; 2: usage.\n",
	.run = run,
};
