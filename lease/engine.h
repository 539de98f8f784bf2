/*
 * engine.h: who gets which lease, when it is renewed and when it ends.
 *
 * The engine is one state machine on one thread. It does no I/O and knows no time but through
 * `struct engine_env`, so that it runs whole in a simulation. Whoever owns the thread calls
 * engine_tick() when the deadline that it returned has come; answers of providers and of the
 * journal come in by their own dispatch. What is shared with other threads is immutable and
 * reference-counted: struct lease.
 *
 * A lease: intended (journalled, name chosen) → created → policy and key, side by side → managed
 * policies → verified → active → revoking → gone.
 */
#ifndef DSEC_LEASE_ENGINE_H
#define DSEC_LEASE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/error.h"
#include "lease/journal.h"
#include "lease/provider.h"
#include "lease/secret.h"
#include "lease/who.h"

/* Who shares a lease. The first byte says of what kind the holder is, the others are its number,
 * which means one holder only in the life of the mount. */
typedef uint64_t lease_holder;

enum holder_kind {
	HOLDER_USERS,     /* 0: all (scope shared); uid + 1: one user (scope user) */
	HOLDER_CONTAINER, /* numbered by the filesystem */
	HOLDER_PROCESS,   /* likewise */
	HOLDER_OPEN,      /* one open file of CONFIG@fresh; numbered by the filesystem */
	HOLDER_CLIENT,    /* one answer of the API; numbered by it */
	HOLDER_STOCK,     /* nobody yet: a lease that is kept ready; numbered by the engine */
};

static inline lease_holder lease_holder_of(enum holder_kind kind, uint64_t number)
{
	return (uint64_t)kind << 56 | number;
}

static inline enum holder_kind lease_holder_kind(lease_holder holder)
{
	return (enum holder_kind)(holder >> 56);
}

static inline lease_holder lease_holder_user(uid_t uid)
{
	return lease_holder_of(HOLDER_USERS, (uint64_t)uid + 1);
}

/* Which leases are interchangeable: leases of one slot serve the same readers. */
struct lease_slot {
	const char *project, *config, *secret;
	int64_t ttl_ms; /* what was asked for, or the secret's own */
	lease_holder holder;
};

/* One version of an active lease: immutable, reference-counted, for any thread. A renewal publishes
 * another version with the same id. */
struct lease {
	uint64_t generation; /* never used twice in the life of the engine; a renewal has a new one
			      */
	char id[LEASE_ID_MAX];
	struct lease_slot slot; /* its strings belong to the lease */
	const char *integration;
	const char *user, *arn, *policy_name, *access_key_id;
	struct secret
		*secret_access_key;   /* NULL for one adopted from the journal: its secret died with
					 the daemon that made it, so it is never handed out */
	int64_t start_ms, expires_ms; /* AWS's calendar; what the reader is told */
	int64_t start_at;
	int64_t rotate_at; /* boottime: from here on less than min_validity is left, and other
			      readers get another lease */
	int64_t expire_at; /* boottime: it is dead */
	uint64_t fingerprint;
	bool renewed; /* it takes the place of another version */
};

/* An older version of a lease that a newer one took the place of: that generation, that end. */
struct lease *lease_version(const struct lease *lease, uint64_t generation, int64_t expires_ms);

/* Do they mean the same slot? And its hash, for a table of slots. */
bool lease_slot_same(const struct lease_slot *a, const struct lease_slot *b);
struct table;
uint64_t lease_slot_hash(const struct table *table, const struct lease_slot *slot);

struct lease *lease_ref(const struct lease *lease);
struct lease *lease_unref(const struct lease *lease); /* NULL-safe; returns NULL */

/* One caller's reads of one config within this time come from one lease, also when it is to be
 * rotated meanwhile. */
#define LEASE_STICKY_MS       10000
#define LEASE_STICKY_GRACE_MS 60000

/* A lease that is kept ready (`warm`) is replaced so long before its rotate_at, or in the last
 * quarter of the time until then where that is less. */
#define WARM_LEAD_MS 30000

/* Which of a slot's live leases a reader gets: the newest that has min_validity left; or the one
 * that this caller read within the last LEASE_STICKY_MS
 * (`last`, read at `last_at`; NULL for a caller without history), as long as the grace after its
 * rotate_at allows: the window is whole for the grace's first sixth, then shrinks to nothing at its
 * end (so that a poller cannot hold a lease for ever, and is moved between two of its reads, not
 * within a pair). The grace is LEASE_STICKY_GRACE_MS or half of what is left at rotate_at,
 * whichever is less. Pure. NULL: a lease must be acquired. *ret_until (may be NULL): until when the
 * answer is the same for every caller, for the kernel's entry cache; `now_at` when it is not. */
const struct lease *lease_choose(const struct lease *const *leases, size_t n,
				 const struct lease *last, int64_t last_at, int64_t now_at,
				 int64_t *ret_until);

struct engine;

/* What happens to leases, for whoever publishes or records it (the filesystem, the audit log).
 * Called on the engine's thread. */
enum lease_event {
	LEASE_ACTIVE, /* ready: readers may have it; also each renewed version, which takes the
			 place of the older one */
	LEASE_ENDED,  /* it must not be read any more: expired, revoked or failed; its user is being
			 removed */
	LEASE_GONE,   /* its user is gone from IAM */
};

struct lease_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;        /* 0: not visible from here */
	const char *name; /* that the API knows it by: "token:…". NULL: none */
	struct who *who;  /* as it was while it waited; NULL: it was not looked at. A reference
			     where it is kept, else borrowed */
};

struct engine_observer {
	/* A lease is about to be made, or its user is given another name: nothing is in AWS yet.
	 * On failure none is made, and whoever waits for it is given the error. */
	int (*intended)(void *arg, const struct journal_record *record, struct dsec_error *err);
	void (*lease)(void *arg, enum lease_event event, const struct lease *lease,
		      const char *reason);
	/* An acquire that failed, with who asked. Where its holder is held back
	 * (max_rate_per_holder): the first, and then with each doubling of their number, until it
	 * has a lease made again. */
	void (*failed)(void *arg, const struct lease_slot *slot, const struct lease_caller *caller,
		       const struct dsec_error *err);
	/* A reader was given a lease that had to be made for it (or that it waited for). */
	void (*handed_out)(void *arg, const struct lease *lease, const struct lease_caller *caller);
	/* A reader was given a lease that was there. */
	void (*reused)(void *arg, const struct lease *lease, const struct lease_caller *caller);
	/* A call of a user's removal has failed; it is tried again. Told the first time and with
	 * each doubling of the number of failures. */
	void (*revocation_failed)(void *arg, const struct journal_record *record,
				  const struct dsec_error *err);
	/* The lease is soon to be rotated, and may yet be renewed: who knows that somebody holds
	 * it calls engine_renew(). Asked again until it is renewed or nearly over. */
	void (*due)(void *arg, const struct lease *lease);
	/* Who reads it again is given another lease from here on: less than min_validity is left
	 * and it is not renewed, or it was revoked, or its configuration has changed. Once for each
	 * lease, by each process. Not where its holder or the daemon ends. */
	void (*rotated)(void *arg, const struct lease *lease, const char *reason);
	/* Adds metrics that are not the engine's, in Prometheus' text format. */
	void (*metrics)(void *arg, FILE *to);
	/* For the operator: one printable sentence. Priorities as in syslog(3). */
	void (*log)(void *arg, int priority, const char *message);
	void *arg;
};

struct engine_env {
	const struct clock *clock;
	struct journal *journal;
	/* The provider of an integration; it outlives the engine. Asked once for each integration
	 * of each catalog. */
	struct provider *(*provider)(void *arg, const struct integration *integration);
	void *provider_arg;
	struct engine_observer observer; /* unset functions are not called */
	uint64_t last_generation; /* every lease's is greater: what an earlier process on the same
				     mount has published */
	unsigned leases_max;      /* whose secrets the memory has room for; 0: any number */
	const char *daemon_id;    /* 16 lower-case hexadecimal digits: this machine and this state
				     folder (identity.h) */
};

int engine_new(struct engine **ret, const struct engine_env *env, struct catalog *catalog,
	       struct dsec_error *err);
struct engine *
engine_free(struct engine *engine); /* NULL-safe; forgets everything, revokes nothing */

/* What the journal held, before engine_start: each record once. */
void engine_recall(struct engine *engine, const struct journal_record *record);

/* What an earlier process on the same mount knew of a lease and this one has from it. */
struct engine_kept {
	uint64_t generation;
	struct secret *secret_access_key;
	lease_holder holder;
	int64_t start_at, rotate_at, expire_at, expires_ms;
};

/* The same of a lease whose secret is here: it is active, as it was. Takes a reference to the
 * secret. */
void engine_recall_kept(struct engine *engine, const struct journal_record *record,
			const struct engine_kept *kept);

/* Begins: settles the differences between journal, IAM and configuration in the background.
 * `rebuild`: the journal was lost. */
void engine_start(struct engine *engine, bool rebuild);

/* Does what is due and returns the boottime at which it wants to be called again (DSEC_NEVER: only
 * after the next event). Called after every event too (an answer of a provider or of the journal, a
 * call of a function below): each may have brought that time forward. */
int64_t engine_tick(struct engine *engine);

/* Acquiring. */

#define ENGINE_WAITERS_MAX                                                                         \
	10000 /* readers that may wait at once; one more is refused with DSEC_ERROR_THROTTLED */

struct acquire {
	const char *project, *config;
	uint64_t secrets; /* which of the config's dynamic secrets, by index: bit i is
			     config->dynamics[i] */
	int64_t ttl_ms; /* 0: each secret's own. Above a secret's max_ttl: DSEC_ERROR_NOT_CONFIGURED
			 */
	/* Who asks, by the scope of each secret; that of SCOPE_SHARED is 0. Leases that nobody else
	 * is ever to be given, whatever the scope: all are one HOLDER_OPEN or HOLDER_CLIENT. */
	lease_holder holders[SCOPES];
	struct lease_caller caller;
	/* Whom a lease that has to be made is charged to (max_rate_per_holder): what outlives a
	 * holder that is made anew again and again, such as "app.service" or "uid:1000". NULL: the
	 * caller's user. */
	const char *payer;
};

/* The holder of leases that nobody else is ever to be given, or 0. */
static inline lease_holder acquire_exclusive(const struct acquire *request)
{
	return request->holders[SCOPE_SHARED];
}

/* leases: one for each bit set, in the order of the bits; borrowed for the time of the call. err is
 * NULL on success. */
typedef void engine_acquired(void *arg, const struct lease *const *leases, size_t n,
			     const struct dsec_error *err);

/* Gives each asked secret's current lease, or joins the one that is being made, or makes one: one
 * creation a slot, however many ask. Answers through `done`, at the latest at the catalog's
 * read_timeout; may answer before it returns, and then returns 0. Else returns a ticket for
 * engine_abandon. */
uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg);

/* A reader was refused these secrets before it came to ask for them: .status and the observer hear
 * of it. */
void engine_refused(struct engine *engine, const char *project, const char *config,
		    uint64_t secrets, const struct lease_caller *caller,
		    const struct dsec_error *err);

/* The reader was interrupted: `done` is not called. The lease goes on and is cached; one that
 * nobody else is to be given is given up or revoked. */
void engine_abandon(struct engine *engine, uint64_t ticket);

/* Ending and changing. */

/* The holder is no more, and its leases end with it, whatever state they are in. Not for
 * HOLDER_USERS, which do not end. Costs what its own leases do, however many there are of others.
 * An acquire for an exclusive holder that fails or is abandoned does this by itself. */
void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason);

int engine_revoke(struct engine *engine, const char *lease_id,
		  struct dsec_error *err); /* NOT_CONFIGURED: no such lease */
int engine_renew(struct engine *engine, const char *lease_id, int64_t ttl_ms,
		 struct dsec_error *err); /* from now; at most to last_end */
void engine_reload(struct engine *engine, struct catalog *catalog);

/* Refuses new leases from now on and revokes all: every key first, then the rest. engine_left()
 * falls to 0. */
void engine_revoke_all(struct engine *engine, const char *reason);

struct engine_left {
	size_t users; /* that may still exist; at least one as long as the journal is lost and
			 IAM has not been listed */
	size_t keys;  /* of those, users whose key may still exist */
	size_t lines; /* in the journal, also of users that are gone: a daemon that ends before they
			 are deleted leaves them to the next start */
	size_t total; /* how many there were when engine_revoke_all was called */
	int64_t estimate_ms; /* how long the rest takes at the present rate */
};
struct engine_left engine_left(const struct engine *engine);

/* Reports (report.c). Text for free(); never a secret in it; NULL when memory is short. */

char *engine_status_text(const struct engine *engine, const char *project, const char *config);
char *engine_leases_json(const struct engine *engine);
char *engine_metrics_text(const struct engine *engine);

/* So many reads were served from a lease without asking the engine. */
void engine_count_cached(struct engine *engine, uint64_t n);

/* What an operator can do about a failure, as the end of a sentence. */
const char *engine_advice(enum dsec_error_kind kind);

#endif
