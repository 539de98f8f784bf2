#include <stdio.h>

#include "cli/account.h"
#include "cli/cloud.h"
#include "cli/command.h"
#include "cli/mountable.h"

static int run(const struct options *options)
{
	_cleanup_cloud_ struct cloud cloud = {0};
	int status = STATUS_FINE;

	if (cloud_open(&cloud, options) < 0)
		return STATUS_FAILED;
	for (size_t i = 0; i < cloud.catalog->n_integrations; i++)
		if (!account_check(&cloud, &cloud.catalog->integrations[i]))
			status = STATUS_FAILED;
	if (!mountable_check())
		status = STATUS_FAILED;
	if (status == STATUS_FINE)
		puts("fine");
	return status;
}

const struct command check_command = {
	.name = "check",
	.operands = "",
	.options = OPTION_CONFIG,
	.summary = "check the configuration, the credentials and the permissions",
	.help = "Checks the configuration: every mistake is told with its line and its place. "
		"Then\n"
		"asks AWS, with the credentials of each integration, whether they work, what they "
		"lack\n"
		"and how many users the account has room for; and looks whether this user can "
		"mount\n"
		"and who will see the mount. Changes nothing.\n"
		"\n"
		"Exit status: 0 when it would all work, else 1.\n",
	.run = run,
};
