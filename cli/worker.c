/*
 * worker.c: the process that serves a mount which its keeper holds: `dsec worker`, started by the
 * keeper alone.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/configuration.h"
#include "cli/daemon.h"
#include "cli/enclose.h"
#include "cli/keeping.h"
#include "cli/log.h"
#include "cli/notify.h"
#include "fs/keeper.h"
#include "fs/shared.h"

struct worker {
	const char *mode, *config, *state, *mountpoint;
	unsigned restarts;
	struct door *door;
	struct shared *shared;
	struct sandbox sandbox;
	struct daemon *daemon; /* NULL until it serves */
};

static void on_order(void *arg, const struct door_message *order)
{
	struct worker *worker = arg;

	if (worker->daemon)
		daemon_order(worker->daemon, order);
}

static void tell_keeper(void *arg, const char *text)
{
	door_tell(arg, text);
}

/* Those are the keeper's, which says through the door what it was sent. */
static void refuse_signals(void)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool has_descriptors(void)
{
	for (int fd = KEEPER_DOOR_FD; fd < KEEPER_FDS_END; fd++)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return false;
	return true;
}

/* What an earlier worker left, before anything else is put where that lies. */
static int take_up(struct worker *worker, struct dsec_error *err)
{
	int r = shared_map(&worker->shared, KEEPER_SHARED_FD, err);

	if (r == 0)
		r = configuration_prepare_shared(worker->config, KEEPER_SECRET_FD, err);
	if (r == 0)
		r = enclose_prepare(&worker->sandbox, err);
	return r;
}

static int serve(struct worker *worker, struct catalog *catalog, const struct state *state)
{
	const struct daemon_options options = {
		.config_file = worker->config,
		.mountpoint = worker->mountpoint,
		.state = state,
		.door = worker->door,
		.shared = worker->shared,
		.sandbox = &worker->sandbox,
		.keeper_pid = getppid(),
		.restarts = worker->restarts,
		.background = strcmp(worker->mode, KEEPING_BACKGROUND) == 0,
	};
	struct dsec_error err;

	if (daemon_start(&worker->daemon, &options, catalog, &err) < 0) {
		if (err.message[0])
			log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return daemon_run(worker->daemon);
}

static int begin(struct worker *worker)
{
	_cleanup_catalog_ struct catalog *catalog = NULL;
	struct state state;
	struct dsec_error err;

	if (take_up(worker, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	catalog = configuration_load(worker->config);
	if (!catalog)
		return STATUS_FAILED;
	if (state_open(&state, worker->state, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return serve(worker, catalog, &state);
}

static int run(const struct options *options)
{
	struct worker worker = {
		.mode = options->operands[0],
		.config = options->operands[1],
		.state = options->operands[2],
		.mountpoint = options->operands[3],
		.restarts = (unsigned)strtoul(options->operands[4], NULL, 10),
	};

	if (!has_descriptors()) {
		log_line(LOG_ERR, "this command is for dsec itself; 'dsec mount' serves a mount");
		return STATUS_USAGE;
	}
	prctl(PR_SET_NAME, "dsec");
	refuse_signals();
	if (strcmp(worker.mode, KEEPING_SYSLOG) == 0)
		log_to_syslog();
	worker.door = door_new(KEEPER_DOOR_FD, on_order, &worker);
	notify_through(tell_keeper, worker.door);

	int status = begin(&worker);
	shared_unmap(worker.shared);
	door_free(worker.door);
	return status;
}

const struct command worker_command = {
	.name = "worker",
	.operands = "MODE CONFIG STATE MOUNTPOINT RESTARTS",
	.operands_min = 5,
	.operands_max = 5,
	.help = "What serves a mount that another dsec holds. Not for people.\n",
	.run = run,
};
