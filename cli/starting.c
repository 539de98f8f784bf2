/*
 * starting.c: what the daemon is made of, opened in the order that its enclosure asks for, and
 * closed the other way round.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/configuration.h"
#include "cli/daemon_private.h"
#include "cli/enclose.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "lease/alloc.h"
#include "lease/secret.h"

static struct provider *find_provider(void *arg, const struct integration *integration)
{
	struct daemon *daemon = arg;

	return aws_provider(daemon->aws, daemon->catalog, integration);
}

#define MEMORY_TEXT_MAX 128

/* What the journal holds is read before the engine that it is for can exist. */
struct recalled {
	struct journal_record *records;
	size_t n, size;
};

static void keep_record(void *arg, const struct journal_record *record)
{
	struct recalled *recalled = arg;

	if (recalled->n == recalled->size) {
		recalled->size = recalled->size ? 2 * recalled->size : 16;
		recalled->records = alloc_resized(recalled->records, recalled->size,
						  sizeof(*recalled->records));
	}
	recalled->records[recalled->n++] = *record;
}

/* With its secret, where an earlier worker has left it. */
static void recall(struct daemon *daemon, const struct journal_record *record)
{
	struct engine_kept kept;

	if (ledger_find(daemon->ledger, record->lease_id, &kept))
		engine_recall_kept(daemon->engine, record, &kept);
	else
		engine_recall(daemon->engine, record);
}

/* 0: as many as there may be. */
static unsigned leases_max(void)
{
	unsigned n = configuration_leases_max();

	return n < CONFIGURATION_LEASES_MAX ? n : 0;
}

static void tell_memory(void)
{
	if (leases_max() > 0)
		log_line(LOG_WARNING,
			 "RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) leaves room for the secrets of "
			 "%u leases: %d take %zu KiB",
			 leases_max(), CONFIGURATION_LEASES_MAX, configuration_memory() / 1024);
}

static int start_engine(struct daemon *daemon, const struct recalled *recalled,
			struct dsec_error *err)
{
	const struct engine_env env = {
		.clock = &system_clock,
		.journal = journal_sqlite_journal(daemon->journal),
		.provider = find_provider,
		.provider_arg = daemon,
		.observer = daemon_observer(daemon),
		.last_generation = ledger_last_generation(daemon->ledger),
		.leases_max = leases_max(),
		.daemon_id = daemon->options.state->daemon_id,
	};

	int r = engine_new(&daemon->engine, &env, daemon->catalog, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < recalled->n; i++)
		recall(daemon, &recalled->records[i]);
	return 0;
}

static int open_journal(struct daemon *daemon, struct recalled *recalled, bool *ret_lost,
			struct dsec_error *err)
{
	enum journal_opened opened;

	int r = journal_sqlite_open(&daemon->journal, daemon->options.state->folder, keep_record,
				    recalled, &opened, err);
	if (r < 0)
		return r;
	if (opened == JOURNAL_DAMAGED)
		log_line(LOG_CRIT,
			 "the journal in %s was damaged and is set aside; it is rebuilt from what "
			 "IAM lists under this daemon's path",
			 daemon->options.state->folder);
	*ret_lost = opened == JOURNAL_DAMAGED ||
		    (opened == JOURNAL_NEW && !daemon->options.state->fresh);
	return 0;
}

static int start_fs(struct daemon *daemon, struct dsec_error *err)
{
	const struct daemon_options *from = &daemon->options;
	char text[SANDBOX_TEXT_MAX], memory[MEMORY_TEXT_MAX];
	struct fs_options options = {
		.mountpoint = from->mountpoint,
		.catalog = daemon->catalog,
		.clock = &system_clock,
		.version = DSEC_VERSION,
		.state_folder = from->state->folder,
		.config_file = from->config_file,
		.fuse_fd = daemon->fuse_fd,
		.first_open = FS_FIRST_OPEN_PROBE,
		.opened = daemon_opened,
		.opened_arg = daemon,
		.watch_readers = daemon->audit != NULL,
		.shared = from->shared,
		.keeper_pid = from->keeper_pid,
		.restarts = from->restarts,
		.sandbox = text,
		.memory = memory,
	};

	if (daemon->fuse_fd < 0)
		return 0;
	sandbox_text(text, from->sandbox);
	snprintf(memory, sizeof(memory), "%s, with room for %u leases", secret_arena_kind(),
		 configuration_leases_max());
	tell_memory();
	daemon->fuse_fd = -1;
	return fs_start(&daemon->fs, &options, err);
}

static int mount(struct daemon *daemon, struct dsec_error *err)
{
	int r = door_mount(daemon->options.door, &daemon->fuse_fd);

	if (r == -ENOTCONN)
		return 0; /* an earlier worker was killed while it ended: see daemon_run */
	if (r < 0)
		err->message[0] = '\0'; /* the keeper has said it */
	return r;
}

static uint64_t take_holder(void *arg)
{
	return shared_take_holder(arg);
}

static void remove_socket(void *arg, const char *path)
{
	int r = door_remove(arg, path);

	if (r < 0 && r != -ENOENT)
		log_line(LOG_WARNING, "%s is left: %s", path, strerror(-r));
}

/* Where the configuration says it has to be possible to listen. The default socket is a
 * convenience: another daemon may have it. */
static int start_api(struct daemon *daemon, struct dsec_error *err)
{
	char path[PATH_MAX];
	const struct api_options options = {
		.clock = &system_clock,
		.catalog = daemon->catalog,
		.state_folder = daemon->options.state->folder,
		.later = true,
		.remove = remove_socket,
		.remove_arg = daemon->options.door,
		.take_holder = take_holder,
		.take_holder_arg = daemon->options.shared,
		.token_event = daemon_asked,
		.token_event_arg = daemon,
	};
	struct dsec_error unusable;

	int r = api_start(&daemon->api, &options, err);
	if (r < 0 || catalog_api_socket(daemon->catalog))
		return r;
	if (paths_socket(path, &unusable) < 0 || api_listen_unix(daemon->api, path, &unusable) < 0)
		log_line(LOG_NOTICE, "'dsec leases' will not reach this daemon: %s",
			 unusable.message);
	return 0;
}

static int open_descriptors(struct daemon *daemon, struct dsec_error *err)
{
	daemon->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	daemon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	daemon->rotations = rotations_new(daemon->options.door, &system_clock);
	if (daemon->timer_fd < 0 || daemon->epoll_fd < 0 || !daemon->rotations)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "no descriptors: %s", strerror(errno));
	return 0;
}

/* What takes the keeper's user, or is looked for by name. */
static int open_privileged(struct daemon *daemon, struct dsec_error *err)
{
	int r = open_descriptors(daemon, err);

	if (r == 0)
		r = aws_new(&daemon->aws, &system_clock, err);
	if (r == 0)
		r = start_api(daemon, err);
	if (r == 0)
		r = mount(daemon, err);
	return r;
}

/* What starts threads, and what others have written. */
static int open_enclosed(struct daemon *daemon, struct recalled *recalled, bool *ret_lost,
			 struct dsec_error *err)
{
	daemon->ledger = ledger_open(&daemon->options.shared->ledger);
	int r = daemon_audit(daemon, daemon->catalog, err);
	if (r == 0)
		r = open_journal(daemon, recalled, ret_lost, err);
	if (r == 0)
		r = start_engine(daemon, recalled, err);
	if (r == 0 && daemon->api)
		r = api_serve(daemon->api, daemon->engine, err);
	if (r == 0)
		r = start_fs(daemon, err);
	return r;
}

/* A folder that was given to the worker's user is one in which it may rotate the audit log. */
static void allow_audit_folder(const struct daemon *daemon)
{
	static char folder[PATH_MAX];
	struct sandbox *sandbox = daemon->options.sandbox;
	const char *file = daemon->catalog->audit.file;
	const char *slash = file ? strrchr(file, '/') : NULL;
	struct stat st;

	if (!slash || slash == file)
		return;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - file), file);
	if (stat(folder, &st) == 0 && st.st_uid == sandbox->uid)
		sandbox_allow(sandbox, folder, SANDBOX_WRITE);
}

int daemon_open(struct daemon *daemon, bool *ret_lost, struct dsec_error *err)
{
	const struct daemon_options *from = &daemon->options;
	struct recalled recalled = {0};

	int r = open_privileged(daemon, err);
	if (r == 0)
		allow_audit_folder(daemon);
	if (r == 0)
		r = enclose(from->sandbox, from->door, from->state->folder, from->mountpoint, err);
	if (r == 0)
		r = open_enclosed(daemon, &recalled, ret_lost, err);
	free(recalled.records);
	return r;
}

struct daemon *daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return NULL;
	daemon->fs = fs_stop(daemon->fs);
	daemon->api = api_stop(daemon->api);
	daemon->engine = engine_free(daemon->engine);
	daemon->aws = aws_free(daemon->aws);
	daemon->journal = journal_sqlite_close(daemon->journal);
	if (daemon->audit)
		audit_event(daemon->audit, "stopped", NULL, daemon->stopper, NULL);
	daemon->audit = audit_close(daemon->audit);
	daemon->rotations = rotations_free(daemon->rotations);
	daemon->catalog = catalog_unref(daemon->catalog);
	ledger_close(daemon->ledger);
	if (daemon->stopper)
		who_unref(daemon->stopper->who);
	free(daemon->stopper);
	if (daemon->fuse_fd >= 0)
		close(daemon->fuse_fd);
	if (daemon->epoll_fd >= 0)
		close(daemon->epoll_fd);
	if (daemon->timer_fd >= 0)
		close(daemon->timer_fd);
	free(daemon);
	return NULL;
}
