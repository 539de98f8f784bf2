#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cloud.h"
#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/paths.h"

static const char *source_name(enum credentials_source source)
{
	switch (source) {
	case CREDENTIALS_STATIC:
		return "static";
	case CREDENTIALS_ENVIRONMENT:
		return "environment";
	case CREDENTIALS_PROFILE:
		return "profile";
	case CREDENTIALS_PROCESS:
		return "process";
	}
	return "?";
}

static struct catalog *load(const struct options *options)
{
	struct dsec_error err;
	char file[PATH_MAX];

	if (paths_config(file, options->config, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return NULL;
	}
	return configuration_load(file);
}

static const struct integration *find(const struct catalog *catalog, const char *name)
{
	const struct integration *integration = catalog_integration(catalog, name);

	if (!integration)
		log_line(LOG_ERR, "there is no integration '%s' in the configuration", name);
	return integration;
}

static int run_list(const struct options *options)
{
	_cleanup_catalog_ struct catalog *catalog = load(options);

	if (!catalog)
		return STATUS_FAILED;
	for (size_t i = 0; i < catalog->n_integrations; i++) {
		const struct integration *integration = &catalog->integrations[i];
		printf("%s\t%s\t%s\t%s\t%s\n", integration->name,
		       source_name(integration->credentials.source), integration->region,
		       integration->endpoint, integration->path);
	}
	return STATUS_FINE;
}

const struct command integration_list_command = {
	.name = "integration list",
	.operands = "",
	.options = OPTION_CONFIG,
	.summary = "list the integrations of a configuration",
	.help = "Prints each integration of the configuration: its name, where its credentials "
		"come\n"
		"from, its region, its IAM endpoint and its path, separated by tabs.\n",
	.run = run_list,
};

static int run_policy(const struct options *options)
{
	_cleanup_catalog_ struct catalog *catalog = load(options);
	_cleanup_free_ char *policy = NULL;

	if (!catalog)
		return STATUS_FAILED;
	const struct integration *integration = find(catalog, options->operands[0]);
	if (!integration)
		return STATUS_FAILED;
	policy = aws_integration_policy(catalog, integration, options->account);
	if (!policy) {
		log_line(LOG_ERR, "out of memory");
		return STATUS_FAILED;
	}
	puts(policy);
	return STATUS_FINE;
}

const struct command integration_policy_command = {
	.name = "integration policy",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.options = OPTION_CONFIG | OPTION_ACCOUNT,
	.summary = "print the IAM policy that an integration's own user needs",
	.help = "Prints the IAM policy that the user of the integration NAME needs for what the\n"
		"configuration asks of it, limited to the integration's path. Nothing is asked of "
		"AWS.\n",
	.run = run_policy,
};

static int run_test(const struct options *options)
{
	_cleanup_cloud_ struct cloud cloud = {0};

	if (cloud_open(&cloud, options) < 0)
		return STATUS_FAILED;
	const struct integration *integration = find(cloud.catalog, options->operands[0]);
	if (!integration)
		return STATUS_FAILED;
	return account_check(&cloud, integration) ? STATUS_FINE : STATUS_FAILED;
}

const struct command integration_test_command = {
	.name = "integration test",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.options = OPTION_CONFIG,
	.summary = "try the credentials and permissions of an integration",
	.help = "Asks AWS with the credentials of the integration NAME who they are, what they may "
		"do\n"
		"and how many users the account has room for. Changes nothing.\n"
		"\n"
		"Exit status: 0 when it can lease, else 1.\n",
	.run = run_test,
};
