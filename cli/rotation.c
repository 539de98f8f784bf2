#include "cli/rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "cli/log.h"
#include "lease/alloc.h"
#include "lease/list.h"

#define NAME_MAX_BYTES (3 * CATALOG_NAME_MAX + 3)
#define OUTPUTS_A_TURN 16
#define OUTPUT_MAX     4096

struct rotations {
	struct door *door;
	const struct clock *clock;
	int epoll_fd;
	struct list all;
};

/* One dynamic secret's command. */
struct rotation {
	struct list link;
	char name[NAME_MAX_BYTES]; /* PROJECT/CONFIG/SECRET */
	char *command;
	bool wanted;
	unsigned tries;
	int64_t start_at; /* when it is wanted and does not run */
	int run;          /* -1: it does not run */
	int output_fd;
	int64_t kill_at;
};

struct rotations *rotations_new(struct door *door, const struct clock *clock)
{
	struct rotations *rotations = alloc_zeroed(1, sizeof(*rotations));

	*rotations = (struct rotations){
		.door = door,
		.clock = clock,
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
	};
	list_init(&rotations->all);
	return rotations->epoll_fd < 0 ? rotations_free(rotations) : rotations;
}

static void close_output(struct rotation *rotation)
{
	if (rotation->output_fd >= 0)
		close(rotation->output_fd);
	rotation->output_fd = -1;
}

static void rotation_free(struct rotation *rotation)
{
	close_output(rotation);
	list_remove(&rotation->link);
	free(rotation->command);
	free(rotation);
}

struct rotations *rotations_free(struct rotations *rotations)
{
	if (!rotations)
		return NULL;
	list_each (at, &rotations->all)
		rotation_free(container_of(at, struct rotation, link));
	if (rotations->epoll_fd >= 0)
		close(rotations->epoll_fd);
	free(rotations);
	return NULL;
}

int rotations_fd(const struct rotations *rotations)
{
	return rotations->epoll_fd;
}

/* Wanting. */

static struct rotation *get(struct rotations *rotations, const char *name)
{
	list_each (at, &rotations->all) {
		struct rotation *rotation = container_of(at, struct rotation, link);

		if (strcmp(rotation->name, name) == 0)
			return rotation;
	}

	struct rotation *rotation = alloc_zeroed(1, sizeof(*rotation));
	snprintf(rotation->name, sizeof(rotation->name), "%s", name);
	rotation->run = rotation->output_fd = -1;
	list_init(&rotation->link);
	list_append(&rotations->all, &rotation->link);
	return rotation;
}

static void want(struct rotations *rotations, const char *name, const char *command)
{
	struct rotation *rotation = get(rotations, name);

	free(rotation->command);
	rotation->command = alloc_copy(command);
	rotation->wanted = true;
	rotation->tries = 0;
	rotation->start_at = rotations->clock->boottime_at(rotations->clock);
}

static void nudge(const struct rotations *rotations, const struct fs *fs, const struct lease *lease,
		  const char *name, int number)
{
	pid_t pid;
	uint64_t start;

	if (!fs || !fs_process(fs, lease->slot.holder, &pid, &start))
		return;
	int r = door_nudge(rotations->door, pid, start, number);
	if (r < 0 && r != -ESRCH)
		log_line(LOG_WARNING, "on_rotate of %s: process %d cannot be signalled: %s", name,
			 (int)pid, strerror(-r));
}

void rotations_add(struct rotations *rotations, const struct catalog *catalog,
		   const struct lease *lease, const struct fs *fs)
{
	const struct lease_slot *slot = &lease->slot;
	const struct config *config = catalog_config(catalog, slot->project, slot->config);
	size_t index;
	const struct dynamic_secret *secret =
		config ? config_dynamic(config, slot->secret, &index) : NULL;
	char name[NAME_MAX_BYTES];

	if (!secret)
		return;
	snprintf(name, sizeof(name), "%s/%s/%s", slot->project, slot->config, slot->secret);
	if (secret->on_rotate_command)
		want(rotations, name, secret->on_rotate_command);
	if (secret->on_rotate_signal)
		nudge(rotations, fs, lease, name, secret->on_rotate_signal);
}

/* Running. */

static void begin(struct rotations *rotations, struct rotation *rotation, int64_t now_at)
{
	int run = door_run(rotations->door, rotation->command, &rotation->output_fd);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = rotation};

	if (run < 0) {
		rotation->output_fd = -1;
		rotation->start_at = now_at + ROTATION_RETRY_MS;
		rotation->wanted = ++rotation->tries < ROTATION_TRIES_MAX;
		if (!rotation->wanted)
			log_line(LOG_ERR, "on_rotate of %s: its command cannot be run: %s",
				 rotation->name, strerror(-run));
		return;
	}
	rotation->wanted = false;
	rotation->run = run;
	rotation->kill_at = now_at + ROTATION_TIMEOUT_MS;
	fcntl(rotation->output_fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(rotations->epoll_fd, EPOLL_CTL_ADD, rotation->output_fd, &event) < 0)
		close_output(rotation);
}

static void stop(struct rotations *rotations, struct rotation *rotation)
{
	log_line(LOG_WARNING, "on_rotate of %s: its command has not ended within %d s: killed",
		 rotation->name, ROTATION_TIMEOUT_MS / 1000);
	door_kill(rotations->door, rotation->run);
	rotation->kill_at = DSEC_NEVER;
}

int64_t rotations_due(struct rotations *rotations, int64_t now_at)
{
	int64_t next_at = DSEC_NEVER;

	list_each (at, &rotations->all) {
		struct rotation *rotation = container_of(at, struct rotation, link);

		if (rotation->run < 0 && rotation->wanted && rotation->start_at <= now_at)
			begin(rotations, rotation, now_at);
		if (rotation->run >= 0 && rotation->kill_at <= now_at)
			stop(rotations, rotation);
		if (rotation->run >= 0 && rotation->kill_at < next_at)
			next_at = rotation->kill_at;
		if (rotation->run < 0 && rotation->wanted && rotation->start_at < next_at)
			next_at = rotation->start_at;
	}
	return next_at;
}

bool rotations_exited(struct rotations *rotations, int run, int status)
{
	list_each (at, &rotations->all) {
		struct rotation *rotation = container_of(at, struct rotation, link);

		if (rotation->run != run)
			continue;
		close_output(rotation);
		rotation->run = -1;
		if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
			log_line(LOG_WARNING, "on_rotate of %s: its command ended with status %d",
				 rotation->name, WEXITSTATUS(status));
		else if (WIFSIGNALED(status))
			log_line(LOG_WARNING, "on_rotate of %s: its command was ended by signal %d",
				 rotation->name, WTERMSIG(status));
		return true;
	}
	return false;
}

/* What it prints is for nobody, but a full pipe would stop it. */
void rotations_dispatch(struct rotations *rotations)
{
	struct epoll_event events[OUTPUTS_A_TURN];
	int n = epoll_wait(rotations->epoll_fd, events, OUTPUTS_A_TURN, 0);

	for (int i = 0; i < n; i++) {
		struct rotation *rotation = events[i].data.ptr;
		char output[OUTPUT_MAX];
		ssize_t got = read(rotation->output_fd, output, sizeof(output));

		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			close_output(rotation);
	}
}
