#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/door_packet.h"
#include "fs/shared.h"
#include "lease/clock.h"
#include "lease/secret.h"

#define STATUS_FAILED  1
#define STATUS_NO_EXEC 127

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
#define KEEPER_SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct keeper {
	const struct keeper_options *options;
	struct keeper_state state;
	struct door_rights rights;
	int signal_fd;
	struct door_keeper *door; /* NULL: no worker */
	bool served;              /* the worker that there is has said that it serves */
	bool ever_served;
	bool handing_over;
	unsigned unserved; /* killed one after the other before they served */
	unsigned deaths;   /* of its own making, in the row */
	int64_t first_death_at,
		start_at; /* boottime; start_at: DSEC_NEVER while there is a worker */
	sigset_t waiting; /* signals that came while there was no worker, */
	struct door_sender waiting_from[KEEPER_SIGNALS]; /* and the last who sent each */
	bool done;
	int status;
};

static int64_t now(void)
{
	return system_clock.boottime_at(&system_clock);
}

static void say(const struct keeper *keeper, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void say(const struct keeper *keeper, int priority, const char *format, ...)
{
	char text[DSEC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	keeper->options->rights.log(keeper->options->rights.arg, priority, text);
}

/* What it holds. */

int keeper_move_fd(int fd)
{
	int moved = fd < 0 ? -EBADF : fcntl(fd, F_DUPFD_CLOEXEC, 2 * KEEPER_FDS_END);

	if (moved < 0)
		moved = -errno;
	if (fd >= 0)
		close(fd);
	return moved;
}

int keeper_state_new(struct keeper_state *ret, struct dsec_error *err)
{
	struct keeper_state state = {.fuse_fd = -1, .lock_fd = -1, .door_fd = -1};

	state.shared_fd = shared_create();
	if (state.shared_fd >= 0)
		state.shared_fd = keeper_move_fd(state.shared_fd);
	state.secret_fd = secret_memory_create();
	if (state.secret_fd >= 0)
		state.secret_fd = keeper_move_fd(state.secret_fd);
	if (state.shared_fd < 0 || state.secret_fd < 0)
		return dsec_error_set(
			err, DSEC_ERROR_FAULT, "no memory that could outlive a process: %s",
			strerror(state.shared_fd < 0 ? -state.shared_fd : -state.secret_fd));
	*ret = state;
	return 0;
}

int keeper_take_signals(struct dsec_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < KEEPER_SIGNALS; i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	fd = fd < 0 ? -errno : keeper_move_fd(fd);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "signalfd: %s", strerror(-fd));
	return fd;
}

/* The worker. */

/* The last word is how many workers there were before. */
static void copy_words(char *to[KEEPER_WORDS_MAX + 2], char *const *words, unsigned restarts)
{
	static char last[16];
	size_t n = 0;

	for (; words[n] && n < KEEPER_WORDS_MAX; n++)
		to[n] = words[n];
	snprintf(last, sizeof(last), "%u", restarts);
	to[n] = last;
	to[n + 1] = NULL;
}

/* In the child. The signals stay blocked: the worker is told through the door what the keeper was
 * sent, and nothing that is meant for the keeper (a terminal's, a service manager's to the whole
 * group) reaches it twice. */
static void become_worker(const struct keeper *keeper, int door_fd, pid_t parent)
{
	const struct keeper_state *state = &keeper->state;
	char *words[KEEPER_WORDS_MAX + 2];
	const int fds[] = {door_fd, state->shared_fd, state->secret_fd, state->lock_fd};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(STATUS_NO_EXEC);
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN); /* it may say something on a terminal that it does not own */
	for (int i = 0; i < (int)(sizeof(fds) / sizeof(fds[0])); i++)
		if (dup2(fds[i], KEEPER_DOOR_FD + i) < 0)
			_exit(STATUS_NO_EXEC);
	copy_words(words,
		   keeper->ever_served ? keeper->options->next_worker : keeper->options->worker,
		   state->restarts);
	/* The keeper's own version, also where another one is installed by now. */
	execv("/proc/self/exe", words);
	_exit(STATUS_NO_EXEC);
}

/* A sender without a process is the kernel (a terminal). */
static void send_signal(struct keeper *keeper, int number, const struct door_sender *sender)
{
	door_keeper_signal(keeper->door, number, sender && sender->pid > 0 ? sender : NULL);
}

/* What it was told before there was this worker. */
static void send_waiting(struct keeper *keeper)
{
	if (keeper->state.patient)
		send_signal(keeper, SIGUSR1, NULL);
	for (size_t i = 0; i < KEEPER_SIGNALS; i++)
		if (sigismember(&keeper->waiting, signals[i]) == 1)
			send_signal(keeper, signals[i], &keeper->waiting_from[i]);
	sigemptyset(&keeper->waiting);
}

static int start_worker(struct keeper *keeper)
{
	int ends[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ends[0] = keeper_move_fd(ends[0]);
	ends[1] = keeper_move_fd(ends[1]);
	pid_t child = ends[0] < 0 || ends[1] < 0 ? -1 : fork();
	if (child == 0)
		become_worker(keeper, ends[1], parent);
	if (ends[1] >= 0)
		close(ends[1]);
	if (child < 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		return -EAGAIN;
	}
	keeper->state.worker = child;
	keeper->state.door_fd = ends[0];
	keeper->door = door_keeper_new(ends[0], &keeper->rights);
	keeper->served = false;
	keeper->start_at = DSEC_NEVER;
	send_waiting(keeper);
	return 0;
}

static void finish(struct keeper *keeper, int status)
{
	keeper->done = true;
	keeper->status = status;
}

static int on_unmount(void *arg);

static void give_up(struct keeper *keeper, const char *why)
{
	say(keeper, LOG_CRIT, "%s: the mount ends", why);
	if (!keeper->state.unmounted)
		on_unmount(keeper);
	keeper->options->lost(keeper->options->rights.arg);
	finish(keeper, STATUS_FAILED);
}

static void try_start(struct keeper *keeper)
{
	int r = start_worker(keeper);

	if (r < 0 && !keeper->ever_served) {
		say(keeper, LOG_ERR, "cannot start the worker: %s", strerror(-r));
		finish(keeper, STATUS_FAILED);
	} else if (r < 0) {
		keeper->start_at = now() + KEEPER_BACKOFF_CAP_MS;
	}
}

static void describe(int status, char *to, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(to, size, "was ended by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(to, size, "ended with status %d", WEXITSTATUS(status));
}

/* Begins another row when the last is long ago. False: it has died too often. */
static bool count_death(struct keeper *keeper)
{
	if (keeper->deaths == 0 || now() - keeper->first_death_at > KEEPER_DEATHS_MS) {
		keeper->deaths = 0;
		keeper->first_death_at = now();
	}
	return ++keeper->deaths <= KEEPER_DEATHS_MAX;
}

/* After the first death at once, then later and later. */
static int64_t backoff(unsigned deaths)
{
	int64_t pause = KEEPER_BACKOFF_MS;

	if (deaths <= 1)
		return 0;
	for (unsigned i = 2; i < deaths && pause < KEEPER_BACKOFF_CAP_MS; i++)
		pause *= 2;
	return pause < KEEPER_BACKOFF_CAP_MS ? pause : KEEPER_BACKOFF_CAP_MS;
}

/* Somebody else's SIGKILL is no fault of the worker's. But where it is killed each time before it
 * serves (memory is short), to go on at once would make that worse. */
static int64_t pause_before(struct keeper *keeper, bool killed)
{
	keeper->unserved = keeper->served ? 0 : keeper->unserved + 1;
	if (!killed)
		return backoff(keeper->deaths);
	return keeper->unserved > KEEPER_UNSERVED_FREE
		       ? backoff(keeper->unserved - KEEPER_UNSERVED_FREE + 1)
		       : 0;
}

static void restart(struct keeper *keeper, int status)
{
	char how[64], why[128];
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	describe(status, how, sizeof(how));
	keeper->state.restarts++;
	if (!killed && !count_death(keeper)) {
		snprintf(why, sizeof(why), "the worker has died %u times within %d s, and %s",
			 keeper->deaths, KEEPER_DEATHS_MS / 1000, how);
		give_up(keeper, why);
		return;
	}
	int64_t pause = pause_before(keeper, killed);
	say(keeper, killed ? LOG_NOTICE : LOG_ERR, "the worker %s, and is started again (%u)", how,
	    keeper->state.restarts);
	keeper->start_at = now() + pause;
	if (pause == 0)
		try_start(keeper);
}

static void worker_ended(struct keeper *keeper, int status)
{
	char how[64];
	bool handing_over = keeper->handing_over;

	/* However it has ended: the next one gets what it was to be told. */
	keeper->handing_over = false;
	if (keeper->door)
		door_keeper_dispatch(keeper->door); /* what it said last */
	keeper->door = door_keeper_free(keeper->door);
	keeper->state.door_fd = -1;
	keeper->state.worker = 0;
	if (keeper->done)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == DOOR_HANDED_OVER && handing_over) {
		keeper->state.restarts++;
		try_start(keeper);
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == DOOR_RENEW && keeper->served &&
		   !keeper->state.unmounted) {
		/* In order, but one that serves briefly each time would keep us busy. */
		keeper->state.restarts++;
		say(keeper, LOG_INFO, "another worker takes the place of the last one (%u)",
		    keeper->state.restarts);
		if (count_death(keeper))
			try_start(keeper);
		else
			keeper->start_at = now() + KEEPER_BACKOFF_CAP_MS;
	} else if (WIFEXITED(status) && (keeper->state.unmounted || !keeper->ever_served)) {
		finish(keeper, WEXITSTATUS(status));
	} else if (!keeper->ever_served) {
		describe(status, how, sizeof(how));
		say(keeper, LOG_CRIT, "the worker %s before it served", how);
		keeper->options->lost(keeper->options->rights.arg);
		finish(keeper, STATUS_FAILED);
	} else {
		restart(keeper, status);
	}
}

static void reap(struct keeper *keeper)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == keeper->state.worker)
			worker_ended(keeper, status);
		else if (keeper->door)
			door_keeper_reaped(keeper->door, pid, status);
	}
}

/* Upgrading. */

static void upgrade(struct keeper *keeper)
{
	char why[DSEC_ERROR_MESSAGE_MAX] = "";

	if (!keeper->served || keeper->state.unmounted || keeper->handing_over)
		return;
	keeper->options->upgrade(keeper->options->rights.arg, &keeper->state, why, sizeof(why));
	/* It is still us. */
	say(keeper, LOG_ERR, "not upgraded: %s", why);
	door_keeper_order(keeper->door, DOOR_NOTICE, 0, 0, why);
}

/* Another keeper was here before the exec: its worker makes room for one of this version. */
static void take_over(struct keeper *keeper)
{
	keeper->door = door_keeper_new(keeper->state.door_fd, &keeper->rights);
	keeper->served = keeper->ever_served = true;
	keeper->handing_over = true;
	door_keeper_order(keeper->door, DOOR_HAND_OVER, 0, 0, NULL);
}

/* Signals. */

static void put_aside(struct keeper *keeper, int number, const struct door_sender *sender)
{
	sigaddset(&keeper->waiting, number);
	for (size_t i = 0; i < KEEPER_SIGNALS; i++)
		if (signals[i] == number)
			keeper->waiting_from[i] = *sender;
}

static void take_signal(struct keeper *keeper, const struct signalfd_siginfo *info)
{
	int number = (int)info->ssi_signo;
	struct door_sender sender;

	switch (number) {
	case SIGCHLD:
		reap(keeper);
		return;
	case SIGUSR2:
		upgrade(keeper);
		return;
	case SIGUSR1:
		keeper->state.patient = true;
		break;
	default:
		break;
	}
	/* At once: a command that does nothing else is soon gone. Who sends by sigqueue(3) says
	 * himself who he is, and is nobody. */
	bool told_by_kernel = info->ssi_code == SI_USER || info->ssi_code == SI_TKILL;
	door_find_sender(told_by_kernel ? (pid_t)info->ssi_pid : 0,
			 told_by_kernel ? info->ssi_uid : 0, &sender);
	if (keeper->door && !keeper->handing_over)
		send_signal(keeper, number, &sender);
	else
		put_aside(keeper, number, &sender);
	if (!keeper->door && (number == SIGTERM || number == SIGINT))
		keeper->start_at = now(); /* to end in order */
}

static void take_signals(struct keeper *keeper)
{
	struct signalfd_siginfo info;

	while (!keeper->done &&
	       read(keeper->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		take_signal(keeper, &info);
}

/* What the worker asks for. */

static int on_mount(void *arg, int *ret_fuse_fd)
{
	struct keeper *keeper = arg;
	int fd;

	if (keeper->state.unmounted)
		return -ENOTCONN;
	if (keeper->state.fuse_fd < 0) {
		int r = keeper->options->rights.mount(keeper->options->rights.arg, &fd);
		if (r < 0)
			return r;
		keeper->state.fuse_fd = keeper_move_fd(fd);
	}
	*ret_fuse_fd = keeper->state.fuse_fd;
	return keeper->state.fuse_fd < 0 ? keeper->state.fuse_fd : 0;
}

/* Without our descriptor the connection ends with the worker's, which closes its own next. */
static int on_unmount(void *arg)
{
	struct keeper *keeper = arg;
	int r = 0;

	if (keeper->state.fuse_fd >= 0) {
		r = keeper->options->rights.unmount(keeper->options->rights.arg);
		close(keeper->state.fuse_fd);
	}
	keeper->state.fuse_fd = -1;
	keeper->state.unmounted = true;
	return r;
}

static void on_ready(void *arg)
{
	struct keeper *keeper = arg;
	bool first = !keeper->ever_served;

	keeper->served = keeper->ever_served = true;
	if (first)
		keeper->options->rights.ready(keeper->options->rights.arg);
}

static void on_tell(void *arg, const char *text)
{
	const struct keeper *keeper = arg;

	keeper->options->rights.tell(keeper->options->rights.arg, text);
}

static void on_log(void *arg, int priority, const char *message)
{
	const struct keeper *keeper = arg;

	say(keeper, priority, "%s", message);
}

static char **on_split(void *arg, const char *command)
{
	const struct keeper *keeper = arg;

	return keeper->options->rights.split(keeper->options->rights.arg, command);
}

static void on_free_words(void *arg, char **words)
{
	const struct keeper *keeper = arg;

	keeper->options->rights.free_words(keeper->options->rights.arg, words);
}

/* The loop. */

static int timeout(const struct keeper *keeper)
{
	if (keeper->start_at == DSEC_NEVER)
		return -1;

	int64_t left = keeper->start_at - now();
	return left > 0 ? (int)left : 0;
}

static void turn(struct keeper *keeper)
{
	struct pollfd fds[] = {
		{.fd = keeper->signal_fd, .events = POLLIN},
		{.fd = keeper->door ? door_keeper_fd(keeper->door) : -1, .events = POLLIN},
	};

	if (poll(fds, 2, timeout(keeper)) < 0 && errno != EINTR) {
		say(keeper, LOG_CRIT, "poll: %s", strerror(errno));
		finish(keeper, STATUS_FAILED);
		return;
	}
	if (fds[1].revents && keeper->door)
		door_keeper_dispatch(keeper->door);
	if (fds[0].revents && !keeper->done)
		take_signals(keeper);
	if (!keeper->done && !keeper->door && now() >= keeper->start_at)
		try_start(keeper);
}

int keeper_run(int signal_fd, const struct keeper_options *options)
{
	struct keeper keeper = {
		.options = options,
		.state = options->state,
		.signal_fd = signal_fd,
		.start_at = DSEC_NEVER,
	};

	keeper.rights = (struct door_rights){
		.config_file = options->rights.config_file,
		.default_socket = options->rights.default_socket,
		.mount = on_mount,
		.unmount = on_unmount,
		.ready = on_ready,
		.tell = on_tell,
		.split = on_split,
		.free_words = on_free_words,
		.log = on_log,
		.arg = &keeper,
	};
	sigemptyset(&keeper.waiting);
	if (keeper.state.worker > 0)
		take_over(&keeper);
	else
		try_start(&keeper);
	while (!keeper.done)
		turn(&keeper);
	door_keeper_free(keeper.door);
	if (keeper.state.fuse_fd >= 0)
		on_unmount(&keeper);
	return keeper.status;
}
