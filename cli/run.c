#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/aws_endpoint.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/executable.h"
#include "cli/hold.h"
#include "cli/lease_watch.h"
#include "cli/log.h"
#include "cli/pipe_file.h"
#include "cli/source.h"
#include "cli/values.h"
#include "cli/words.h"
#include "lease/alloc.h"

#define SECRETS_PATH "DOPPLER_CLI_SECRETS_PATH"

struct run {
	const struct options *options;
	char path[PATH_MAX];
	const char *const *argv;
	struct source source;
	struct source_choice choice;
	unsigned long max_reads;
	struct environment environment;
	struct pipe_file pipe;
	struct lease_watch watch;
	struct aws_endpoint endpoint;
};

/* Before anything is leased. */

static int read_choice(struct run *run, struct dsec_error *err)
{
	const struct options *options = run->options;
	const char *format = options->format ? options->format : options->mount_format;
	struct download_choice *download = &run->choice.download;

	int r = words_transformer(&download->names, options->name_transformer, true, err);
	if (r == 0)
		r = words_mount_format(&download->format, format, options->mount, err);
	if (r == 0)
		r = words_count(&run->max_reads, "--mount-max-reads", options->mount_max_reads,
				err);
	if (r == 0)
		r = source_ttl(&run->choice.ttl_ms, options->dynamic_ttl, err);
	download->only = options->only_secrets;
	run->choice.own = true;
	return r;
}

static const char *const *command_line(const struct options *options)
{
	static const char *shell[] = {NULL, "-c", NULL, NULL};

	if (!options->command)
		return options->operands;
	shell[0] = executable_shell();
	shell[2] = options->command;
	return shell;
}

/* The secrets. */

/* What is asked for also when it is not to be in the environment. */
static char *with_aws_keys(const char *only, const char *name)
{
	size_t size = strlen(only) + 2 * strlen(name) + 64;
	char *list = alloc_zeroed(size, 1);

	snprintf(list, size, "%s,%s_ACCESS_KEY_ID,%s_SECRET_ACCESS_KEY", only, name, name);
	return list;
}

static int get(struct run *run, json_t **ret, char **ret_missing, struct dsec_error *err)
{
	const char *only = run->options->only_secrets, *aws = run->options->aws_keys;
	_cleanup_free_ char *list = only && aws ? with_aws_keys(only, aws) : NULL;
	struct source_choice choice = run->choice;
	struct download text = {0};

	choice.download =
		(struct download_choice){.format = FORMAT_JSON, .only = list ? list : only};
	int r = source_get(&text, &run->watch.lease, ret_missing, &run->source, &choice, err);
	if (r < 0)
		return r;
	*ret = values_json(&text);
	download_finish(&text);
	if (!*ret)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "the daemon gave no JSON object");
	return 0;
}

static int check_missing(const struct run *run, const char *missing, struct dsec_error *err)
{
	if (!missing || !missing[0])
		return 0;
	if (!run->options->missing_fine)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "--only-secrets: %s/%s does not have %s",
				      run->source.names.project, run->source.names.config, missing);
	log_line(LOG_WARNING, "--only-secrets: %s/%s does not have %s", run->source.names.project,
		 run->source.names.config, missing);
	return 0;
}

/* Where the programs of AWS look first: another's session or profile must not be mixed with the
 * key. */
static int set_aws_keys(struct run *run, const json_t *values, struct dsec_error *err)
{
	static const char *const others[] = {"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
					     "AWS_PROFILE", "AWS_DEFAULT_PROFILE"};
	const char *name = run->options->aws_keys;
	char key[VALUES_NAME_MAX], secret[VALUES_NAME_MAX];

	if (!name)
		return 0;
	snprintf(key, sizeof(key), "%s_ACCESS_KEY_ID", name);
	snprintf(secret, sizeof(secret), "%s_SECRET_ACCESS_KEY", name);
	const char *key_value = json_string_value(json_object_get(values, key));
	const char *secret_value = json_string_value(json_object_get(values, secret));
	if (!key_value || !secret_value)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "--aws-keys: %s/%s has no dynamic secret %s",
				      run->source.names.project, run->source.names.config, name);
	environment_set(&run->environment, "AWS_ACCESS_KEY_ID", key_value);
	environment_set(&run->environment, "AWS_SECRET_ACCESS_KEY", secret_value);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		environment_set(&run->environment, others[i], NULL);
	return 0;
}

static int fill_environment(struct run *run, const json_t *values, struct dsec_error *err)
{
	struct download_choice choice = run->choice.download;
	struct download text = {0};

	choice.format = FORMAT_JSON;
	int r = values_render(&text, values, &choice, err);
	if (r < 0)
		return r;
	json_t *chosen = values_json(&text);
	environment_add(&run->environment, chosen, run->options->preserve_env);
	json_decref(chosen);
	download_finish(&text);
	return 0;
}

static int make_pipe(struct run *run, const json_t *values, struct dsec_error *err)
{
	struct download text = {0};

	int r = values_render(&text, values, &run->choice.download, err);
	if (r == 0)
		r = pipe_file_make(&run->pipe, run->options->mount, &text, run->max_reads, err);
	if (r == 0)
		environment_set(&run->environment, SECRETS_PATH, run->pipe.path);
	download_finish(&text);
	return r;
}

static int prepare(struct run *run, struct dsec_error *err)
{
	_cleanup_free_ char *missing = NULL;
	json_t *values = NULL;

	int r = get(run, &values, &missing, err);
	if (r < 0)
		return r;
	r = check_missing(run, missing, err);
	if (r == 0)
		r = run->options->mount ? make_pipe(run, values, err)
					: fill_environment(run, values, err);
	if (r == 0)
		r = set_aws_keys(run, values, err);
	if (r == 0 && run->options->aws)
		r = aws_endpoint_open(&run->endpoint, &run->environment, &run->source,
				      run->options->aws, err);
	json_decref(values);
	return r;
}

/* While it runs. */

static void forget(void *arg)
{
	struct run *run = arg;

	environment_finish(&run->environment);
}

static void begin(void *arg)
{
	struct run *run = arg;

	lease_watch_begin(&run->watch);
	aws_endpoint_hold(&run->endpoint);
	if (run->pipe.path[0])
		pipe_file_serve(&run->pipe);
}

static void end(void *arg)
{
	struct run *run = arg;

	pipe_file_remove(&run->pipe);
	aws_endpoint_close(&run->endpoint);
	lease_watch_end(&run->watch);
}

static int hold(struct run *run)
{
	const struct hold hold = {
		.path = run->path,
		.argv = (char *const *)run->argv,
		.envp = run->environment.at,
		.keep_fd = run->watch.lease.fd,
		.forget = forget,
		.begin = begin,
		.end = end,
		.arg = run,
	};

	return hold_run(&hold);
}

static int check_usage(const struct options *options)
{
	if (options->command && options->n_operands > 0)
		return command_misused(&run_command,
				       "--command and the operands are two command lines: which?");
	if (!options->command && options->n_operands == 0)
		return command_misused(&run_command, "say what to run: dsec run -- COMMAND");
	if (!options->mount && (options->format || options->mount_format))
		return command_misused(&run_command, "--format goes with --mount");
	if (options->aws && options->aws_keys)
		return command_misused(&run_command, "--aws or --aws-keys, not both");
	if (!options->mount && options->mount_max_reads)
		return command_misused(&run_command, "--mount-max-reads goes with --mount");
	return STATUS_FINE;
}

static int run_it(const struct options *options)
{
	struct run run = {.options = options, .watch = {.lease = {.fd = -1}}};
	struct dsec_error err;

	int status = check_usage(options);
	if (status != STATUS_FINE)
		return status;
	environment_init(&run.environment); /* before libraries change it */
	run.watch.source = &run.source;
	if (read_choice(&run, &err) < 0) {
		status = command_misused(&run_command, "%s", err.message);
		environment_finish(&run.environment);
		return status;
	}
	run.argv = command_line(options);
	status = executable_find(run.path, run.argv[0], &err);
	if (status == 0 && options->mount && pipe_file_check(options->mount, &err) < 0)
		status = STATUS_FAILED;
	if (status == 0 &&
	    (source_find(&run.source, options, &err) < 0 || prepare(&run, &err) < 0)) {
		status = STATUS_FAILED;
		end(&run);
		pipe_file_forget(&run.pipe);
	} else if (status == 0) {
		status = hold(&run);
		pipe_file_forget(&run.pipe);
		return status;
	}
	log_error(LOG_ERR, &err, NULL);
	environment_finish(&run.environment);
	return status;
}

const struct command run_command = {
	.name = "run",
	.operands = "-- COMMAND…",
	.operands_max = SIZE_MAX,
	.verbatim = true,
	.options = OPTION_NAMES | OPTION_COMMAND | OPTION_DYNAMIC_TTL | OPTION_ONLY_SECRETS |
		   OPTION_TRANSFORMER | OPTION_PRESERVE_ENV | OPTION_MOUNT | OPTION_FORMAT |
		   OPTION_AWS | OPTION_TREE | OPTION_SOCKET | OPTION_DOPPLER,
	.summary = "run a command with a config's secrets, on a lease of its own",
	.help = "Runs COMMAND with the secrets of a config in its environment. The lease is the\n"
		"command's own: renewed while it runs, and ended when all of it is gone. Exits "
		"as\n"
		"COMMAND does, with 128+N for signal N; 127: there is no such command; 126: it\n"
		"cannot be run; 1: no lease.\n",
	.run = run_it,
};
