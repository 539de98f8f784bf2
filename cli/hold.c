#include "cli/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/executable.h"
#include "cli/harden.h"
#include "cli/log.h"
#include "lease/alloc.h"

/* Above the descriptors that scripts use for themselves. */
#define KEPT_FD_MIN 100

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
#define N_FORWARDED (sizeof(forwarded) / sizeof(forwarded[0]))

/* From the wrapper to the holder: a signal for the command. From the holder to the wrapper: what
 * happened. */
enum note_kind {
	NOTE_STARTED,
	NOTE_ENDED,
	NOTE_SIGNAL,
};
struct note {
	enum note_kind kind;
	int value; /* the command's pid; its status; the signal */
};

/* Of the process that looks after what was started: the holder, or once that is dead the wrapper.
 */
struct watch {
	const struct hold *hold;
	pid_t command;
	int signals; /* signalfd */
	int peer;    /* the other of the two; -1: it is gone */
	int status;  /* of the command, once it has ended */
	bool ended, told;
};

static void watched_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGCHLD);
	for (size_t i = 0; i < N_FORWARDED; i++)
		sigaddset(ret, forwarded[i]);
}

static int failed(const char *what)
{
	log_line(LOG_ERR, "%s: %s", what, strerror(errno));
	return STATUS_FAILED;
}

/* The command. */

/* A script without #!, as execvp(3) runs it. */
static void execute_script(const struct hold *hold)
{
	size_t n = 0;

	while (hold->argv[n])
		n++;
	const char **words = alloc_zeroed(n + 2, sizeof(*words));
	words[0] = "sh";
	words[1] = hold->path;
	for (size_t i = 1; i < n; i++)
		words[i + 1] = hold->argv[i];
	execve("/bin/sh", (char *const *)words, hold->envp);
}

static void execute(const struct hold *hold, const sigset_t *mask)
{
	harden_undo();
	sigprocmask(SIG_SETMASK, mask, NULL);
	execve(hold->path, hold->argv, hold->envp);
	if (errno == ENOEXEC)
		execute_script(hold);
	int number = errno;
	log_line(LOG_ERR, "%s: %s", hold->path, strerror(number));
	_exit(number == ENOENT ? EXECUTABLE_NOT_FOUND : EXECUTABLE_REFUSED);
}

/* Watching. */

static void tell_peer(const struct watch *watch, enum note_kind kind, int value)
{
	const struct note note = {.kind = kind, .value = value};

	if (watch->peer >= 0)
		(void)!send(watch->peer, &note, sizeof(note), MSG_NOSIGNAL);
}

/* Whoever reads the command's output to its end must not wait for what goes on behind it. */
static void let_go_of_output(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(fd, i);
	close(fd);
}

/* False when nobody is left. */
static bool reap(struct watch *watch)
{
	while (true) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return pid == 0;
		if (pid != watch->command)
			continue;
		watch->ended = true;
		watch->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
}

static void pass_on(const struct watch *watch, int signal)
{
	if (!watch->ended)
		kill(watch->command, signal);
}

/* What the terminal sends, it sends to the command as well. */
static bool is_ours_alone(const struct signalfd_siginfo *info)
{
	return info->ssi_code != SI_KERNEL;
}

static void read_signals(struct watch *watch)
{
	struct signalfd_siginfo info;

	while (read(watch->signals, &info, sizeof(info)) == sizeof(info))
		/* As long as there is a wrapper, it is for that to say. */
		if (info.ssi_signo != SIGCHLD && watch->peer < 0 && is_ours_alone(&info))
			pass_on(watch, (int)info.ssi_signo);
}

static void lose_peer(struct watch *watch)
{
	close(watch->peer);
	watch->peer = -1;
}

static void read_peer(struct watch *watch)
{
	struct note note;

	if (recv(watch->peer, &note, sizeof(note), 0) == sizeof(note)) {
		if (note.kind == NOTE_SIGNAL)
			pass_on(watch, note.value);
		return;
	}
	lose_peer(watch);
	let_go_of_output(); /* the wrapper is dead; its caller waits for nobody any more */
}

/* Until nobody is left. Gives the command's status. */
static int watch_until_gone(struct watch *watch)
{
	while (reap(watch)) {
		struct pollfd ready[] = {
			{.fd = watch->signals, .events = POLLIN},
			{.fd = watch->peer, .events = POLLIN}, /* -1 is passed over */
		};

		if (watch->ended && !watch->told) { /* something goes on in the background */
			watch->told = true;
			let_go_of_output();
			tell_peer(watch, NOTE_ENDED, watch->status);
		}
		poll(ready, 2, -1);
		if (ready[0].revents)
			read_signals(watch);
		if (ready[1].revents)
			read_peer(watch);
	}
	watch->hold->end(watch->hold->arg);
	if (!watch->told)
		tell_peer(watch, NOTE_ENDED, watch->status);
	return watch->status;
}

/* The holder. */

/* Whatever else was inherited is the command's affair: a lock or a pipe must not be held longer
 * than by that. */
static void close_others(const struct watch *watch)
{
	int kept[] = {watch->hold->keep_fd, watch->signals, watch->peer};
	unsigned from = STDERR_FILENO + 1;

	for (int i = 0; i < 3; i++)
		for (int j = i + 1; j < 3; j++)
			if (kept[j] < kept[i]) {
				int lower = kept[j];
				kept[j] = kept[i];
				kept[i] = lower;
			}
	for (int i = 0; i < 3; i++) {
		if (kept[i] < (int)from)
			continue;
		if ((unsigned)kept[i] > from)
			close_range(from, (unsigned)kept[i] - 1, 0);
		from = (unsigned)kept[i] + 1;
	}
	close_range(from, ~0U, 0);
}

/* The holder is in the terminal's foreground with the command, and means nothing to it. */
static void ignore_terminal(void)
{
	static const int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};

	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
		signal(stops[i], SIG_IGN);
}

static int run_holder(struct watch *watch, const sigset_t *mask)
{
	const struct hold *hold = watch->hold;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "dsec-hold");
	watch->command = fork();
	if (watch->command == 0)
		execute(hold, mask);
	if (watch->command < 0) {
		watch->status = failed("fork");
		tell_peer(watch, NOTE_ENDED, watch->status);
		hold->end(hold->arg);
		return watch->status;
	}
	tell_peer(watch, NOTE_STARTED, (int)watch->command);
	ignore_terminal();
	close_others(watch);
	hold->forget(hold->arg);
	hold->begin(hold->arg);
	return watch_until_gone(watch);
}

/* The wrapper. */

/* The holder is dead: what it looked after has come to the wrapper, which is a subreaper too. */
static int take_over(struct watch *watch)
{
	lose_peer(watch);
	if (watch->command == 0) { /* it was killed before it started anything */
		watch->hold->end(watch->hold->arg);
		return STATUS_FAILED;
	}
	watch->told = true;
	watch->hold->begin(watch->hold->arg);
	return watch_until_gone(watch);
}

static void pass_to_holder(struct watch *watch)
{
	struct signalfd_siginfo info;

	while (read(watch->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD && is_ours_alone(&info))
			tell_peer(watch, NOTE_SIGNAL, (int)info.ssi_signo);
}

static int run_wrapper(struct watch *watch)
{
	watch->hold->forget(watch->hold->arg);
	while (true) {
		struct pollfd ready[] = {
			{.fd = watch->signals, .events = POLLIN},
			{.fd = watch->peer, .events = POLLIN},
		};
		struct note note;

		poll(ready, 2, -1);
		if (ready[0].revents)
			pass_to_holder(watch);
		if (!ready[1].revents)
			continue;
		if (recv(watch->peer, &note, sizeof(note), 0) != sizeof(note))
			return take_over(watch);
		if (note.kind == NOTE_STARTED)
			watch->command = note.value;
		else
			return note.value;
	}
}

/* The descriptor that the command inherits, out of its way. */
static int inheritable(int fd)
{
	int high = fd >= 0 ? fcntl(fd, F_DUPFD, KEPT_FD_MIN) : -1;

	return high >= 0 ? high : fd;
}

int hold_run(const struct hold *given)
{
	struct hold hold = *given;
	struct watch watch = {.hold = &hold};
	sigset_t watched, mask;
	int pair[2];

	watched_signals(&watched);
	sigprocmask(SIG_BLOCK, &watched, &mask);
	hold.keep_fd = inheritable(given->keep_fd);
	watch.signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	if (watch.signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		hold.end(hold.arg);
		return failed("cannot run anything");
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(NULL);
	pid_t holder = fork();
	if (holder == 0) {
		close(pair[0]);
		watch.peer = pair[1];
		_exit(run_holder(&watch, &mask));
	}
	close(pair[1]);
	watch.peer = pair[0];
	if (holder < 0) {
		hold.end(hold.arg);
		return failed("fork");
	}
	return run_wrapper(&watch);
}
