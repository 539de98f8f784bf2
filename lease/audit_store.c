#include "lease/audit_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease/alloc.h"

struct audit_store {
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	int fd; /* -1: nothing waits */
	struct audit_head head;
	bool stopping;
	char problem[DSEC_ERROR_MESSAGE_MAX];
	char *state_folder; /* constant */
};

static void set_problem(struct audit_store *store, const char *message)
{
	pthread_mutex_lock(&store->lock);
	snprintf(store->problem, sizeof(store->problem), "%s", message);
	pthread_mutex_unlock(&store->lock);
}

static void bring(struct audit_store *store, int fd, const struct audit_head *head)
{
	struct dsec_error err;

	if (fdatasync(fd) < 0) {
		dsec_error_set(&err, DSEC_ERROR_NO_SPACE, "the audit log: %s", strerror(errno));
		set_problem(store, err.message);
	} else if (audit_head_store(head, store->state_folder, &err) < 0) {
		set_problem(store, err.message);
	}
	close(fd);
}

static void *run(void *arg)
{
	struct audit_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (store->fd >= 0 || !store->stopping) {
		if (store->fd < 0) {
			pthread_cond_wait(&store->changed, &store->lock);
			continue;
		}
		int fd = store->fd;
		struct audit_head head = store->head;

		store->fd = -1;
		pthread_mutex_unlock(&store->lock);
		bring(store, fd, &head);
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

struct audit_store *audit_store_start(const char *state_folder)
{
	struct audit_store *store = alloc_zeroed(1, sizeof(*store));
	sigset_t all, before;

	store->fd = -1;
	store->state_folder = alloc_copy(state_folder);
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&store->thread, NULL, run, store) != 0)
		abort(); /* no memory for a stack: see alloc.h */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return store;
}

void audit_store_put(struct audit_store *store, int fd, const struct audit_head *head)
{
	/* A descriptor of its own: the log may be another file by then. */
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0) {
		set_problem(store, "no descriptor is left to write the audit log's head");
		return;
	}
	pthread_mutex_lock(&store->lock);
	if (store->fd >= 0)
		close(store->fd);
	store->fd = own;
	store->head = *head;
	pthread_cond_signal(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

void audit_store_problem(struct audit_store *store, char to[DSEC_ERROR_MESSAGE_MAX])
{
	pthread_mutex_lock(&store->lock);
	memcpy(to, store->problem, sizeof(store->problem));
	store->problem[0] = '\0';
	pthread_mutex_unlock(&store->lock);
}

struct audit_store *audit_store_stop(struct audit_store *store)
{
	if (!store)
		return NULL;
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->changed);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	pthread_mutex_destroy(&store->lock);
	pthread_cond_destroy(&store->changed);
	free(store->state_folder);
	free(store);
	return NULL;
}
