#include <limits.h>

#include "cli/background.h"
#include "cli/command.h"
#include "cli/harden.h"
#include "cli/keeping.h"
#include "cli/log.h"
#include "cli/notify.h"
#include "cli/paths.h"

static int find_places(struct places *ret, const struct options *options, struct dsec_error *err)
{
	int r = paths_config(ret->config, options->config, err);

	if (r == 0)
		r = paths_state(ret->state, options->state, err);
	if (r == 0)
		r = paths_mountpoint(ret->mountpoint,
				     options->n_operands ? options->operands[0] : NULL, err);
	return r;
}

static int run(const struct options *options)
{
	struct places places;
	struct dsec_error err;
	int ready_fd = -1, status;

	harden_for_good();
	if (find_places(&places, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (!options->foreground) {
		ready_fd = background_fork(&status);
		if (ready_fd < 0)
			return status;
	}
	notify_init();
	return keeping_run(&places, ready_fd);
}

const struct command mount_command = {
	.name = "mount",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.options = OPTION_CONFIG | OPTION_STATE | OPTION_FOREGROUND,
	.summary = "serve the leases of a configuration as files",
	.help = "Mounts the secrets of dsec.json on MOUNTPOINT (root: /run/dsec, others:\n"
		"$XDG_RUNTIME_DIR/dsec) and goes into the background when the mount serves. A "
		"mount\n"
		"that a dead dsec left there is taken over, and what it left in AWS is settled.\n"
		"\n"
		"Exit status: 0 when the mount serves, else 1. With --foreground it is that of "
		"the\n"
		"end: 0 when every lease is revoked, 1 when the mount failed or something is "
		"left.\n",
	.run = run,
};
