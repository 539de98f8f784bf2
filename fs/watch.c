#include "fs/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lease/alloc.h"

#define EVENTS_MAX 64 /* at a time; the rest comes with the next look */
#define DEPTH_MAX  16 /* of cgroups within a container */

enum watch_kind {
	WATCH_PROCESS, /* by fd */
	WATCH_POLLED,  /* a process, for want of a descriptor */
	WATCH_UNIFIED,
	WATCH_LEGACY, /* version 1 */
};

struct watch {
	struct list link; /* in all or ended */
	enum watch_kind kind;
	lease_holder holder;
	struct caller caller;
	int fd; /* PROCESS */
	int wd; /* UNIFIED, LEGACY; -1: none */
	char *folder;
};

static int add(const struct watches *watches, int fd, const void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = (void *)what};

	return epoll_ctl(watches->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int watches_init(struct watches *watches, int companion)
{
	*watches = (struct watches){
		.fd = epoll_create1(EPOLL_CLOEXEC),
		.inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
		.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
	};
	list_init(&watches->all);
	list_init(&watches->ended);
	if (watches->fd < 0 || watches->inotify_fd < 0 || watches->timer_fd < 0)
		return -errno;

	int r = add(watches, companion, NULL);
	if (r == 0)
		r = add(watches, watches->inotify_fd, &watches->inotify_fd);
	if (r == 0)
		r = add(watches, watches->timer_fd, &watches->timer_fd);
	return r;
}

static bool is_polled(const struct watch *watch)
{
	return watch->kind == WATCH_POLLED || watch->kind == WATCH_LEGACY;
}

static void close_watch(struct watches *watches, struct watch *watch)
{
	if (watch->fd >= 0) {
		epoll_ctl(watches->fd, EPOLL_CTL_DEL, watch->fd, NULL);
		close(watch->fd);
	}
	if (watch->wd >= 0)
		inotify_rm_watch(watches->inotify_fd, watch->wd);
	watch->fd = watch->wd = -1;
}

static void watch_free(struct watches *watches, struct watch *watch)
{
	close_watch(watches, watch);
	list_remove(&watch->link);
	free(watch->folder);
	free(watch);
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void watches_finish(struct watches *watches)
{
	list_each (at, &watches->all)
		watch_free(watches, container_of(at, struct watch, link));
	list_each (at, &watches->ended)
		watch_free(watches, container_of(at, struct watch, link));
	close_if_open(watches->fd);
	close_if_open(watches->inotify_fd);
	close_if_open(watches->timer_fd);
}

/* The end. */

static void set_timer(struct watches *watches)
{
	struct itimerspec every = {0};

	if (watches->ticking == (watches->n_polled > 0))
		return;
	watches->ticking = watches->n_polled > 0;
	if (watches->ticking)
		every.it_value.tv_sec = every.it_interval.tv_sec = WATCH_EVERY_MS / 1000;
	timerfd_settime(watches->timer_fd, 0, &every, NULL);
}

static void end(struct watches *watches, struct watch *watch)
{
	watches->n_polled -= is_polled(watch);
	close_watch(watches, watch);
	list_remove(&watch->link);
	list_append(&watches->ended, &watch->link);
	set_timer(watches);
}

static bool lives(const struct caller *caller)
{
	struct caller now;
	int r = caller_process(caller->pid, &now);

	if (r < 0)
		return r != -ESRCH; /* not to be seen is not ended */
	return now.pid == caller->pid && now.start == caller->start;
}

/* "populated 1": some process is in it, or in one below it. */
static bool is_populated(const char *folder)
{
	char path[PATH_MAX], text[512];

	if (snprintf(path, sizeof(path), "%s/cgroup.events", folder) >= (int)sizeof(path))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		return true; /* not to be seen is not ended */
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close_if_open(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "populated 1") != NULL;
}

static bool has_processes(int folder_fd, unsigned depth)
{
	char some[16];
	int fd = openat(folder_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	bool has = fd >= 0 && read(fd, some, sizeof(some)) > 0;

	close_if_open(fd);
	if (has || depth == 0)
		return has;

	int copy = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	if (!folder) {
		close_if_open(copy);
		return false;
	}
	const struct dirent *entry;
	while (!has && (entry = readdir(folder))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		fd = openat(folder_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		has = fd >= 0 && has_processes(fd, depth - 1);
		close_if_open(fd);
	}
	closedir(folder);
	return has;
}

static bool is_inhabited(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is = fd >= 0 && has_processes(fd, DEPTH_MAX);

	close_if_open(fd);
	return is;
}

static bool goes_on(const struct watch *watch)
{
	switch (watch->kind) {
	case WATCH_PROCESS:
	case WATCH_POLLED:
		return lives(&watch->caller);
	case WATCH_UNIFIED:
		return is_populated(watch->folder);
	case WATCH_LEGACY:
		return is_inhabited(watch->folder);
	}
	return false;
}

/* Collecting. */

static void look(struct watches *watches, bool (*which)(const struct watch *watch, int wd), int wd)
{
	list_each (at, &watches->all) {
		struct watch *watch = container_of(at, struct watch, link);

		if (which(watch, wd) && !goes_on(watch))
			end(watches, watch);
	}
}

static bool has_wd(const struct watch *watch, int wd)
{
	return watch->wd >= 0 && (wd < 0 || watch->wd == wd);
}

static bool polled(const struct watch *watch, int wd)
{
	return is_polled(watch);
}

static void take_inotify(struct watches *watches)
{
	char buffer[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(watches->inotify_fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const struct inotify_event *)(buffer + at);

		/* A queue that has overflown has lost some: all are looked at. */
		look(watches, has_wd, event->mask & IN_Q_OVERFLOW ? -1 : event->wd);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void take_timer(struct watches *watches)
{
	uint64_t times;

	(void)!read(watches->timer_fd, &times, sizeof(times));
	look(watches, polled, 0);
}

void watch_collect(struct watches *watches)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(watches->fd, events, EVENTS_MAX, 0);

	/* A look may end watches, but frees none. */
	for (int i = 0; i < n; i++) {
		void *what = events[i].data.ptr;

		if (what == &watches->inotify_fd)
			take_inotify(watches);
		else if (what == &watches->timer_fd)
			take_timer(watches);
		else if (what)
			end(watches, what);
	}
}

bool watch_has_ended(const struct watches *watches)
{
	return !list_empty(&watches->ended);
}

void watch_tell(struct watches *watches, watch_told *told, void *arg)
{
	struct list ended;

	list_take_all(&ended, &watches->ended);
	list_each (at, &ended) {
		struct watch *watch = container_of(at, struct watch, link);
		lease_holder holder = watch->holder;

		watch_free(watches, watch);
		told(arg, holder);
	}
}

bool watch_find(const struct watches *watches, lease_holder holder, struct caller *ret)
{
	list_each (at, &watches->all) {
		const struct watch *watch = container_of(at, struct watch, link);

		if (watch->holder == holder) {
			*ret = watch->caller;
			return true;
		}
	}
	return false;
}

/* Beginning. */

static struct watch *watch_new(struct watches *watches, lease_holder holder, enum watch_kind kind)
{
	struct watch *watch = alloc_zeroed(1, sizeof(*watch));

	watch->kind = kind;
	watch->holder = holder;
	watch->fd = watch->wd = -1;
	list_init(&watch->link);
	list_append(&watches->all, &watch->link);
	return watch;
}

static void begin(struct watches *watches, struct watch *watch)
{
	watches->n_polled += is_polled(watch);
	set_timer(watches);
	if (!goes_on(watch)) /* only now, so that no end is missed */
		end(watches, watch);
}

void watch_process(struct watches *watches, lease_holder holder, const struct caller *caller)
{
	struct watch *watch = watch_new(watches, holder, WATCH_PROCESS);

	watch->caller = *caller;
	watch->fd = (int)syscall(SYS_pidfd_open, caller->pid, 0);
	if (watch->fd < 0 || add(watches, watch->fd, watch) < 0)
		watch->kind = WATCH_POLLED;
	begin(watches, watch);
}

void watch_cgroup(struct watches *watches, lease_holder holder, const char *folder, bool unified)
{
	struct watch *watch = watch_new(watches, holder, unified ? WATCH_UNIFIED : WATCH_LEGACY);
	char events[PATH_MAX];

	watch->folder = alloc_copy(folder);
	if (snprintf(events, sizeof(events), "%s%s", folder, unified ? "/cgroup.events" : "") <
	    (int)sizeof(events))
		watch->wd =
			inotify_add_watch(watches->inotify_fd, events, IN_MODIFY | IN_DELETE_SELF);
	if (watch->wd < 0)
		watch->kind = WATCH_LEGACY;
	begin(watches, watch);
}

void watch_namespace(struct watches *watches, lease_holder holder, pid_t tid, uint64_t namespace)
{
	struct caller eldest = {0};

	caller_eldest(tid, namespace, &eldest);
	watch_process(watches, holder, &eldest);
}
