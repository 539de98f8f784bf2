#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/background.h"
#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/daemon.h"
#include "cli/log.h"
#include "cli/notify.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "cli/watchdog.h"
#include "fs/fs.h"

struct places {
	char config[PATH_MAX], state[PATH_MAX], mountpoint[PATH_MAX];
};

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

static int refuse_alive(const char *mountpoint, struct dsec_error *err)
{
	struct peer peer;

	if (peer_look(mountpoint, &peer, err) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "another dsec is mounted on %s, and does not answer",
				      mountpoint);
	return dsec_error_set(err, DSEC_ERROR_FAULT,
			      "another dsec (pid %d) is mounted on %s: 'dsec unmount %s' ends it",
			      (int)peer.pid, mountpoint, mountpoint);
}

/* Makes the folder where there is none, takes over what a dead daemon left mounted, and refuses
 * what is not ours to cover. *ret_made: it is ours to remove. */
static int prepare(const char *mountpoint, bool *ret_made, struct dsec_error *err)
{
	*ret_made = false;
	switch (fs_mount_state(mountpoint)) {
	case FS_MOUNT_ALIVE:
		return refuse_alive(mountpoint, err);
	case FS_MOUNT_FOREIGN:
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "something that is no dsec is mounted on %s", mountpoint);
	case FS_MOUNT_STALE:
		log_line(LOG_NOTICE, "taking over %s, whose daemon is dead", mountpoint);
		return fs_unmount(mountpoint, err);
	case FS_MOUNT_NONE:
		break;
	}
	if (mkdir(mountpoint, 0755) < 0) {
		struct stat st;
		if (errno == EEXIST && stat(mountpoint, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot make the mount point %s: %s",
				      mountpoint, strerror(errno));
	}
	*ret_made = true;
	/* The umask is the daemon's own; whoever may read a secret must get past this folder. */
	if (chmod(mountpoint, 0755) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "chmod %s: %s", mountpoint,
				      strerror(errno));
	return 0;
}

static int serve_with_state(const struct places *places, struct catalog *catalog,
			    const struct state *state, int ready_fd)
{
	const struct daemon_options options = {
		.config_file = places->config,
		.mountpoint = places->mountpoint,
		.state = state,
		.ready_fd = ready_fd,
	};
	struct daemon *daemon;
	struct dsec_error err;
	bool made;
	int status = STATUS_FAILED;

	if (prepare(places->mountpoint, &made, &err) < 0 ||
	    daemon_start(&daemon, &options, catalog, &err) < 0)
		log_error(LOG_ERR, &err, NULL);
	else
		status = daemon_run(daemon);
	if (made)
		rmdir(places->mountpoint);
	return status;
}

static int serve(const struct places *places, int ready_fd)
{
	_cleanup_catalog_ struct catalog *catalog = configuration_load(places->config);
	struct state state;
	struct dsec_error err;

	if (!catalog)
		return STATUS_FAILED;
	if (state_open(&state, places->state, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	int status = chdir("/") < 0 ? STATUS_FAILED
				    : serve_with_state(places, catalog, &state, ready_fd);
	state_close(&state);
	return status;
}

static int run(const struct options *options)
{
	struct places places;
	struct dsec_error err;
	int ready_fd = -1, status;

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
	watchdog_init();
	return serve(&places, ready_fd);
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
