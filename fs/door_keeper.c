#include "fs/door_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/door_packet.h"
#include "lease/alloc.h"
#include "lease/child.h"

/* A worker that does not stop talking keeps the keeper from nothing else. */
#define MESSAGES_A_TURN 64

/* A command that runs. */
struct run {
	pid_t pid;  /* 0: none */
	int number; /* never of two: the end of one may be told when another has its place */
};

struct door_keeper {
	int fd;
	bool closed;
	struct door_rights rights;
	struct run runs[DOOR_RUNS_MAX];
	int last_run;
};

struct door_keeper *door_keeper_new(int fd, const struct door_rights *rights)
{
	struct door_keeper *door = alloc_zeroed(1, sizeof(*door));

	*door = (struct door_keeper){.fd = fd, .rights = *rights};
	/* Nor does one that does not listen. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return door;
}

struct door_keeper *door_keeper_free(struct door_keeper *door)
{
	if (!door)
		return NULL;
	for (size_t i = 0; i < DOOR_RUNS_MAX; i++)
		if (door->runs[i].pid > 0)
			kill(-door->runs[i].pid, SIGKILL); /* reaped with the others */
	close(door->fd);
	free(door);
	return NULL;
}

int door_keeper_fd(const struct door_keeper *door)
{
	return door->closed ? -1 : door->fd;
}

static void complain(const struct door_keeper *door, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void complain(const struct door_keeper *door, const char *format, ...)
{
	char text[DSEC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	door->rights.log(door->rights.arg, LOG_WARNING, text);
}

/* A worker that does not read is not waited for: its orders are few. */
void door_keeper_order(struct door_keeper *door, enum door_kind kind, int number, int value,
		       const char *text)
{
	struct door_message order = {.kind = kind, .number = number, .value = value};

	if (text) {
		snprintf(order.text, sizeof(order.text), "%s", text);
		order.n = (uint32_t)strlen(order.text) + 1;
	}
	door_send(door->fd, &order, -1);
}

void door_keeper_signal(struct door_keeper *door, int number, const struct door_sender *sender)
{
	struct door_message order = {.kind = DOOR_SIGNAL, .number = number};

	if (sender) {
		memcpy(order.text, sender, sizeof(*sender));
		order.n = sizeof(*sender);
	}
	door_send(door->fd, &order, -1);
}

/* OPEN. */

static int open_file(const struct door_keeper *door, const char *path, int how)
{
	const int common = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	bool is_config = strcmp(path, door->rights.config_file) == 0;
	struct stat st;

	if ((how != DOOR_OPEN_READ && how != DOOR_OPEN_APPEND) ||
	    (how == DOOR_OPEN_APPEND && is_config) ||
	    !door_file_allowed(door->rights.config_file, path)) {
		complain(door, "the worker has asked for the file %s, which is not configured",
			 path);
		return -EPERM;
	}
	int fd = how == DOOR_OPEN_READ ? open(path, O_RDONLY | common)
				       : open(path, O_RDWR | O_APPEND | O_CREAT | common, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		int error = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		close(fd);
		return -error;
	}
	return fd;
}

/* NUDGE. */

static int nudge(const struct door_keeper *door, const struct door_message *message)
{
	const char *start = door_text(message);
	struct door_who who;
	int pidfd;

	if (!start || message->number <= 0)
		return -EBADMSG;
	if (!door_signal_allowed(door->rights.config_file, message->value)) {
		complain(door, "the worker has asked for signal %d, which is not configured",
			 message->value);
		return -EPERM;
	}
	int r = door_find_out(message->number, &who, &pidfd);
	if (r < 0)
		return r;
	if (who.start_time != strtoull(start, NULL, 10))
		r = -ESRCH;
	else if (syscall(SYS_pidfd_send_signal, pidfd, message->value, NULL, 0) < 0)
		r = -errno;
	close(pidfd);
	return r;
}

/* RUN. */

static struct run *free_run(struct door_keeper *door)
{
	for (size_t i = 0; i < DOOR_RUNS_MAX; i++)
		if (door->runs[i].pid == 0)
			return &door->runs[i];
	return NULL;
}

/* The run's number, its output in *ret_fd. */
static int run(struct door_keeper *door, const char *command, int *ret_fd)
{
	const struct door_rights *rights = &door->rights;
	struct run *run = free_run(door);
	int ends[2];

	if (!door_command_allowed(rights->config_file, command)) {
		complain(door, "the worker has asked to run what is not configured: %s", command);
		return -EPERM;
	}
	if (!run)
		return -EAGAIN;
	char **words = rights->split(rights->arg, command);
	if (!words)
		return -EINVAL;
	int r = pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
	if (r == 0) {
		r = child_spawn(&run->pid, words, ends[1]);
		close(ends[1]);
		if (r < 0) {
			close(ends[0]);
			run->pid = 0;
		}
	}
	rights->free_words(rights->arg, words);
	if (r < 0)
		return r;
	*ret_fd = ends[0];
	door->last_run = door->last_run < INT_MAX ? door->last_run + 1 : 1;
	run->number = door->last_run;
	return run->number;
}

static int kill_run(struct door_keeper *door, int number)
{
	for (size_t i = 0; i < DOOR_RUNS_MAX; i++)
		/* It is a child that was not waited for, so its pid is its own. */
		if (door->runs[i].pid > 0 && door->runs[i].number == number)
			return kill(-door->runs[i].pid, SIGKILL) < 0 ? -errno : 0;
	return -ESRCH;
}

void door_keeper_reaped(struct door_keeper *door, pid_t pid, int status)
{
	for (int i = 0; i < DOOR_RUNS_MAX; i++) {
		if (door->runs[i].pid != pid)
			continue;
		door->runs[i].pid = 0;
		door_keeper_order(door, DOOR_EXITED, door->runs[i].number, status, NULL);
	}
}

/* Questions. */

static void answer(struct door_keeper *door, const struct door_message *question, int result,
		   const struct door_who *who, int descriptor)
{
	struct door_message message = {
		.kind = DOOR_ANSWER,
		.id = question->id,
		.number = result,
	};

	if (who) {
		memcpy(message.text, who, sizeof(*who));
		message.n = sizeof(*who);
	}
	door_send(door->fd, &message, descriptor);
}

static void answer_and_close(struct door_keeper *door, const struct door_message *question,
			     int result, int descriptor)
{
	answer(door, question, result, NULL, descriptor);
	if (descriptor >= 0)
		close(descriptor);
}

static void answer_mount(struct door_keeper *door, const struct door_message *question)
{
	int fuse_fd = -1, r = door->rights.mount(door->rights.arg, &fuse_fd);

	answer(door, question, r, NULL, r < 0 ? -1 : fuse_fd);
}

static void answer_who(struct door_keeper *door, const struct door_message *question)
{
	struct door_who who;
	int pidfd = -1;
	int r = question->number > 0 ? door_find_out(question->number, &who, &pidfd) : -ESRCH;

	answer(door, question, r, r < 0 ? NULL : &who, r < 0 ? -1 : pidfd);
	if (r == 0)
		close(pidfd);
}

static void answer_open(struct door_keeper *door, const struct door_message *question)
{
	const char *path = door_text(question);
	int fd = path ? open_file(door, path, question->number) : -EBADMSG;

	answer_and_close(door, question, fd < 0 ? fd : 0, fd < 0 ? -1 : fd);
}

/* The API's, whose folder is not the worker's to write in. */
static void answer_remove(struct door_keeper *door, const struct door_message *question)
{
	const char *path = door_text(question), *usual = door->rights.default_socket;
	struct stat st;
	int r = path ? 0 : -EBADMSG;

	if (r == 0 && !(usual && strcmp(path, usual) == 0) &&
	    !door_socket_allowed(door->rights.config_file, path)) {
		complain(door, "the worker has asked to remove %s, which is no configured socket",
			 path);
		r = -EPERM;
	}
	if (r == 0 && lstat(path, &st) < 0)
		r = -errno;
	if (r == 0 && !S_ISSOCK(st.st_mode))
		r = -ENOTSOCK;
	if (r == 0 && unlink(path) < 0)
		r = -errno;
	answer(door, question, r, NULL, -1);
}

static void answer_run(struct door_keeper *door, const struct door_message *question)
{
	const char *command = door_text(question);
	int output = -1, r = command ? run(door, command, &output) : -EBADMSG;

	answer_and_close(door, question, r, output);
}

static void take(struct door_keeper *door, const struct door_message *message)
{
	const struct door_rights *rights = &door->rights;

	switch (message->kind) {
	case DOOR_MOUNT:
		answer_mount(door, message);
		break;
	case DOOR_UNMOUNT:
		answer(door, message, rights->unmount(rights->arg), NULL, -1);
		break;
	case DOOR_WHO:
		answer_who(door, message);
		break;
	case DOOR_OPEN:
		answer_open(door, message);
		break;
	case DOOR_RUN:
		answer_run(door, message);
		break;
	case DOOR_REMOVE:
		answer_remove(door, message);
		break;
	case DOOR_KILL:
		answer(door, message, kill_run(door, message->number), NULL, -1);
		break;
	case DOOR_NUDGE:
		answer(door, message, nudge(door, message), NULL, -1);
		break;
	case DOOR_READY:
		rights->ready(rights->arg);
		break;
	case DOOR_TELL:
		if (door_text(message))
			rights->tell(rights->arg, door_text(message));
		break;
	default:
		complain(door, "the worker has said what is not known here: %u", message->kind);
		answer(door, message, -EBADMSG, NULL, -1);
		break;
	}
}

bool door_keeper_dispatch(struct door_keeper *door)
{
	struct door_message message;
	int fd, r = 0;

	for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
		r = door_receive(door->fd, &message, &fd);
		if (fd >= 0)
			close(fd); /* nothing is taken from it */
		if (r == -EAGAIN || r == -EPIPE)
			break;
		if (r == 0)
			take(door, &message);
		else
			complain(door, "the worker has said what is no message");
	}
	door->closed = r == -EPIPE;
	return !door->closed;
}
