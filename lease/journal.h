/*
 * journal.h: what must not be forgotten: which IAM users are ours, from before the call that makes
 * them until after a look that says that they are gone. Never a secret.
 *
 * The engine writes through `struct journal`, an interface; journal_sqlite.c is the real one:
 * SQLite (WAL, synchronous=FULL) on a thread of its own, which groups the writes that have gathered
 * into one commit.
 */
#ifndef DSEC_LEASE_JOURNAL_H
#define DSEC_LEASE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/error.h"

#define LEASE_ID_MAX       37 /* a UUID and its end */
#define IAM_USER_NAME_MAX  65
#define IAM_PATH_MAX       513
#define JOURNAL_REASON_MAX 129

enum journal_state {
	JOURNAL_INTENDED, /* the name is chosen; the user may or may not exist */
	JOURNAL_CREATED,  /* the user exists */
	JOURNAL_ACTIVE,   /* its key was handed out, or is ready to be */
	JOURNAL_REVOKING, /* it is to be removed, for as long as it takes */
	JOURNAL_GONE,     /* a look said that the user is not there; the row is deleted */
};
const char *journal_state_name(enum journal_state state);

/* One lease. Fixed sizes: a record is copied whole into the journal's queue. */
struct journal_record {
	char lease_id[LEASE_ID_MAX];
	enum journal_state state;
	char integration[129], project[129], config[129], secret[129];
	char user[IAM_USER_NAME_MAX];
	char path[IAM_PATH_MAX];
	char policy_name[129];
	char arn[600];                   /* "" until known */
	char access_key_id[129];         /* "" until known; an id, not a secret */
	char reason[JOURNAL_REASON_MAX]; /* REVOKING: why ("expired", "unmount", "failed: …") */
	uint64_t fingerprint;            /* of the dynamic secret it was made under */
	int64_t ttl_ms;
	int64_t start_ms;    /* AWS's calendar */
	int64_t expires_ms;  /* the current end */
	int64_t last_end_ms; /* the end in the path: expires_ms can be renewed up to here */
	int64_t may_echo;    /* 1: a CreateUser of this name got no answer, and may be carried out
			      * even after the user was removed; 0: none */
};

/* err is NULL when the record is durable. Called from the journal's dispatch on the engine's
 * thread, in the order of the writes. */
typedef void journal_done(void *arg, const struct dsec_error *err);

struct journal;
struct journal_ops {
	/* Makes the record durable: inserts or replaces by lease_id, deletes on JOURNAL_GONE.
	 * `done` may be NULL. Fails through `done`: DSEC_ERROR_NO_SPACE when the disk is full or
	 * read-only. */
	void (*write)(struct journal *journal, const struct journal_record *record,
		      journal_done *done, void *arg);
};
struct journal {
	const struct journal_ops *ops;
};

/* The real journal. */
struct journal_sqlite;

enum journal_opened {
	JOURNAL_FOUND,
	JOURNAL_NEW,     /* there was none */
	JOURNAL_DAMAGED, /* the old one was set aside as FILE.damaged-TIME, and an empty one stands
			    in its place: rebuild it from IAM */
};

typedef void journal_each(void *arg, const struct journal_record *record);

/* Opens or makes FOLDER/journal.db, reads every record into `each`, and starts the thread. */
int journal_sqlite_open(struct journal_sqlite **ret, const char *folder, journal_each *each,
			void *arg, enum journal_opened *ret_opened, struct dsec_error *err);
struct journal *journal_sqlite_journal(struct journal_sqlite *journal);

/* After JOURNAL_DAMAGED, for the operator: what was wrong with the old one and what it is called
 * now. Else "". */
const char *journal_sqlite_damage(const struct journal_sqlite *journal);

/* Becomes readable when answers wait; journal_sqlite_dispatch delivers them. `done` may write, but
 * not close. */
int journal_sqlite_fd(const struct journal_sqlite *journal);
void journal_sqlite_dispatch(struct journal_sqlite *journal);

/* Writes what is queued, stops the thread, closes. Undelivered answers are dropped. NULL-safe. */
struct journal_sqlite *journal_sqlite_close(struct journal_sqlite *journal);

/* Reads the journal of another process without changing it (dsec unmount, dsec leases): each record
 * to `each`. 0, -ENOENT when there is none, or another negative errno. */
int journal_sqlite_read(const char *folder, journal_each *each, void *arg, struct dsec_error *err);

#endif
