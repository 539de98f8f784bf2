/*
 * double.h: an API with a clock of its own and an engine that makes a lease when the test says so,
 * all on the test's thread; and clients that speak to it through real sockets.
 */
#ifndef DSEC_TESTS_API_DOUBLE_H
#define DSEC_TESTS_API_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/api.h"

#define DOUBLE_ACQUIRES_MAX 256
#define DOUBLE_ENDED_MAX    64

struct double_acquire {
	char config[64];
	uint64_t secrets;
	int64_t ttl_ms;
	lease_holder holder; /* of shared leases */
	engine_acquired *done;
	void *arg;
	uint64_t ticket; /* 0: it is answered, or abandoned */
};

/* What the API has asked of the engine. */
struct double_engine {
	struct double_acquire acquires[DOUBLE_ACQUIRES_MAX];
	size_t n;
	bool at_once; /* leases are there when they are asked for */
	unsigned n_abandoned;
	lease_holder ended[DOUBLE_ENDED_MAX]; /* holders */
	size_t n_ended;
	char revoked[DOUBLE_ENDED_MAX][LEASE_ID_MAX];
	size_t n_revoked;
	unsigned n_leases;
};

struct scene {
	struct api *api;
	struct catalog *catalog;
	struct double_engine engine;
	char folder[64], path[128];
	uid_t uid; /* whom clients come as, for which root is needed; 0: ourselves */
	unsigned n_token_events[API_TOKEN_WHATS];
};

extern int64_t double_now_at;             /* what the API takes for now */
extern const struct clock double_clock;   /* calendar: the same */
extern const char double_configuration[]; /* app/dev: GREETING and the dynamic secret AWS_USER */

struct scene *scene_new(const char *configuration);
struct scene *scene_free(struct scene *scene);

/* Another configuration: the present one with another text of the same length in it. */
void scene_reload(struct scene *scene, const char *from, const char *to);

/* Lets the API do what is there to do. */
void scene_run(struct scene *scene);
/* The same, with so much time passing, event by event. */
void scene_pass(struct scene *scene, int64_t ms);

/* Answers the oldest acquire that is open. */
void scene_lease(struct scene *scene);
void scene_fail(struct scene *scene, enum dsec_error_kind kind, const char *message);
/* The engine tells the end of the lease with this id (see leases' ids: "lease-1", …). */
void scene_end_lease(struct scene *scene, unsigned number);
unsigned scene_waiting(const struct scene *scene); /* acquires that are open */

/* A connection; returns its descriptor. */
int scene_connect(struct scene *scene);
void scene_say(struct scene *scene, int fd, const char *text);
void scene_say_bytes(struct scene *scene, int fd, const char *bytes, size_t n);
/* What has come so far, until the other side has closed or nothing comes: a string for free(). */
char *scene_hear(struct scene *scene, int fd);
/* connect, say, hear, close: GET of the path. */
char *scene_get(struct scene *scene, const char *path);

#endif
