#include "cli/daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/background.h"
#include "cli/command.h"
#include "cli/daemon_private.h"
#include "cli/enclose.h"
#include "cli/left.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/watchdog.h"
#include "lease/alloc.h"

enum source {
	SOURCE_DOOR,
	SOURCE_TIMER,
	SOURCE_FS,
	SOURCE_AWS,
	SOURCE_JOURNAL,
	SOURCE_API,
	SOURCE_ROTATION,
	SOURCES,
};

/* What the engine has to say, to those who want to hear it. */

/* The ledger first: a reader that has the lease is to have it from the next worker too. */
static void enter_ledger(struct daemon *daemon, enum lease_event event, const struct lease *lease)
{
	if (event == LEASE_ENDED) {
		ledger_leave(daemon->ledger, lease->id);
		return;
	}
	if (event != LEASE_ACTIVE || ledger_enter(daemon->ledger, lease) || daemon->ledger_full)
		return;
	daemon->ledger_full = true;
	log_line(LOG_WARNING,
		 "more than %d leases live: should dsec's worker die, the secrets of the others "
		 "die with it",
		 LEDGER_MAX);
}

static void on_lease(void *arg, enum lease_event event, const struct lease *lease,
		     const char *reason)
{
	struct daemon *daemon = arg;

	enter_ledger(daemon, event, lease);
	if (daemon->fs)
		fs_lease(daemon->fs, event, lease);
	/* What goes on was told when it began. */
	if (daemon->audit && !(daemon->resuming && event == LEASE_ACTIVE))
		audit_lease(daemon->audit, event, lease, reason);
	if (daemon->api)
		api_lease(daemon->api, event, lease);
}

/* Of another user's process the worker sees no executable: the keeper does. The process waits, or
 * it is seen whether it is still the same. A reference. */
static struct lease_caller complete(const struct daemon *daemon, const struct lease_caller *caller)
{
	struct lease_caller whole = *caller;
	struct door_who seen;
	int pidfd;

	if (!caller->who || caller->who->executable ||
	    door_who(daemon->options.door, caller->who->pid, &seen, &pidfd) < 0) {
		who_ref(whole.who);
		return whole;
	}
	close(pidfd);
	if (seen.start_time == caller->who->start)
		whole.who = who_with(caller->who, seen.executable);
	else
		who_ref(whole.who);
	return whole;
}

static int on_intended(void *arg, const struct journal_record *record, struct dsec_error *err)
{
	struct daemon *daemon = arg;

	return daemon->audit ? audit_intended(daemon->audit, record, err) : 0;
}

static void on_opened(void *arg, const struct lease *lease, const struct lease_caller *caller,
		      uint64_t count)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = complete(daemon, caller);
	audit_read(daemon->audit, lease, &whole, count);
	who_unref(whole.who);
}

/* What comes of a file is counted when it is opened. */
static void on_reused(void *arg, const struct lease *lease, const struct lease_caller *caller)
{
	on_opened(arg, lease, caller, 0);
}

static void on_asked(void *arg, const struct api_token_event *event)
{
	static const char *const names[] = {
		[API_TOKEN_CREATED] = "token_created", [API_TOKEN_REVOKED] = "token_revoked",
		[API_TOKEN_USED] = "token_used",       [API_TOKEN_REFUSED] = "token_refused",
		[API_LEASE_REVOKE] = "revoke_asked",   [API_LEASE_RENEW] = "renew_asked",
	};
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = complete(daemon, event->caller);
	audit_asked(daemon->audit, names[event->what], event->token_id, event->peer, &whole,
		    event->lease, event->lease_id);
	who_unref(whole.who);
}

static void on_metrics(void *arg, FILE *to)
{
	struct daemon *daemon = arg;

	if (daemon->audit)
		audit_metrics(daemon->audit, to);
}

static void on_failed(void *arg, const struct lease_slot *slot, const struct lease_caller *caller,
		      const struct dsec_error *err)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = complete(daemon, caller);
	audit_failed(daemon->audit, slot, &whole, err);
	who_unref(whole.who);
}

static void on_handed_out(void *arg, const struct lease *lease, const struct lease_caller *caller)
{
	struct daemon *daemon = arg;

	if (!daemon->audit)
		return;
	struct lease_caller whole = complete(daemon, caller);
	audit_handed_out(daemon->audit, lease, &whole);
	who_unref(whole.who);
}

static void on_revocation_failed(void *arg, const struct journal_record *record,
				 const struct dsec_error *err)
{
	struct daemon *daemon = arg;

	if (daemon->audit)
		audit_revocation_failed(daemon->audit, record, err);
}

static void on_due(void *arg, const struct lease *lease)
{
	struct daemon *daemon = arg;

	if (daemon->fs)
		fs_due(daemon->fs, lease);
}

static void on_rotated(void *arg, const struct lease *lease, const char *reason)
{
	struct daemon *daemon = arg;

	if (daemon->fs)
		fs_rotated(daemon->fs, lease);
	if (!daemon->ending)
		rotations_add(daemon->rotations, daemon->catalog, lease, daemon->fs);
}

static void on_log(void *arg, int priority, const char *message)
{
	log_line(priority, "%s", message);
}

static struct provider *find_provider(void *arg, const struct integration *integration)
{
	struct daemon *daemon = arg;

	return aws_provider(daemon->aws, daemon->catalog, integration);
}

/* Starting. */

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

static int start_engine(struct daemon *daemon, const struct recalled *recalled,
			struct dsec_error *err)
{
	const struct engine_env env = {
		.clock = &system_clock,
		.journal = journal_sqlite_journal(daemon->journal),
		.provider = find_provider,
		.provider_arg = daemon,
		.observer =
			{
				.intended = on_intended,
				.lease = on_lease,
				.failed = on_failed,
				.handed_out = on_handed_out,
				.reused = on_reused,
				.revocation_failed = on_revocation_failed,
				.due = on_due,
				.rotated = on_rotated,
				.metrics = on_metrics,
				.log = on_log,
				.arg = daemon,
			},
		.last_generation = ledger_last_generation(daemon->ledger),
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
	char text[SANDBOX_TEXT_MAX];
	struct fs_options options = {
		.mountpoint = from->mountpoint,
		.catalog = daemon->catalog,
		.clock = &system_clock,
		.version = DSEC_VERSION,
		.state_folder = from->state->folder,
		.config_file = from->config_file,
		.fuse_fd = daemon->fuse_fd,
		.first_open = FS_FIRST_OPEN_PROBE,
		.opened = on_opened,
		.opened_arg = daemon,
		.watch_readers = daemon->audit != NULL,
		.shared = from->shared,
		.keeper_pid = from->keeper_pid,
		.restarts = from->restarts,
		.sandbox = text,
	};

	if (daemon->fuse_fd < 0)
		return 0;
	sandbox_text(text, from->sandbox);
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
		.token_event = on_asked,
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

static int watch(struct daemon *daemon, enum source source, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

	return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, fd, &event);
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

static int watch_all(struct daemon *daemon, struct dsec_error *err)
{
	if (watch(daemon, SOURCE_DOOR, door_fd(daemon->options.door)) < 0 ||
	    watch(daemon, SOURCE_TIMER, daemon->timer_fd) < 0 ||
	    (daemon->fs && watch(daemon, SOURCE_FS, fs_fd(daemon->fs)) < 0) ||
	    watch(daemon, SOURCE_ROTATION, rotations_fd(daemon->rotations)) < 0 ||
	    watch(daemon, SOURCE_AWS, aws_fd(daemon->aws)) < 0 ||
	    watch(daemon, SOURCE_JOURNAL, journal_sqlite_fd(daemon->journal)) < 0 ||
	    (daemon->api && watch(daemon, SOURCE_API, api_fd(daemon->api)) < 0))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "epoll: %s", strerror(errno));
	return 0;
}

/* The other way round than it was made: nobody is called who is gone. */
static struct daemon *daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return NULL;
	daemon->fs = fs_stop(daemon->fs);
	daemon->api = api_stop(daemon->api);
	daemon->engine = engine_free(daemon->engine);
	daemon->aws = aws_free(daemon->aws);
	daemon->journal = journal_sqlite_close(daemon->journal);
	if (daemon->audit)
		audit_event(daemon->audit, "stopped", NULL, NULL, NULL);
	daemon->audit = audit_close(daemon->audit);
	daemon->rotations = rotations_free(daemon->rotations);
	daemon->catalog = catalog_unref(daemon->catalog);
	ledger_close(daemon->ledger);
	if (daemon->fuse_fd >= 0)
		close(daemon->fuse_fd);
	if (daemon->epoll_fd >= 0)
		close(daemon->epoll_fd);
	if (daemon->timer_fd >= 0)
		close(daemon->timer_fd);
	free(daemon);
	return NULL;
}

/* Readers come when all leases that live are known. */
static void begin(struct daemon *daemon, bool lost)
{
	daemon->resuming = true;
	daemon_offer_reload(daemon);
	daemon_offer_files(daemon);
	engine_start(daemon->engine, lost);
	daemon->resuming = false;
	ledger_settle(daemon->ledger);
	if (daemon->fs)
		fs_resume(daemon->fs);
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
	if (r == 0)
		r = watch_all(daemon, err);
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

static int start(struct daemon *daemon, struct recalled *recalled, struct dsec_error *err)
{
	const struct daemon_options *from = &daemon->options;
	bool lost = false;

	int r = open_privileged(daemon, err);
	if (r == 0)
		allow_audit_folder(daemon);
	if (r == 0)
		r = enclose(from->sandbox, from->door, from->state->folder, from->mountpoint, err);
	if (r == 0)
		r = open_enclosed(daemon, recalled, &lost, err);
	if (r == 0)
		begin(daemon, lost);
	return r;
}

int daemon_start(struct daemon **ret, const struct daemon_options *options, struct catalog *catalog,
		 struct dsec_error *err)
{
	struct recalled recalled = {0};
	struct daemon *daemon = alloc_zeroed(1, sizeof(*daemon));

	*daemon = (struct daemon){
		.options = *options,
		.catalog = catalog_ref(catalog),
		.epoll_fd = -1,
		.timer_fd = -1,
		.fuse_fd = -1,
	};
	int r = start(daemon, &recalled, err);
	free(recalled.records);
	if (r < 0)
		daemon_free(daemon);
	else
		*ret = daemon;
	return r;
}

/* Serving. */

static void take_signal(struct daemon *daemon, int number)
{
	switch (number) {
	case SIGHUP:
		if (!daemon->ending)
			daemon_reload(daemon);
		break;
	case SIGUSR1:
		daemon->patient = true;
		break;
	case SIGINT:
	case SIGTERM:
		if (daemon->ending)
			daemon->impatient = true;
		else
			daemon_end(daemon, number == SIGINT ? "interrupted" : "unmounted");
		break;
	}
}

/* Another worker goes on: the journal has all that it needs, the keeper's memory the rest. Nothing
 * is freed, since that would wipe what the other one is to find. */
static void hand_over(struct daemon *daemon, int status)
{
	if (daemon->ending || !daemon->fs)
		return;
	fs_hand_over(daemon->fs);
	daemon->api = api_stop(daemon->api);
	daemon->journal = journal_sqlite_close(daemon->journal);
	daemon->audit = audit_close(daemon->audit);
	_exit(status);
}

void daemon_order(struct daemon *daemon, const struct door_message *order)
{
	switch (order->kind) {
	case DOOR_SIGNAL:
		take_signal(daemon, order->number);
		break;
	case DOOR_HAND_OVER:
		hand_over(daemon, DOOR_HANDED_OVER);
		break;
	case DOOR_NOTICE:
		if (daemon->fs)
			fs_notice(daemon->fs, order->text);
		break;
	case DOOR_EXITED:
		if (!rotations_exited(daemon->rotations, order->number, order->value))
			enclose_exited(order);
		break;
	default:
		break;
	}
}

/* Without its keeper it holds a mount that nobody will hold when it is gone. */
static void take_orders(struct daemon *daemon)
{
	door_dispatch(daemon->options.door);
	if (door_closed(daemon->options.door)) {
		log_line(LOG_CRIT, "the keeper is gone");
		_exit(STATUS_FAILED);
	}
}

static void take_event(struct daemon *daemon, enum source source)
{
	uint64_t expirations;

	switch (source) {
	case SOURCE_DOOR:
		take_orders(daemon);
		break;
	case SOURCE_TIMER:
		(void)!read(daemon->timer_fd, &expirations, sizeof(expirations));
		break;
	case SOURCE_FS:
		if (!daemon->fs)
			break;
		fs_dispatch(daemon->fs, daemon->engine);
		if (fs_ended(daemon->fs))
			daemon_end(daemon, "unmounted");
		break;
	case SOURCE_AWS:
		aws_dispatch(daemon->aws);
		break;
	case SOURCE_JOURNAL:
		journal_sqlite_dispatch(daemon->journal);
		break;
	case SOURCE_API:
		api_dispatch(daemon->api);
		break;
	case SOURCE_ROTATION:
		rotations_dispatch(daemon->rotations);
		break;
	case SOURCES:
		break;
	}
}

static void set_timer(struct daemon *daemon, int64_t at)
{
	struct itimerspec timer = {0};

	if (at != DSEC_NEVER) {
		if (at < 1)
			at = 1; /* all zero would disarm it */
		timer.it_value.tv_sec = at / 1000;
		timer.it_value.tv_nsec = at % 1000 * 1000000;
	}
	timerfd_settime(daemon->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

/* How often it looks whether resolv.conf and the like have been replaced. */
#define LOOK_MS 30000

/* What takes the place of a file that it may read it may not read: another worker may. */
static void look(struct daemon *daemon, int64_t now_at, int64_t *next_at)
{
	if (now_at >= daemon->look_at) {
		daemon->look_at = now_at + LOOK_MS;
		if (sandbox_outdated(daemon->options.sandbox)) {
			log_line(LOG_INFO, "files of the system have changed that the worker may "
					   "not open: another one goes on");
			hand_over(daemon, DOOR_RENEW);
		}
	}
	if (daemon->look_at < *next_at)
		*next_at = daemon->look_at;
}

/* Does what is due. False when the daemon has ended. */
static bool work(struct daemon *daemon)
{
	if (door_waiting(daemon->options.door))
		take_orders(daemon);

	/* The engine first: what it does may give AWS a nearer deadline. */
	int64_t next_at = engine_tick(daemon->engine);
	int64_t aws_at = aws_deadline_at(daemon->aws);
	int64_t now_at = system_clock.boottime_at(&system_clock);

	if (aws_at <= now_at) {
		aws_dispatch(daemon->aws);
		next_at = now_at; /* come again: the engine has heard something */
	} else if (aws_at < next_at) {
		next_at = aws_at;
	}
	if (daemon->api) {
		int64_t api_at = api_deadline_at(daemon->api);
		if (api_at <= now_at) {
			api_dispatch(daemon->api);
			next_at = now_at; /* it may have asked the engine for something */
		} else if (api_at < next_at) {
			next_at = api_at;
		}
	}
	int64_t rotation_at = rotations_due(daemon->rotations, now_at);
	if (rotation_at < next_at)
		next_at = rotation_at;
	if (daemon->audit) {
		int64_t audit_at = audit_tick(daemon->audit);
		if (audit_at < next_at)
			next_at = audit_at;
	}
	int64_t watchdog_at = watchdog_tick(now_at);
	if (watchdog_at < next_at)
		next_at = watchdog_at;
	if (daemon->ending && daemon_ended(daemon, now_at, &next_at))
		return false;
	if (!daemon->ending)
		look(daemon, now_at, &next_at);
	set_timer(daemon, next_at);
	return true;
}

static void serve(struct daemon *daemon)
{
	struct epoll_event events[SOURCES];

	while (work(daemon)) {
		int n = epoll_wait(daemon->epoll_fd, events, SOURCES, -1);
		if (n < 0 && errno != EINTR) {
			log_line(LOG_CRIT, "epoll: %s", strerror(errno));
			return;
		}
		for (int i = 0; i < n; i++)
			take_event(daemon, events[i].data.u32);
	}
}

static void tell_ready(struct daemon *daemon)
{
	watchdog_init();
	if (daemon->audit)
		audit_event(daemon->audit, daemon->options.restarts > 0 ? "resumed" : "started",
			    "dsec " DSEC_VERSION, NULL, NULL);
	if (daemon->fs)
		log_line(LOG_INFO, "dsec " DSEC_VERSION " serves %s (secrets in %s)",
			 daemon->options.mountpoint, secret_arena_kind());
	if (daemon->options.background)
		background_detach();
	door_ready(daemon->options.door);
}

int daemon_run(struct daemon *daemon)
{
	tell_ready(daemon);
	if (!daemon->fs)
		daemon_end(daemon, "unmounted");
	serve(daemon);

	struct engine_left left = engine_left(daemon->engine);
	struct catalog *catalog = catalog_ref(daemon->catalog);
	const struct state *state = daemon->options.state;
	daemon_free(daemon);
	/* The journal is closed now: what it says is what the next start will find. */
	ssize_t n = left_report(state->folder, catalog, left.keys == 0);
	catalog_unref(catalog);
	return n == 0 ? STATUS_FINE : STATUS_FAILED;
}
