/*
 * limiter.h: every call to a provider passes here: in order of urgency, at a rate that AWS bears,
 * one attempt at a time.
 *
 * One limiter an integration. Its rate is the configured one until AWS throttles; then it halves,
 * and grows back with each call that succeeds. The owner of a call decides what an answer means and
 * whether to try again; the limiter decides when.
 */
#ifndef DSEC_LEASE_LIMITER_H
#define DSEC_LEASE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/bucket.h"
#include "lease/clock.h"
#include "lease/error.h"
#include "lease/list.h"
#include "lease/provider.h"
#include "lease/server_clock.h"
#include "lease/timer.h"

#define LIMITER_IN_FLIGHT_MAX 32 /* calls under way at once */

#define LIMITER_CALL_TIMEOUT_MS 10000 /* one attempt */
#define LIMITER_LIST_TIMEOUT_MS 30000 /* one attempt at a page of a thousand users */

#define LIMITER_RATE_MIN 0.2 /* calls a second that throttling leaves in any case */

/* A call that has been passed over for so long is served in every LIMITER_FAIR_SHAREth turn, so
 * that no flood of urgent calls keeps the others out for ever. */
#define LIMITER_PATIENCE_MS 10000
#define LIMITER_FAIR_SHARE  4

enum limiter_class {
	LIMITER_FREE,   /* takes no token: VERIFY_KEY, which STS counts apart from IAM */
	LIMITER_KEYS,   /* takes power away from a key that must not have it any more */
	LIMITER_LEASES, /* somebody waits for it */
	LIMITER_REST,
	LIMITER_CLASSES, /* how many there are */
};

enum limiter_state {
	LIMITER_IDLE,
	LIMITER_DELAYED, /* until its backoff is over */
	LIMITER_QUEUED,
	LIMITER_IN_FLIGHT,
};

struct limiter;
struct limiter_call;

/* Says what to send, at the moment of sending; what it points to is the owner's and outlives the
 * function. Calls nothing of the limiter. */
typedef void limiter_fill(struct limiter_call *call, struct provider_call *to);

/* The one attempt's answer, as provider_done. The call is idle again: the owner may submit it
 * again, retry it, or free what it stands in. */
typedef void limiter_done(struct limiter_call *call, const struct provider_answer *answer,
			  const struct dsec_error *err);

/* Stands in what wants it done. Zeroed is idle. */
struct limiter_call {
	limiter_fill *fill;
	limiter_done *done;
	unsigned failures; /* retries since limiter_submit */

	/* The limiter's own. */
	struct limiter *limiter;
	enum limiter_class class;
	enum limiter_state state;
	enum provider_op op;
	struct list link;
	struct timer delay;
	struct provider *provider;
	uint64_t handle;
	int64_t since_at; /* when it was queued, then when it was sent */
};

#define LIMITER_OPS   (PROVIDER_SIMULATE + 1)
#define LIMITER_KINDS (DSEC_ERROR_CLOCK_SKEW + 1)

/* How long an attempt took, until it was answered: in classes up to these bounds, and one more. */
#define LIMITER_BOUNDS 10
extern const int64_t limiter_bounds_ms[LIMITER_BOUNDS];

struct limiter_times {
	uint64_t n[LIMITER_BOUNDS + 1];
	uint64_t ms; /* all together */
};

struct limiter_counters {
	struct limiter_times took[LIMITER_OPS][2]; /* those that failed, those that succeeded */
	uint64_t sent[LIMITER_OPS];
	uint64_t succeeded[LIMITER_OPS];
	uint64_t failed[LIMITER_OPS][LIMITER_KINDS];
	uint64_t retried;
	uint64_t waited_ms; /* for an answer, all calls together */
};

struct limiter {
	const struct clock *clock;
	struct timers *timers;
	struct provider *provider;    /* of calls that are sent from now on */
	struct server_clock calendar; /* learnt from each answer */
	struct limiter_counters counters;
	/* AWS's clock was learnt for the first time; may be NULL. */
	void (*calendar_learnt)(struct limiter *limiter);

	/* The limiter's own. */
	double rate, rate_max; /* calls a second: now, and as configured */
	struct bucket bucket;
	int64_t slowed_at; /* answers to what was sent before tell nothing new about the rate */
	unsigned turns;
	size_t in_flight;
	struct list queues[LIMITER_CLASSES];
	struct timer next;
};

void limiter_init(struct limiter *limiter, const struct clock *clock, struct timers *timers,
		  struct provider *provider, double rate);
void limiter_finish(struct limiter *limiter); /* no call may be left in it */
void limiter_set_rate(struct limiter *limiter, double rate);

/* Sends an idle call as soon as class and rate allow. `done` is never called from within. */
void limiter_submit(struct limiter *limiter, struct limiter_call *call, enum limiter_class class);
void limiter_submit_after(struct limiter *limiter, struct limiter_call *call,
			  enum limiter_class class, int64_t delay_ms);

/* Sends an idle call that was answered again, after full-jitter backoff: a random time below
 * base_ms doubled with each failure, up to cap_ms. */
void limiter_retry(struct limiter_call *call, int64_t base_ms, int64_t cap_ms);

/* What waits for its turn, or is to, has the turn of a more urgent class. */
void limiter_hurry(struct limiter_call *call, enum limiter_class class);

/* Forgets it; `done` is not called. True when it was under way, and so may take effect. */
bool limiter_cancel(struct limiter_call *call);

/* A random time in 1 … cap, for what is repeated without being a call. */
int64_t limiter_jitter(const struct clock *clock, int64_t cap_ms);

/* Is this a failure that another attempt may mend? */
bool limiter_transient(const struct dsec_error *err);

#endif
