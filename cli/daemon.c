#include "cli/daemon.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/background.h"
#include "cli/command.h"
#include "cli/daemon_private.h"
#include "cli/enclose.h"
#include "cli/left.h"
#include "cli/log.h"
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

/* Starting. */

static int watch(struct daemon *daemon, enum source source, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

	return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, fd, &event);
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

static int start(struct daemon *daemon, struct dsec_error *err)
{
	bool lost = false;

	int r = daemon_open(daemon, &lost, err);
	if (r == 0)
		r = watch_all(daemon, err);
	if (r == 0)
		begin(daemon, lost);
	return r;
}

int daemon_start(struct daemon **ret, const struct daemon_options *options, struct catalog *catalog,
		 struct dsec_error *err)
{
	struct daemon *daemon = alloc_zeroed(1, sizeof(*daemon));

	*daemon = (struct daemon){
		.options = *options,
		.catalog = catalog_ref(catalog),
		.epoll_fd = -1,
		.timer_fd = -1,
		.fuse_fd = -1,
	};
	int r = start(daemon, err);
	if (r < 0)
		daemon_free(daemon);
	else
		*ret = daemon;
	return r;
}

/* Serving. */

/* As the keeper saw it, and more of it where it is still there. NULL: nobody is known. */
static struct lease_caller *sender_of(const struct door_message *order, struct lease_caller *to)
{
	struct door_sender sender;

	if (!door_sender(order, &sender) || sender.pid == 0)
		return NULL;
	*to = (struct lease_caller){.uid = sender.uid, .gid = (gid_t)-1, .pid = sender.pid};
	if (sender.who.start_time == 0)
		return to;

	struct who *seen = who_look(sender.pid, &system_clock);

	if (seen && seen->start == sender.who.start_time)
		to->who = who_with(seen, sender.who.executable);
	else
		to->who = who_known(sender.pid, sender.who.start_time, sender.who.executable,
				    sender.who.cgroup, &system_clock);
	who_unref(seen);
	return to;
}

static void keep_stopper(struct daemon *daemon, const struct lease_caller *sender)
{
	if (!sender || daemon->stopper)
		return;
	daemon->stopper = alloc_zeroed(1, sizeof(*daemon->stopper));
	*daemon->stopper = *sender;
	who_ref(sender->who);
}

static void take_signal(struct daemon *daemon, const struct door_message *order)
{
	struct lease_caller caller = {0};
	const struct lease_caller *sender = sender_of(order, &caller);
	int number = order->number;

	switch (number) {
	case SIGHUP:
		if (!daemon->ending)
			daemon_reload(daemon, sender);
		break;
	case SIGUSR1:
		daemon->patient = true;
		break;
	case SIGINT:
	case SIGTERM:
		keep_stopper(daemon, sender);
		if (daemon->ending)
			daemon->impatient = true;
		else
			daemon_end(daemon, number == SIGINT ? "interrupted" : "unmounted");
		break;
	}
	who_unref(caller.who);
}

/* Another worker goes on: the journal has all that it needs, the keeper's memory the rest. Nothing
 * is freed, since that would wipe what the other one is to find. */
static void hand_over(struct daemon *daemon, int status)
{
	if (daemon->ending || !daemon->fs)
		return;
	daemon->api = api_stop(daemon->api); /* the mount is served meanwhile */
	fs_hand_over(daemon->fs);
	daemon->journal = journal_sqlite_close(daemon->journal);
	daemon->audit = audit_close(daemon->audit);
	_exit(status);
}

void daemon_order(struct daemon *daemon, const struct door_message *order)
{
	switch (order->kind) {
	case DOOR_SIGNAL:
		take_signal(daemon, order);
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
	secret_arena_take(); /* nobody had to wait for that */
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
