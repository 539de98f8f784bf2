#include "aws/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aws/aws.h"
#include "aws/wipe.h"
#include "aws/words.h"
#include "lease/alloc.h"
#include "lease/child.h"
#include "lease/list.h"

/* How long a killed process is waited for. It takes longer only where the kernel itself hangs, and
 * then leaving a zombie is the lesser evil. */
#define KILLED_WAIT_MS 2000

struct process {
	struct list in_all; /* of those that a runner runs */
	struct loop *loop;
	process_done *done;
	void *arg;
	pid_t pid;
	int pidfd;  /* -1 where a runner runs it */
	int run;    /* the runner's number for it; -1: it is our child */
	int output; /* the reading end of its standard output */
	struct watch ended, readable;
	struct timer deadline;
	char *text; /* AWS_CREDENTIAL_PROCESS_OUTPUT_MAX bytes and one, to see that there are more
		     */
	size_t n;
};

static const struct process_runner *runner;
static struct list all_run = {&all_run, &all_run};

void process_use(const struct process_runner *next)
{
	runner = next;
}

/* Nobody else knows of the child, so its pid cannot be another's before it is waited for. */
static void kill_and_wait(struct process *process)
{
	struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};

	if (process->run >= 0) {
		runner->kill(runner->arg, process->run);
		return;
	}
	kill(-process->pid, SIGKILL);
	if (process->pidfd < 0 || poll(&ended, 1, KILLED_WAIT_MS) == 1)
		waitpid(process->pid, NULL, 0);
}

static void release(struct process *process)
{
	list_remove(&process->in_all);
	timer_disarm(&process->loop->timers, &process->deadline);
	if (process->pidfd >= 0) {
		loop_unwatch(process->loop, process->pidfd);
		close(process->pidfd);
	}
	if (process->output >= 0) {
		loop_unwatch(process->loop, process->output);
		close(process->output);
	}
	wipe_free(process->text);
	free(process);
}

struct process *process_free(struct process *process)
{
	if (!process)
		return NULL;
	kill_and_wait(process);
	release(process);
	return NULL;
}

/* Takes what is in the pipe. False when nothing more will come. */
static bool drain(struct process *process)
{
	size_t room;
	ssize_t got;

	do {
		room = AWS_CREDENTIAL_PROCESS_OUTPUT_MAX + 1 - process->n;
		got = room > 0 ? read(process->output, process->text + process->n, room) : 0;
		if (got > 0)
			process->n += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	return got < 0 && errno == EAGAIN;
}

/* `done` never frees the process, so it may start another for itself. */
static void finish(struct process *process, const struct dsec_error *err)
{
	process->done(process->arg, process->text, process->n, err);
	release(process);
}

static void kill_for(struct process *process, const char *reason)
{
	struct dsec_error err;

	kill_and_wait(process);
	dsec_error_set(&err, DSEC_ERROR_CREDENTIALS, "the credential_process was killed: %s",
		       reason);
	finish(process, &err);
}

static void on_readable(struct watch *watch, uint32_t events)
{
	struct process *process = container_of(watch, struct process, readable);

	if (!drain(process))
		loop_unwatch(process->loop, process->output); /* its end is told by the pidfd */
	if (process->n > AWS_CREDENTIAL_PROCESS_OUTPUT_MAX)
		kill_for(process, "it printed too much");
}

/* A child that it left behind may still hold the pipe, so its end is not waited for. */
static void ended(struct process *process, int status)
{
	struct dsec_error err;

	drain(process);
	if (process->n > AWS_CREDENTIAL_PROCESS_OUTPUT_MAX)
		dsec_error_set(&err, DSEC_ERROR_CREDENTIALS,
			       "the credential_process printed more than %lu bytes",
			       AWS_CREDENTIAL_PROCESS_OUTPUT_MAX);
	else if (WIFSIGNALED(status))
		dsec_error_set(&err, DSEC_ERROR_CREDENTIALS,
			       "the credential_process was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		dsec_error_set(&err, DSEC_ERROR_CREDENTIALS,
			       "the credential_process failed with status %d: run it by hand to "
			       "see why",
			       WEXITSTATUS(status));
	else {
		finish(process, NULL);
		return;
	}
	finish(process, &err);
}

static void on_ended(struct watch *watch, uint32_t events)
{
	struct process *process = container_of(watch, struct process, ended);
	int status = 0;

	waitpid(process->pid, &status, 0);
	ended(process, status);
}

void process_runner_ended(int run, int status)
{
	list_each (at, &all_run) {
		struct process *process = container_of(at, struct process, in_all);

		if (process->run == run) {
			ended(process, status);
			return;
		}
	}
}

static void on_deadline(struct timer *timer)
{
	kill_for(container_of(timer, struct process, deadline), "it took too long");
}

static int start_run(struct process *process, const char *command, struct dsec_error *err)
{
	int run = runner->run(runner->arg, command, &process->output);

	if (run < 0)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the credential_process %.200s cannot be run: %s", command,
				      strerror(-run));
	process->run = run;
	fcntl(process->output, F_SETFL, O_NONBLOCK);
	list_append(&all_run, &process->in_all);
	return 0;
}

static int start_child(struct process *process, const char *command, struct dsec_error *err)
{
	struct words words;
	int pipe[2], r;

	if (words_split(&words, command) < 0)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the credential_process has no words, too many, or an open "
				      "quote");
	if (pipe2(pipe, O_CLOEXEC) < 0) {
		words_finish(&words);
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "pipe2: %s", strerror(errno));
	}
	process->output = pipe[0];
	fcntl(process->output, F_SETFL, O_NONBLOCK);
	r = child_spawn(&process->pid, words.word, pipe[1]);
	close(pipe[1]);
	if (r < 0)
		dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
			       "the credential_process %s cannot be run: %s", words.word[0],
			       strerror(-r));
	words_finish(&words);
	if (r < 0)
		return -dsec_error_errno(DSEC_ERROR_CREDENTIALS);
	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	return 0;
}

/* Its end, its output. False: errno says why not. */
static bool watch_it(struct process *process)
{
	struct loop *loop = process->loop;

	if (process->run < 0 &&
	    (process->pidfd < 0 || loop_watch(loop, process->pidfd, EPOLLIN, &process->ended) < 0))
		return false;
	return loop_watch(loop, process->output, EPOLLIN, &process->readable) == 0;
}

int process_start(struct process **ret, struct loop *loop, const char *command, process_done *done,
		  void *arg, struct dsec_error *err)
{
	struct process *process = alloc_zeroed(1, sizeof(*process));
	int r, error;

	*process = (struct process){.loop = loop,
				    .done = done,
				    .arg = arg,
				    .pidfd = -1,
				    .run = -1,
				    .output = -1,
				    .ended.ready = on_ended,
				    .readable.ready = on_readable,
				    .deadline.fire = on_deadline};
	list_init(&process->in_all);
	process->text = alloc_zeroed(AWS_CREDENTIAL_PROCESS_OUTPUT_MAX + 1, 1);
	r = runner ? start_run(process, command, err) : start_child(process, command, err);
	if (r < 0) {
		release(process);
		return r;
	}
	if (!watch_it(process)) {
		error = errno;
		process_free(process);
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the credential_process cannot be watched: %s",
				      strerror(error));
	}
	timer_arm(&loop->timers, &process->deadline,
		  loop_now(loop) + AWS_CREDENTIAL_PROCESS_TIMEOUT_MS);
	*ret = process;
	return 0;
}
