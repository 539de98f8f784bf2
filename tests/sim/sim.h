/*
 * sim.h: one simulated life of a daemon: readers that come and go, operators, an AWS and a disk
 * that misbehave, crashes; and what must hold in it at all times.
 */
#ifndef DSEC_TESTS_SIM_SIM_H
#define DSEC_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/bucket.h"
#include "lease/engine.h"
#include "tests/sim/cloud.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define SIM_MINUTE_MS INT64_C(60000)
#define SIM_HOUR_MS   (60 * SIM_MINUTE_MS)

/* How long after its end a user may still be there while a daemon runs, given how this AWS
 * misbehaves: an outage ends after SIM_OUTAGE_MAX_MS, a removal is retried within 5 minutes, a name
 * that may be taken is looked at again after one, and a throttled limiter has a queue to work off.
 */
#define SIM_BOUND_MS      (30 * SIM_MINUTE_MS)
#define SIM_OUTAGE_MAX_MS (3 * SIM_MINUTE_MS)

#define SIM_READ_TIMEOUT_MS 30000
#define SIM_DAEMON          "0123456789abcdef"
#define SIM_PATH            "/doppler/" SIM_DAEMON "/"
#define SIM_CATALOGS        3
#define SIM_ROBBED          256
#define SIM_POOLS           4 /* dynamic secrets, all configs together */

/* How bad this life is. */
struct sim_weather {
	double throttled, busy, lost, late; /* probabilities a call */
	double taken;                       /* of a name that is chosen */
	int64_t latency_max_ms;
	int64_t busy_every_ms;                 /* how often something happens, at most */
	double crash, outage, trouble, reload; /* of those happenings */
};

struct sim_reader {
	struct sim *sim;
	struct list link;
	uint64_t ticket;
	int64_t asked_at;
};

/* An active lease, as the observer has seen it. */
struct sim_lease {
	struct list link;
	struct lease *lease;
	bool passed_over; /* it was renewed, or may not have been right for a while */
};

struct sim {
	uint64_t seed;
	bool verbose;
	struct world world;
	struct cloud cloud;
	struct disk disk;
	struct engine_env env;
	struct engine *engine; /* NULL: it is dead */
	struct catalog *catalogs[SIM_CATALOGS];
	size_t catalog; /* the present one */
	bool verify, expiry_in_policy;
	unsigned max_leases, uids, warm;
	int64_t max_ttl_ms;

	struct sim_weather weather;
	struct bucket cloud_rate; /* what AWS bears */
	bool calm;                /* nothing fails any more, nobody does anything */
	int64_t outage_until_at;
	struct timer act, revive;
	int64_t alive_at; /* since when this daemon has run, and the machine has not slept */
	bool disk_failed; /* lately: what is durable may be old */
	bool rebuilt;     /* the journal was lost once */
	/* The users that somebody else has deleted last. */
	char robbed[SIM_ROBBED][IAM_USER_NAME_MAX];
	size_t n_robbed; /* in all */
	bool swept;

	struct list readers; /* who waits, longest first */
	struct list leases;
	size_t n_users[SIM_POOLS];
	uint64_t events, handed_out, refused, crashes;
};

/* sim.c */
bool sim_parse_pool(const char *config, const char *secret, int *ret);
struct sim_result {
	uint64_t events, handed_out, refused, users, crashes;
	int64_t lived_ms;
};
/* Lives through one seed. What does not hold ends the process. */
struct sim_result sim_run(uint64_t seed, bool verbose);
void sim_say(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* life.c: what goes on in the world. */
void sim_choose_life(struct sim *sim);
struct cloud_fate sim_fate(void *arg, const struct provider_call *call);
void sim_recorded(void *arg, const struct journal_record *record);
void sim_act(struct timer *timer);
void sim_crash(struct sim *sim);
void sim_revive(struct timer *timer);
void sim_start(struct sim *sim, bool rebuild);

/* invariant.c: what must hold. */
__attribute__((format(printf, 2, 3), noreturn)) void sim_broken(const struct sim *sim,
								const char *format, ...);
void sim_check_effect(void *arg, struct cloud_user *user, enum provider_op op);
void sim_check_active(struct sim *sim, const struct lease *lease);
void sim_check_needed(struct sim *sim, const struct lease *lease); /* made, or taken */
void sim_check_handed_out(struct sim *sim, const struct lease *lease);
/* What a reader gets of these leases, which are all of one config's. */
void sim_check_snapshot(const struct sim *sim, const struct lease *const *leases, size_t n);
void sim_check_now(struct sim *sim);   /* after each event */
void sim_check_often(struct sim *sim); /* looks at everything */
void sim_check_nobody(const struct sim *sim);
void sim_check_end(struct sim *sim);

#endif
