#include <limits.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "lease/duration.h"

static void print_config(const struct config *config)
{
	for (size_t i = 0; i < config->n_dynamics; i++) {
		const struct dynamic_secret *secret = &config->dynamics[i];
		char ttl[DURATION_TEXT_MAX], max_ttl[DURATION_TEXT_MAX];

		duration_format(ttl, secret->ttl_ms);
		duration_format(max_ttl, secret->max_ttl_ms);
		printf("%s\t%s\t%s\t%s\t%s\t%s\n", config->project, config->name, secret->name,
		       secret->integration->name, ttl, max_ttl);
	}
}

static int run(const struct options *options)
{
	_cleanup_catalog_ struct catalog *catalog = NULL;
	struct dsec_error err;
	char file[PATH_MAX];

	if (paths_config(file, options->config, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	catalog = configuration_load(file);
	if (!catalog)
		return STATUS_FAILED;
	for (size_t i = 0; i < catalog->n_projects; i++)
		for (size_t j = 0; j < catalog->projects[i].n_configs; j++)
			print_config(&catalog->projects[i].configs[j]);
	return STATUS_FINE;
}

const struct command dynamic_secret_list_command = {
	.name = "dynamic-secret list",
	.operands = "",
	.options = OPTION_CONFIG,
	.summary = "list the dynamic secrets of a configuration",
	.help = "Prints each dynamic secret of the configuration: project, config, name, "
		"integration,\n"
		"TTL and the longest TTL, separated by tabs.\n",
	.run = run,
};
