#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/command.h"
#include "cli/configure.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/values.h"
#include "lease/alloc.h"
#include "lease/catalog.h"

struct wanted {
	const struct options *options;
	char project[ASK_LINE_MAX], config[ASK_LINE_MAX], name[ASK_LINE_MAX];
	char integration[ASK_LINE_MAX], ttl[ASK_LINE_MAX], max_ttl[ASK_LINE_MAX];
	json_t *policy; /* NULL: managed policies alone */
};

static int missing(const char *what, struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      "%s is missing, and there is no terminal to ask at", what);
}

/* From what was given, else from a person, who is offered `offer`; without a person it is
 * `otherwise`, and where that is NULL, missing. */
static int get(char to[ASK_LINE_MAX], const char *given, const char *what, const char *question,
	       const char *offer, const char *otherwise, struct dsec_error *err)
{
	if (!given && ask_possible())
		return ask_line(to, question, offer, err);
	if (!given)
		given = otherwise;
	if (!given)
		return missing(what, err);
	snprintf(to, ASK_LINE_MAX, "%s", given);
	return 0;
}

/* The only integration of the configuration, which a new secret is likely to use. */
static const char *only_integration(char to[ASK_LINE_MAX], const struct options *options)
{
	char file[PATH_MAX];
	struct dsec_error ignored;

	if (configure_file(file, options, &ignored) < 0)
		return NULL;
	json_t *root = json_load_file(file, 0, NULL);
	json_t *all = json_object_get(root, "integrations");
	bool only = json_object_size(all) == 1;
	if (only)
		snprintf(to, ASK_LINE_MAX, "%s", json_object_iter_key(json_object_iter(all)));
	json_decref(root);
	return only ? to : NULL;
}

static int get_policy(struct wanted *wanted, struct dsec_error *err)
{
	const struct options *options = wanted->options;
	_cleanup_free_ char *text = NULL;
	char file[ASK_LINE_MAX];

	if (options->policy)
		return configure_read_json(&wanted->policy, options->policy, err);
	if (options->policy_arns)
		return 0;
	if (!ask_possible())
		return missing("--policy or --policy-arns", err);
	int r = ask_line(file, "File with the policy (nothing: you type it)", "", err);
	if (r < 0)
		return r;
	if (file[0])
		return configure_read_json(&wanted->policy, file, err);
	r = ask_json(&text, "The policy of the leased users", err);
	if (r < 0)
		return r;
	wanted->policy = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return wanted->policy ? 0 : dsec_error_set(err, DSEC_ERROR_INVALID, "this is no JSON text");
}

static int get_names(struct wanted *wanted, struct dsec_error *err)
{
	const struct options *options = wanted->options;
	const char *given[3] = {NULL};

	for (size_t i = 0; i < options->n_operands; i++)
		given[i] = options->operands[i];
	int r = get(wanted->project, given[0], "PROJECT", "Project", NULL, NULL, err);
	if (r == 0)
		r = get(wanted->config, given[1], "CONFIG", "Config", "dev", NULL, err);
	if (r == 0)
		r = get(wanted->name, given[2], "NAME", "Name, with which its keys begin", "AWS",
			NULL, err);
	if (r == 0 && (!catalog_name_valid(wanted->project) || !catalog_name_valid(wanted->config)))
		r = dsec_error_set(err, DSEC_ERROR_INVALID,
				   "%s/%s: letters, digits, _, - and . make a name",
				   wanted->project, wanted->config);
	if (r == 0 && !catalog_key_valid(wanted->name))
		r = dsec_error_set(err, DSEC_ERROR_INVALID,
				   "\"%s\" is no name of a secret: A to Z, digits and _ make one",
				   wanted->name);
	return r;
}

static int get_all(struct wanted *wanted, struct dsec_error *err)
{
	const struct options *options = wanted->options;
	char only[ASK_LINE_MAX];
	const char *known = only_integration(only, options);

	int r = get_names(wanted, err);
	if (r == 0)
		r = get(wanted->integration, options->integration, "--integration", "Integration",
			known, known, err);
	if (r == 0)
		r = get_policy(wanted, err);
	if (r == 0)
		r = get(wanted->ttl, options->ttl, "--ttl", "TTL", "30m", "", err);
	if (r == 0)
		r = get(wanted->max_ttl, options->max_ttl, "--max-ttl", "Longest TTL", "12h", "",
			err);
	return r;
}

static json_t *list_of(const char *text)
{
	json_t *list = json_array();
	size_t n;

	for (; *text; text += n + (text[n] == ',')) {
		n = strcspn(text, ",");
		if (n > 0)
			json_array_append_new(list, json_stringn(text, n));
	}
	return list;
}

static void set(json_t *object, const char *name, const char *value)
{
	if (value && value[0])
		json_object_set_new(object, name, json_string(value));
}

static json_t *dynamic_secret(const struct wanted *wanted)
{
	json_t *all = json_object();

	set(all, "integration", wanted->integration);
	if (wanted->policy)
		json_object_set(all, "policy", wanted->policy);
	if (wanted->options->policy_arns)
		json_object_set_new(all, "policy_arns", list_of(wanted->options->policy_arns));
	set(all, "permissions_boundary", wanted->options->boundary);
	set(all, "ttl", wanted->ttl);
	set(all, "max_ttl", wanted->max_ttl);
	set(all, "scope", wanted->options->scope);
	return all;
}

static int run(const struct options *options)
{
	_cleanup_free_ struct wanted *wanted = alloc_zeroed(1, sizeof(*wanted));
	struct dsec_error err;

	wanted->options = options;
	int r = get_all(wanted, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		json_decref(wanted->policy);
		return err.kind == DSEC_ERROR_INVALID ? STATUS_USAGE : STATUS_FAILED;
	}
	const char *const path[] = {"projects", wanted->project, wanted->config, "dynamic_secrets",
				    wanted->name};
	json_t *value = dynamic_secret(wanted);
	const struct configure_change change = {
		.path = path, .n_path = 5, .value = value, .integration = wanted->integration};
	r = configure(options, &change);
	json_decref(value);
	json_decref(wanted->policy);
	if (r == 0)
		log_line(LOG_INFO,
			 "read it as %s/%s/%s_ACCESS_KEY_ID in the mount, or: dsec run -p "
			 "%s -c %s -- COMMAND",
			 wanted->project, wanted->config, wanted->name, wanted->project,
			 wanted->config);
	return r < 0 ? STATUS_FAILED : STATUS_FINE;
}

const struct command dynamic_secret_add_command = {
	.name = "dynamic-secret add",
	.operands = "[PROJECT [CONFIG [NAME]]]",
	.operands_max = 3,
	.options = OPTION_CONFIG | OPTION_DYNAMIC_SECRET | OPTION_WRITE,
	.summary = "add a dynamic secret to a configuration",
	.help = "Adds a dynamic secret, and its project and config where they are new: asks, on a\n"
		"terminal, for what is left open; tests the integration with AWS; writes the\n"
		"configuration whole or not at all, and has its daemon read it.\n"
		"\n"
		"Exit status: 0; 1 when it does not work, and nothing was written; 2: usage.\n",
	.run = run,
};
