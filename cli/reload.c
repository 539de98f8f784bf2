#include <signal.h>

#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/peer.h"

static int reload(const char *mountpoint, struct dsec_error *err)
{
	_cleanup_catalog_ struct catalog *catalog = NULL;
	_cleanup_fd_ int pidfd = -1;
	struct peer peer;

	int r = peer_open(mountpoint, &peer, &pidfd, err);
	if (r < 0)
		return r;
	/* The daemon's own log is the only place where it could say what is wrong with the file. */
	catalog = configuration_load(peer.config);
	if (!catalog)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "not reloaded: the running configuration stays");
	r = peer_signal(pidfd, &peer, SIGHUP, err);
	if (r == 0)
		log_line(LOG_INFO, "%s is in order, and the daemon (pid %d) was told to read it",
			 peer.config, (int)peer.pid);
	return r;
}

static int run(const struct options *options)
{
	return peer_tell(options, reload);
}

const struct command reload_command = {
	.name = "reload",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.summary = "have the daemon read its configuration again",
	.help = "Checks the configuration of the daemon that serves MOUNTPOINT (root: /run/dsec,\n"
		"others: $XDG_RUNTIME_DIR/dsec), and when it is in order tells the daemon to use "
		"it.\n"
		"Leases of secrets that are gone from it are revoked; those of changed ones live "
		"to\n"
		"their TTL.\n"
		"\n"
		"Exit status: 0 when the daemon was told, else 1.\n",
	.run = run,
};
