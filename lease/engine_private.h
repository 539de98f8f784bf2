/*
 * engine_private.h: what the engine's files share.
 *
 *   engine.c     life, tick, reload, revoking all
 *   account.c    an integration in use: its provider, its limiter, what AWS's clock says
 *   pool.c       a dynamic secret: its recipe, how many users it has, how often it may make one
 *   payer.c      whom its leases are charged to, and how many of them each may cause
 *   slot.c       who shares a lease: its live leases, the one being made, who waits for it
 *   warm.c       leases that are ready before anybody asks
 *   acquire.c    readers: what each asked for, until when it waits
 *   holder.c     whose lease it is, and that it ends with its holder
 *   principal.c  one IAM user, from the intent to the look that says it is gone: journal, end
 *   grant.c      its making: created, equipped, attached, verified, active (grant.h has the rest)
 *   renew.c      another end for a lease
 *   reconcile.c  journal, IAM and configuration compared
 *   report.c     .status and leases.json;  metrics.c
 *
 * The names: an *account* is an integration in use. A *principal* is an IAM user that exists or may
 * exist, with its line in the journal. A *lease* is what readers see of an active principal.
 */
#ifndef DSEC_LEASE_ENGINE_PRIVATE_H
#define DSEC_LEASE_ENGINE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

#include "lease/bucket.h"
#include "lease/engine.h"
#include "lease/identity.h"
#include "lease/limiter.h"
#include "lease/line.h"
#include "lease/list.h"
#include "lease/removal.h"
#include "lease/table.h"
#include "lease/timer.h"

/* For so long IAM may still deny that a user is there that it has made, or show one that it has
 * removed. A look within this time after the last call that may have made the user decides nothing.
 */
#define CONSISTENCY_MS 60000

/* For so long NoSuchEntity, from a call on a user just made, means "not yet". */
#define YOUNG_MS 20000

/* The most that one making may take before it is given up and another one may begin. */
#define GRANT_TIME_MAX_MS    120000
#define GRANT_BACKOFF_MS     200
#define GRANT_BACKOFF_CAP_MS 5000

/* A key counts as ready when AWS has accepted it so often in a row, so far apart: its servers do
 * not learn of it all at once. */
#define VERIFY_TIMES          3
#define VERIFY_SPACING_MS     100
#define VERIFY_BACKOFF_MS     100
#define VERIFY_BACKOFF_CAP_MS 1000

/* After a failure that waiting does not mend, readers of the slot are given the same answer for so
 * long: doubled with each further one, so that a crash loop of readers does not hammer AWS. */
#define REFUSAL_MS     1000
#define REFUSAL_CAP_MS 30000

#define RECORD_RETRY_MS     1000 /* the journal could not be written */
#define RECORD_RETRY_CAP_MS 60000

#define RECONCILE_BACKOFF_MS     1000
#define RECONCILE_BACKOFF_CAP_MS 60000
#define RECONCILE_ROUNDS         2 /* the second, CONSISTENCY_MS later, sees what the first could not */

/* How often what happens again and again is told: the first time, then with each doubling. */
#define IS_POWER_OF_TWO(n) (((n) & ((n)-1)) == 0)

struct slot;
struct principal;

struct engine_counters {
	uint64_t intended, activated, failed, ended, gone, renewed;
	uint64_t acquired_cached, acquired_warm, acquired_made, acquired_failed[LIMITER_KINDS],
		abandoned, held_back;
	uint64_t journal_failed;
	uint64_t making_ms; /* intent to active, all activated together */
};

struct engine {
	struct engine_env env;
	struct catalog *catalog;
	char daemon_id[DAEMON_ID_MAX];
	struct timers timers;
	struct list accounts, pools;
	struct list principals;
	struct table pools_by_name, payers_by_name, slots_by_key, requests_by_ticket;
	struct table principals_by_id, principals_by_user, principals_by_holder;
	uint64_t last_generation, last_ticket;
	size_t n_waiting; /* requests */
	size_t n_users;   /* principals whose user may exist */
	size_t n_keys;    /* of those, with a key that may exist */
	size_t n_foreign; /* lines of the journal that were another daemon's */
	bool started, rebuild;
	bool closing;
	char closing_reason[64];
	size_t closing_total;
	struct engine_counters counters;
};

int64_t engine_now(const struct engine *engine);
void engine_log(const struct engine *engine, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void engine_event(const struct engine *engine, enum lease_event event, const struct lease *lease,
		  const char *reason);

/* What it takes to make a lease of a dynamic secret: a copy that outlives the catalog, since a
 * lease may be renewed, and its managed policies must be detached, under the configuration that it
 * was made under. Without the integration. */
struct recipe {
	unsigned references;
	struct dynamic_secret secret;
};

struct recipe *recipe_new(const struct dynamic_secret *secret);
struct recipe *recipe_ref(struct recipe *recipe);
struct recipe *recipe_unref(struct recipe *recipe); /* NULL-safe; returns NULL */

/* Settling the differences between the journal and IAM (reconcile.c). */
struct reconcile {
	struct limiter_call call;
	struct timer again;
	char prefix[IAM_PATH_MAX];
	char *marker;
	unsigned round; /* from 1; 0: not begun; above RECONCILE_ROUNDS: over */
	struct dsec_error error;
	int64_t error_ms; /* 0: the last page came */
};

struct account {
	struct engine *engine;
	struct list link;
	char *name, *endpoint, *path;
	bool configured; /* in the present catalog */
	bool verify, expiry_in_policy;
	struct limiter limiter;
	struct reconcile reconcile;
	size_t n_principals;
	size_t n_keys;
};

/* Makes what the catalog says so, and marks what it does not name. */
void accounts_configure(struct engine *engine);
void accounts_prune(struct engine *engine); /* frees what is neither configured nor used */
void accounts_free(struct engine *engine);
struct account *account_find(const struct engine *engine, const char *name); /* NULL: none */
int64_t account_ms(const struct account *account);                           /* AWS's calendar */

void reconcile_recalled(struct engine *engine); /* the journal's side, at start */
void reconcile_begin(struct account *account);  /* IAM's side */
void reconcile_cancel(struct account *account);
/* False while the journal is lost and IAM has not said yet what there is. */
bool reconcile_knows_all(const struct account *account);

/* Whom leases of one dynamic secret are charged to. One that has not used up anything is not
 * remembered; beyond so many, the one that was charged longest ago is forgotten. */
#define PAYERS_MAX 1024

struct payer {
	struct pool *pool;
	struct list link; /* in the pool's, the one charged longest ago first */
	struct table_node by_name;
	struct bucket rate;
	unsigned n_refused; /* since it was charged last */
	char name[];
};

/* Charges it for a lease; false when it has used up what one may. */
bool payer_charge(struct pool *pool, const char *name);
/* What one is told that was not charged: whom it counts as, and when it may try again. True: and so
 * is the observer. A loop is told of the first time and with each doubling, or it would push all
 * else out of the audit log. */
bool payer_refuse(struct pool *pool, const char *name, struct dsec_error *err);
void payers_change(struct pool *pool); /* its recipe has another rate */
void payers_forget(struct pool *pool);

struct pool {
	struct engine *engine;
	struct list link;
	struct table_node by_name;
	char *project, *config, *secret;
	struct recipe *recipe;   /* NULL: not in the configuration (any more) */
	struct account *account; /* the recipe's */
	struct list principals, slots;
	size_t n_principals;
	struct list places; /* that keep a lease ready */
	size_t n_places;
	struct bucket rate;
	struct list payers;
	size_t n_payers;
	struct list thirsty; /* slots that wait for a token of `rate` */
	struct timer token;
	struct dsec_error error; /* the last failure, until a lease becomes active */
	int64_t error_ms;        /* when, on AWS's calendar; 0: none */
};

void pools_configure(struct engine *engine);
void pools_free(struct engine *engine);
struct pool *pool_find(const struct engine *engine, const char *project, const char *config,
		       const char *secret); /* NULL: none */
struct pool *pool_get(struct engine *engine, const char *project, const char *config,
		      const char *secret);
void pool_failed(struct pool *pool, const struct dsec_error *err);
bool pool_full(const struct pool *pool); /* at its max_leases */
/* For how many leases more there is memory for secrets (env.leases_max); SIZE_MAX: for all. */
size_t engine_room(const struct engine *engine);

/* A token of max_rate; without one the slot is queued, and slot_make_now called when it is its
 * turn.
 */
bool pool_take_token(struct pool *pool, struct slot *slot);

/* One reader's want of one secret's lease. */
struct part {
	struct request *request;
	struct slot *slot;
	struct list link;    /* in the slot's waiters, while it waits */
	struct lease *lease; /* NULL while it waits */
	const char *payer;   /* the request's */
	bool waited;
	bool warm; /* it was ready, and is this reader's from now on */
};

struct slot {
	struct pool *pool;
	struct list link; /* in the pool's */
	struct table_node by_key;
	int64_t ttl_ms;
	lease_holder holder;
	const struct lease **leases; /* live, of the present recipe; the principals hold them */
	size_t n_leases, size;
	struct principal *making;
	bool owed; /* what was paid for was undone by us: the next one costs nobody anything */
	struct list thirsty;        /* in the pool's */
	size_t n_parts;             /* that refer to it, whether they wait or have their lease */
	struct list waiters;        /* the parts that wait */
	struct dsec_error *refusal; /* NULL: it has not failed since it last had a lease */
	int64_t refused_until_at;
	unsigned failures;        /* in a row */
	struct warm_place *place; /* NULL: nothing is kept ready in it */
	struct timer
		forget; /* frees it when nothing is left in it: never while somebody works on it */
};

struct slot *slot_get(struct pool *pool, int64_t ttl_ms, lease_holder holder);
struct lease_slot slot_name(const struct slot *slot);
/* Its lease for a reader without history; NULL: none. */
const struct lease *slot_lease(const struct slot *slot);
bool slot_refuses(const struct slot *slot); /* with slot->refusal */
/* Waiters have come or are left: begins to make a lease unless one is being made. May answer them.
 */
void slot_make(struct slot *slot);
void slot_make_now(struct slot *slot); /* with the token that this takes */
/* A version of a lease became active, or takes the place of an older one. */
void slot_add(struct slot *slot, const struct lease *lease);
void slot_remove(struct slot *slot, const struct lease *lease);
/* Answers all who wait, with what was made or with an error. */
void slot_ready(struct slot *slot, const struct lease *lease);
void slot_failed(struct slot *slot, const struct dsec_error *err);
void slot_fail_unconfigured(struct slot *slot);
/* Refuses readers for a while with this error. */
void slot_refuse(struct slot *slot, const struct dsec_error *err);
/* Leases of another recipe are not handed out any more. */
void slot_drop_stale(struct slot *slot);
void slot_idle(struct slot *slot); /* something has left it, perhaps the last */
void slot_free(struct slot *slot);

/* Keeps one lease ready in its slot. */
struct warm_place {
	struct slot *slot;
	struct list link;    /* in the pool's */
	struct timer look;   /* when to see whether one has to be made */
	unsigned failures;   /* in a row */
	int64_t begin_at;    /* not before */
	bool waits_for_room; /* among the secret's users */
};

void warm_configure(struct pool *pool);   /* as its recipe says */
void warm_finish(struct pool *pool);      /* frees its places; leases stay as they are */
void warm_start(struct engine *engine);   /* from here on they are filled */
void warm_look(struct warm_place *place); /* something has changed */
void warm_room(struct pool *pool);        /* a user is gone, or a secret */
void warm_ready(struct warm_place *place, const struct lease *lease);
void warm_failed(struct warm_place *place);
/* One that is ready and nobody's is from now on the slot's, which has none. NULL: there is none. */
const struct lease *warm_take(struct slot *slot);
bool warm_has(const struct slot *slot); /* would warm_take give one? */
/* One is ready: whoever waits for a token is given it, the first in the queue first. */
void warm_serve(struct pool *pool);
size_t warm_ready_count(const struct pool *pool);

struct request;
void part_ready(struct part *part, const struct lease *lease);
void part_failed(struct part *part, const struct dsec_error *err);
/* The same, of which the observer need not hear. */
void part_held_back(struct part *part, const struct dsec_error *err, bool is_told);
void requests_free(struct engine *engine);

enum principal_state {
	PRINCIPAL_INTENDED,  /* its record is being made durable; no call was made */
	PRINCIPAL_CREATING,  /* CreateUser */
	PRINCIPAL_EQUIPPING, /* inline policy and key, side by side */
	PRINCIPAL_ATTACHING, /* managed policies */
	PRINCIPAL_VERIFYING,
	PRINCIPAL_RECORDING, /* it works; ACTIVE is being made durable */
	PRINCIPAL_ACTIVE,
	PRINCIPAL_REVOKING,
	PRINCIPAL_GONE, /* that is being recorded; then it is freed */
};

struct grant;
struct renewal;

/* The removal of a principal's user; not there before one is begun. */
struct ending {
	struct principal *principal;
	struct removal removal;
	unsigned troubles; /* calls that failed, in a row */
	struct dsec_error trouble;
	int64_t trouble_ms;
};

/* There are thousands of them, nearly all active: what an active one does not need stands apart. */
struct principal {
	struct engine *engine;
	struct account *account; /* NULL: its integration is not configured */
	struct pool *pool;
	struct slot *slot;     /* NULL: nobody shares it (any more) */
	lease_holder holder;   /* the slot's that it was made for; 0 for one of an earlier daemon */
	struct recipe *recipe; /* NULL: made under a configuration that is not known any more */
	struct list link, in_pool;
	struct table_node by_id, by_user, by_holder;

	enum principal_state state;
	struct line record; /* as it should stand in the journal */
	bool writing;       /* a write is under way */
	bool rewrite;       /* and the record has changed since */
	unsigned write_failures;
	struct timer write_again;

	/* Making: the deadline. Active: the end. Revoking: the next look. */
	struct timer timer;
	struct timer due;      /* active: when to ask whether somebody holds it */
	struct timer rotation; /* active: its rotate_at */
	bool rotated;          /* that was told */
	struct grant *grant;
	struct renewal *renewal;
	struct ending *ending;
	struct limiter_call check; /* is it still there? (reconcile.c) */

	struct lease *lease; /* the published version, or one without its secret; NULL: never active
			      */
	int64_t start_at, expire_at;
	int64_t revoking_at; /* since when it is to be removed, as far as this daemon knows */
	bool recalled;       /* it comes from an earlier process, or IAM alone knew it */
	bool adopted;        /* and without its secret */
	struct engine_kept
		kept;       /* of one whose lease goes on, until it is published; else no secret */
	bool seen;          /* in a list of this daemon's users */
	bool counted;       /* in n_users */
	bool key_left;      /* in n_keys */
	bool user_certain;  /* IAM has said that the user was made, under our path */
	bool key_unknown;   /* a key may be there whose id is not known */
	int64_t settled_at; /* from here on NoSuchEntity is believed */
	int64_t echo_at;    /* until here a CreateUser without an answer may yet take effect */
};

struct principal *principal_new(struct engine *engine, struct account *account, struct pool *pool,
				const struct journal_record *record);
/* Whose it is, for engine_end_holder (holder.c). */
void principal_set_holder(struct principal *principal, lease_holder holder);
void principal_leave_holder(struct principal *principal);
void principal_rename(struct principal *principal, const char *user);
/* Its whole line. */
void principal_line(const struct principal *principal, struct journal_record *ret);
struct principal *principal_by_id(const struct engine *engine, const char *lease_id);
struct principal *principal_by_user(const struct engine *engine, const char *user);

/* Makes the state durable, some time; the journal's failures are retried. */
void principal_record(struct principal *principal, enum journal_state state);

/* Its user may exist from now on; a key of it may or may not. */
void principal_count(struct principal *principal);
void principal_set_key_left(struct principal *principal, bool left);

/* An active lease in this version, which ends at expire_at: published unless its secret is not
 * known. */
void principal_publish(struct principal *principal, struct secret *secret_access_key,
		       int64_t min_validity_ms);

/* A lease goes on as an earlier process has published it. */
void principal_resume(struct principal *principal);

/* Tells that who reads it again is given another lease, unless that was told. */
void principal_rotated(struct principal *principal, const char *reason);

/* An adopted lease's end is known in AWS's time: when is that here? */
void principal_set_expiry(struct principal *principal);

/* Ends it, whatever it is doing: no reader gets it from here on, and the user is removed. */
void principal_revoke(struct principal *principal, const char *reason);
void principal_remove(struct principal *principal); /* what principal_revoke ends in */
void principal_gone(struct principal *principal);   /* its user is not there */
void principal_drop(struct principal *principal);   /* its intent could not be recorded */
void principal_free(struct principal *principal);

/* What a journal's record becomes at start. */
void principal_recall(struct engine *engine, const struct journal_record *record,
		      const struct engine_kept *kept); /* NULL: nothing */

/* Making one for a slot. */
void grant_begin(struct slot *slot);
void grant_intended(struct principal *principal, const struct dsec_error *err);
void grant_recorded(struct principal *principal);
void grant_late(struct principal *principal); /* its deadline has passed */
/* Somebody waits for it now: its calls go before those that nobody waits for. */
void grant_hurry(struct principal *principal);
/* Nobody wants it any more. True when nothing of it is under way; else principal_remove is called
 * when the last answer has come. */
bool grant_abandon(struct principal *principal);
/* What a reader is told whose time is up: the last failure, or NULL. */
const struct dsec_error *grant_last_error(const struct principal *principal);
const char *grant_step_text(const struct principal *principal);
struct grant *grant_free(struct grant *grant);

void renewal_recorded(struct principal *principal, const struct dsec_error *err);
struct renewal *renewal_cancel(struct renewal *renewal); /* NULL-safe; returns NULL */

#endif
