/*
 * fixture.h: an engine with a world of its own.
 */
#ifndef DSEC_TESTS_ENGINE_FIXTURE_H
#define DSEC_TESTS_ENGINE_FIXTURE_H

#include "lease/engine.h"
#include "tests/sim/cloud.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)

#define FIXTURE_DAEMON "0123456789abcdef"
#define FIXTURE_PATH   "/doppler/" FIXTURE_DAEMON "/"

/* The configuration that most tests begin with: one secret of 30 minutes, at most 12 hours. */
extern const char fixture_plain[];

struct fixture {
	struct world world;
	struct cloud cloud;
	struct disk disk;
	struct engine *engine;
	struct engine_env env;

	/* What the observer saw. */
	unsigned n_intended, n_active, n_ended, n_gone, n_failed, n_handed_out, n_due, n_rotated;
	unsigned intents_refused_from; /* that one and all that follow; 0: none is */
	bool held;                     /* somebody holds whatever lease is due */
	char last_reason[160];
	char log[4096]; /* the latest lines */

	struct lease
		*kept; /* of a lease that the next engine is to have with its secret; or NULL */

	/* What becomes of calls: the first n of this operation end like this, the rest well. */
	enum provider_op bad_op;
	unsigned n_bad;
	struct cloud_fate bad;
	bool (*is_bad)(const struct provider_call *call); /* NULL: all of that operation */

	/* Each call's operation, in order, until it is full; emptied by whoever wants to look. */
	char calls[1024];

	/* Called after each effect; may be NULL. */
	void (*watch)(struct fixture *fixture, struct cloud_user *user, enum provider_op op);
};

struct fixture *fixture_new(const char *json);
struct fixture *fixture_free(struct fixture *fixture);
struct catalog *fixture_catalog(const char *json);

/* cmocka's: the state is a fixture on fixture_plain. */
int fixture_setup(void **state);
int fixture_teardown(void **state); /* of any fixture */

/* The daemon dies and another one starts on what is durable. */
void fixture_crash(struct fixture *fixture);
void fixture_restart(struct fixture *fixture, const char *json, bool rebuild);

/* Everything that happens within this time. */
void fixture_run(struct fixture *fixture, int64_t ms);
/* Until it is true; false when it is not within an hour. */
bool fixture_until(struct fixture *fixture, bool (*is)(struct fixture *fixture));

struct reader {
	bool answered;
	struct lease *lease; /* the first */
	size_t n;
	struct dsec_error err; /* .message[0] when it failed */
	int64_t at;
	uint64_t ticket;
	struct fixture *fixture;
};

/* Asks for a config's first secret (a/dev in fixture_plain). */
void fixture_read(struct fixture *fixture, struct reader *reader);
void fixture_read_as(struct fixture *fixture, struct reader *reader, const char *config,
		     uint64_t secrets, int64_t ttl_ms, uid_t uid);
/* For leases that nobody else is ever given. */
void fixture_read_alone(struct fixture *fixture, struct reader *reader, const char *config,
			uint64_t secrets, uint64_t number);
/* The same (with number 0: for shared leases) by who is charged for them. */
void fixture_read_for(struct fixture *fixture, struct reader *reader, const char *config,
		      uint64_t number, const char *payer);
void fixture_read_in_scope(struct fixture *fixture, struct reader *reader, const char *config,
			   enum lease_scope scope, lease_holder holder,
			   const struct lease_caller *caller);
void reader_finish(struct reader *reader);

/* A read that must succeed; the lease for lease_unref. */
struct lease *fixture_lease(struct fixture *fixture);

struct cloud_user *fixture_only_user(struct fixture *fixture);

#endif
