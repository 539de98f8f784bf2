#include "cli/keeping.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aws/words.h"
#include "cli/background.h"
#include "cli/command.h"
#include "cli/enclose.h"
#include "cli/file.h"
#include "cli/left.h"
#include "cli/log.h"
#include "cli/notify.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "cli/state.h"
#include "fs/fs.h"
#include "fs/keeper.h"
#include "fs/shared.h"
#include "lease/alloc.h"
#include "lease/list.h"

/* How long another version may take to say whether it can take over. */
#define LAYOUT_TIMEOUT_MS 5000

struct keeping {
	struct places places;
	char program[PATH_MAX]; /* where our program was when we were started: the next version's
				   place */
	int ready_fd;           /* -1: nobody waits */
	bool background;
	bool made; /* the folder of the mount is ours to remove */
};

/* Mounting. */

static int refuse_alive(const char *mountpoint, struct dsec_error *err)
{
	struct peer peer;

	if (peer_look(mountpoint, &peer, err) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "another dsec is mounted on %s, and does not answer; if it "
				      "is not there any more, 'umount -f -l %s' ends its mount",
				      mountpoint, mountpoint);
	return dsec_error_set(err, DSEC_ERROR_FAULT,
			      "another dsec (pid %d) is mounted on %s: 'dsec unmount %s' ends it",
			      (int)peer.pid, mountpoint, mountpoint);
}

/* Refuses what is not ours to cover, and takes over what a dead daemon left mounted. */
static int make_room(const char *mountpoint, struct dsec_error *err)
{
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
	return 0;
}

/* Makes the folder where there is none. */
static int make_folder(struct keeping *keeping, struct dsec_error *err)
{
	const char *mountpoint = keeping->places.mountpoint;

	if (mkdir(mountpoint, 0755) < 0) {
		struct stat st;
		if (errno == EEXIST && stat(mountpoint, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot make the mount point %s: %s",
				      mountpoint, strerror(errno));
	}
	keeping->made = true;
	/* The umask is the daemon's own; whoever may read a secret must get past this folder. */
	if (chmod(mountpoint, 0755) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "chmod %s: %s", mountpoint,
				      strerror(errno));
	return 0;
}

static int on_mount(void *arg, int *ret_fuse_fd)
{
	struct keeping *keeping = arg;
	const char *mountpoint = keeping->places.mountpoint;
	struct dsec_error err;
	bool others = false;

	int r = make_room(mountpoint, &err);
	if (r == 0)
		r = make_folder(keeping, &err);
	if (r == 0)
		r = fs_mount(mountpoint, ret_fuse_fd, &others, &err);
	if (r < 0)
		log_error(LOG_ERR, &err, NULL);
	else if (!others)
		log_line(LOG_NOTICE, "other users cannot see %s (see dsec check)", mountpoint);
	return r;
}

static int on_unmount(void *arg)
{
	const struct keeping *keeping = arg;
	struct dsec_error err;

	int r = fs_unmount(keeping->places.mountpoint, &err);
	if (r < 0)
		log_error(LOG_ERR, &err, NULL);
	return r;
}

/* What the worker says. */

static void on_ready(void *arg)
{
	struct keeping *keeping = arg;

	if (keeping->ready_fd >= 0) {
		int r = background_ready(keeping->ready_fd);
		keeping->ready_fd = -1;
		if (r < 0)
			kill(getpid(), SIGTERM); /* nobody waits for the mount */
	}
	notify_send("READY=1\nMAINPID=%d\nSTATUS=serving %s", (int)getpid(),
		    keeping->places.mountpoint);
}

/* Of what a service manager can be told, what is said of the mount's life: nothing that would have
 * it take another process for the daemon, or hold descriptors. */
static bool may_be_told(const char *text)
{
	static const char *const allowed[] = {"READY=1",    "STOPPING=1", "RELOADING=1",
					      "WATCHDOG=1", "STATUS=",    "MONOTONIC_USEC="};

	while (*text) {
		bool fine = false;
		for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			if (strncmp(text, allowed[i], strlen(allowed[i])) == 0)
				fine = true;
		if (!fine)
			return false;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return true;
}

static void on_tell(void *arg, const char *text)
{
	if (may_be_told(text))
		notify_send("%s", text);
}

static char **on_split(void *arg, const char *command)
{
	struct words *words = alloc_zeroed(1, sizeof(*words));

	if (words_split(words, command) == 0)
		return words->word;
	free(words);
	return NULL;
}

static void on_free_words(void *arg, char **word)
{
	struct words *words = container_of(word, struct words, word);

	words_finish(words);
	free(words);
}

static void on_log(void *arg, int priority, const char *message)
{
	log_line(priority, "%s", message);
}

static void on_lost(void *arg)
{
	const struct keeping *keeping = arg;

	left_report(keeping->places.state, NULL, false);
}

/* Upgrading. */

static void write_state(char *to, size_t size, const struct keeping *keeping,
			const struct keeper_state *state)
{
	snprintf(to, size, "%d,%d,%d,%d,%d,%d,%u,%d,%d", state->fuse_fd, state->shared_fd,
		 state->secret_fd, state->lock_fd, state->door_fd, (int)state->worker,
		 state->restarts, keeping->made, state->patient);
}

#define STATE_NUMBERS 9

static bool read_state(const char *text, struct keeping *keeping, struct keeper_state *ret)
{
	long numbers[STATE_NUMBERS];

	for (size_t i = 0; i < STATE_NUMBERS; i++) {
		char *end;

		numbers[i] = strtol(text, &end, 10);
		if (end == text || *end != (i + 1 < STATE_NUMBERS ? ',' : '\0'))
			return false;
		text = end + 1;
	}
	*ret = (struct keeper_state){
		.fuse_fd = (int)numbers[0],
		.shared_fd = (int)numbers[1],
		.secret_fd = (int)numbers[2],
		.lock_fd = (int)numbers[3],
		.door_fd = (int)numbers[4],
		.worker = (pid_t)numbers[5],
		.restarts = (unsigned)numbers[6],
		.patient = numbers[8] != 0,
	};
	keeping->made = numbers[7] != 0;
	return ret->worker > 0;
}

static void keep_on_exec(const struct keeper_state *state, bool keep)
{
	const int fds[] = {state->fuse_fd, state->shared_fd, state->secret_fd, state->lock_fd,
			   state->door_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fcntl(fds[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static int spawn_layout(const char *program, int output, pid_t *ret)
{
	char name[] = "dsec", command[] = "keeper-layout", *words[] = {name, command, NULL};
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	int error = posix_spawn(ret, program, &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* Can the program that is installed now take over what this one holds? */
static bool has_our_layout(const char *program, char *why, size_t size)
{
	char said[32] = "", ours[32];
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		snprintf(why, size, "pipe: %s", strerror(errno));
		return false;
	}
	int error = spawn_layout(program, ends[1], &child);
	close(ends[1]);
	if (!error) {
		struct pollfd readable = {.fd = ends[0], .events = POLLIN};
		if (poll(&readable, 1, LAYOUT_TIMEOUT_MS) == 1) {
			ssize_t n = read(ends[0], said, sizeof(said) - 1);
			said[n > 0 ? n : 0] = '\0';
		} else {
			kill(child, SIGKILL);
		}
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	snprintf(ours, sizeof(ours), "%d\n", SHARED_LAYOUT);
	if (error)
		snprintf(why, size, "%s: %s", program, strerror(error));
	else if (strcmp(said, ours) != 0)
		snprintf(why, size,
			 "%s is a version that cannot take over from " DSEC_VERSION
			 ": 'dsec unmount' and 'dsec mount' instead",
			 program);
	return !error && strcmp(said, ours) == 0;
}

static void on_upgrade(void *arg, const struct keeper_state *state, char *why, size_t size)
{
	struct keeping *keeping = arg;
	char state_text[128];
	char *words[] = {
		(char *)"dsec",
		(char *)"keeper",
		(char *)(keeping->background ? KEEPING_SYSLOG : KEEPING_FOREGROUND),
		keeping->places.config,
		keeping->places.state,
		keeping->places.mountpoint,
		state_text,
		NULL,
	};

	if (!has_our_layout(keeping->program, why, size))
		return;
	log_line(LOG_NOTICE, "taking on the version that is installed as %s", keeping->program);
	write_state(state_text, sizeof(state_text), keeping, state);
	keep_on_exec(state, true);
	notify_restore();
	execv(keeping->program, words);
	snprintf(why, size, "%s: %s", keeping->program, strerror(errno));
	notify_init();
	keep_on_exec(state, false);
}

/* Keeping. */

static void find_program(struct keeping *keeping)
{
	ssize_t n = readlink("/proc/self/exe", keeping->program, sizeof(keeping->program) - 1);

	keeping->program[n > 0 ? n : 0] = '\0';
}

static int keep(struct keeping *keeping, int signal_fd, const struct keeper_state *state)
{
	struct places *places = &keeping->places;
	char *words[] = {
		(char *)"dsec",
		(char *)"worker",
		(char *)(keeping->background ? KEEPING_BACKGROUND : KEEPING_FOREGROUND),
		places->config,
		places->state,
		places->mountpoint,
		NULL,
	};
	char *next_words[] = {
		words[0],
		words[1],
		(char *)(keeping->background ? KEEPING_SYSLOG : KEEPING_FOREGROUND),
		words[3],
		words[4],
		words[5],
		NULL,
	};
	char socket[PATH_MAX];
	struct dsec_error ignored;
	const bool has_socket = paths_socket(socket, &ignored) == 0;
	const struct keeper_options options = {
		.state = *state,
		.worker = words,
		.next_worker = next_words,
		.rights =
			{
				.config_file = places->config,
				.default_socket = has_socket ? socket : NULL,
				.mount = on_mount,
				.unmount = on_unmount,
				.ready = on_ready,
				.tell = on_tell,
				.split = on_split,
				.free_words = on_free_words,
				.log = on_log,
				.arg = keeping,
			},
		.lost = on_lost,
		.upgrade = on_upgrade,
	};

	int status = keeper_run(signal_fd, &options);
	if (keeping->made)
		rmdir(places->mountpoint);
	return status;
}

/* The folder as it is called from the root, and its lock. */
static int lock_state(struct places *places, struct keeper_state *state, struct dsec_error *err)
{
	char folder[PATH_MAX];
	int lock_fd;

	int r = state_lock(folder, &lock_fd, places->state, err);
	if (r < 0)
		return r;
	memcpy(places->state, folder, sizeof(folder));
	state->lock_fd = keeper_move_fd(lock_fd);
	return state->lock_fd < 0 ? dsec_error_set(err, DSEC_ERROR_FAULT, "no descriptor: %s",
						   strerror(-state->lock_fd))
				  : 0;
}

int keeping_run(const struct places *places, int ready_fd)
{
	struct keeping keeping = {
		.places = *places,
		.ready_fd = ready_fd,
		.background = ready_fd >= 0,
	};
	struct keeper_state state;
	struct sandbox sandbox;
	struct dsec_error err;

	find_program(&keeping);
	int signal_fd = keeper_take_signals(&err), r = signal_fd;
	if (r >= 0)
		r = enclose_prepare(&sandbox, &err);
	if (r >= 0)
		r = sandbox_keeper(&err);
	if (r >= 0)
		r = keeper_state_new(&state, &err);
	if (r == 0)
		r = lock_state(&keeping.places, &state, &err);
	if (r == 0 && chdir("/") < 0)
		r = dsec_error_set(&err, DSEC_ERROR_FAULT, "chdir: %s", strerror(errno));
	if (r == 0)
		r = make_room(places->mountpoint, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return keep(&keeping, signal_fd, &state);
}

/* The keeper that has taken over from another, by exec. */
static int resume(const struct options *options)
{
	const char *const *operands = options->operands;
	struct keeping keeping = {.ready_fd = -1};
	struct keeper_state state;
	struct dsec_error err;

	keeping.background = strcmp(operands[0], KEEPING_SYSLOG) == 0;
	if (keeping.background)
		log_to_syslog();
	snprintf(keeping.places.config, PATH_MAX, "%s", operands[1]);
	snprintf(keeping.places.state, PATH_MAX, "%s", operands[2]);
	snprintf(keeping.places.mountpoint, PATH_MAX, "%s", operands[3]);
	if (!read_state(operands[4], &keeping, &state)) {
		log_line(LOG_ERR, "this command is for dsec itself");
		return STATUS_USAGE;
	}
	find_program(&keeping);
	notify_init();
	keep_on_exec(&state, false);
	int signal_fd = keeper_take_signals(&err);
	if (signal_fd < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	return keep(&keeping, signal_fd, &state);
}

static int print_layout(const struct options *options)
{
	printf("%d\n", SHARED_LAYOUT);
	return STATUS_FINE;
}

const struct command keeper_command = {
	.name = "keeper",
	.operands = "MODE CONFIG STATE MOUNTPOINT DESCRIPTORS",
	.operands_min = 5,
	.operands_max = 5,
	.help = "What a running dsec becomes when it is upgraded. Not for people.\n",
	.run = resume,
};

const struct command keeper_layout_command = {
	.name = "keeper-layout",
	.operands = "",
	.help = "Prints which versions this one can take over from. Not for people.\n",
	.run = print_layout,
};
