#include "lease/sweep.h"

#include <stdio.h>

#include "cli/cloud.h"
#include "cli/command.h"
#include "cli/log.h"

struct sweeping {
	const struct integration *integration;
	bool dry_run;
	bool done, failed;
	size_t found;
};

static void report(void *arg, enum sweep_event event, const struct provider_user *user,
		   const char *reason, const struct dsec_error *err)
{
	struct sweeping *sweeping = arg;
	const char *name = sweeping->integration->name;

	switch (event) {
	case SWEEP_FOUND:
		sweeping->found++;
		if (sweeping->dry_run)
			printf("%s: would remove %s %s\n", name, user->path, user->name);
		break;
	case SWEEP_REMOVED:
		printf("%s: removed %s %s\n", name, user->path, user->name);
		break;
	case SWEEP_FAILED:
		log_error(LOG_ERR, err, "%s: %s %s is still there", name, user->path, user->name);
		break;
	case SWEEP_RETRYING:
		if (user)
			log_error(LOG_NOTICE, err, "%s: %s %s is still there, trying again", name,
				  user->path, user->name);
		else
			log_error(LOG_NOTICE, err, "%s: cannot list the users, trying again", name);
		break;
	case SWEEP_KEPT:
		if (sweeping->dry_run)
			printf("%s: would keep %s %s: %s\n", name, user->path, user->name, reason);
		break;
	}
}

static void finished(void *arg, size_t removed, size_t failed, const struct dsec_error *err)
{
	struct sweeping *sweeping = arg;
	const char *name = sweeping->integration->name;

	sweeping->done = true;
	sweeping->failed = err || failed > 0;
	if (err)
		log_error(LOG_ERR, err, "%s: cannot list the users", name);
	if (sweeping->dry_run)
		printf("%s: %zu expired\n", name, sweeping->found);
	else
		printf("%s: %zu removed, %zu still there\n", name, removed, failed);
}

/* True when no expired user is left, as far as IAM's list goes. */
static bool sweep_integration(struct cloud *cloud, const struct integration *integration,
			      bool dry_run)
{
	struct sweeping sweeping = {.integration = integration, .dry_run = dry_run};
	struct provider *provider = aws_provider(cloud->aws, cloud->catalog, integration);
	struct sweep *sweep;
	struct dsec_error err;

	if (sweep_start(&sweep, &system_clock, provider, integration, dry_run, report, finished,
			&sweeping, &err) < 0) {
		log_error(LOG_ERR, &err, "%s", integration->name);
		return false;
	}
	while (!sweeping.done) {
		int64_t next_at = sweep_tick(sweep);
		if (!sweeping.done)
			cloud_dispatch(cloud, next_at);
	}
	sweep_free(sweep);
	return !sweeping.failed;
}

static int run(const struct options *options)
{
	_cleanup_cloud_ struct cloud cloud = {0};
	int status = STATUS_FINE;

	if (cloud_open(&cloud, options) < 0)
		return STATUS_FAILED;
	setvbuf(stdout, NULL, _IOLBF, 0); /* so that it shows how far it is also through a pipe */
	for (size_t i = 0; i < cloud.catalog->n_integrations; i++)
		if (!sweep_integration(&cloud, &cloud.catalog->integrations[i], options->dry_run))
			status = STATUS_FAILED;
	return status;
}

const struct command sweep_command = {
	.name = "sweep",
	.operands = "",
	.options = OPTION_CONFIG | OPTION_DRY_RUN,
	.summary = "remove expired users of any dsec from IAM",
	.help = "Removes the users that a dsec made on any machine, below the path of each\n"
		"integration, when their last possible end has passed. It looks at IAM alone and "
		"needs\n"
		"no daemon; what it removes nobody can have been using.\n"
		"\n"
		"Exit status: 0 when no expired user is left, else 1.\n",
	.run = run,
};
