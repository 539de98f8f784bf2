/*
 * journal_db.h: the journal's table in SQLite, without threads: what journal_sqlite.c runs on the
 * journal's own. One thread at a time may use a journal_db.
 *
 * A function that finds the database damaged returns -EUCLEAN.
 */
#ifndef DSEC_LEASE_JOURNAL_DB_H
#define DSEC_LEASE_JOURNAL_DB_H

#include "lease/error.h"
#include "lease/journal.h"

struct journal_db;

/* Opens FOLDER/journal.db for writing and makes what is missing. A damaged one is set aside, with
 * all of its files, and a new one stands in its place. */
int journal_db_open(struct journal_db **ret, const char *folder, enum journal_opened *ret_opened,
		    struct dsec_error *err);

/* After JOURNAL_DAMAGED: what was wrong, and what the old file is called now. Else "". */
const char *journal_db_damage(const struct journal_db *db);

/* Opens the journal of another process, dead or alive. -ENOENT when there is none. */
int journal_db_open_reader(struct journal_db **ret, const char *folder, struct dsec_error *err);

struct journal_db *journal_db_close(struct journal_db *db); /* NULL-safe; returns NULL */

/* Gives each record to `each`, all from one moment. */
int journal_db_read(struct journal_db *db, journal_each *each, void *arg, struct dsec_error *err);

/* A transaction. Nothing of it is there before commit has returned 0, and all of it is on the disk
 * then. After any failure: rollback. */
int journal_db_begin(struct journal_db *db, struct dsec_error *err);
int journal_db_put(struct journal_db *db, const struct journal_record *record,
		   struct dsec_error *err);
int journal_db_commit(struct journal_db *db, struct dsec_error *err);
void journal_db_rollback(struct journal_db *db);

#endif
