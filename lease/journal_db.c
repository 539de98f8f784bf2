#include "lease/journal_db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/clock.h"
#include "lease/state_folder.h"

#define JOURNAL_FILE "journal.db"

#define CACHE_KIB_TEXT "256"

/* PRAGMA user_version. Raised when the table changes; a file with a higher one is left alone. */
#define SCHEMA_VERSION      2
#define SCHEMA_VERSION_TEXT "2"

/* Another process that reads holds nobody up, but for moments: when it is the first to open the
 * journal of a dead daemon. */
#define BUSY_TIMEOUT_MS 5000

struct journal_db {
	char file[PATH_MAX];
	bool is_reader;
	sqlite3 *db;
	int64_t version; /* of the table; a reader cannot raise it */
	sqlite3_stmt *insert, *delete;
	char damage[DSEC_ERROR_MESSAGE_MAX + 64];
};

/* In the order of the table's columns: state, then these texts, then these numbers. */
#define COLUMNS_1                                                                                  \
	"state, lease_id, integration, project, config, secret, user, path, policy_name, arn, "    \
	"access_key_id, reason, fingerprint, ttl_ms, start_ms, expires_ms, last_end_ms"
#define COLUMNS COLUMNS_1 ", may_echo"

struct field {
	size_t offset, size;
};
#define FIELD(name)                                                                                \
	{                                                                                          \
		offsetof(struct journal_record, name),                                             \
			sizeof(((struct journal_record *)NULL)->name)                              \
	}
static const struct field texts[] = {
	FIELD(lease_id), FIELD(integration),   FIELD(project), FIELD(config),
	FIELD(secret),   FIELD(user),          FIELD(path),    FIELD(policy_name),
	FIELD(arn),      FIELD(access_key_id), FIELD(reason),
};
static const struct field numbers[] = {
	FIELD(fingerprint), FIELD(ttl_ms),      FIELD(start_ms),
	FIELD(expires_ms),  FIELD(last_end_ms), FIELD(may_echo),
};
#define N_TEXTS   (sizeof(texts) / sizeof(texts[0]))
#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static const char schema[] = "BEGIN IMMEDIATE;"
			     "CREATE TABLE lease ("
			     "state TEXT NOT NULL,"
			     "lease_id TEXT PRIMARY KEY,"
			     "integration TEXT NOT NULL,"
			     "project TEXT NOT NULL,"
			     "config TEXT NOT NULL,"
			     "secret TEXT NOT NULL,"
			     "user TEXT NOT NULL,"
			     "path TEXT NOT NULL,"
			     "policy_name TEXT NOT NULL,"
			     "arn TEXT NOT NULL,"
			     "access_key_id TEXT NOT NULL,"
			     "reason TEXT NOT NULL,"
			     "fingerprint INTEGER NOT NULL," /* the 64 bits, whatever their sign */
			     "ttl_ms INTEGER NOT NULL,"
			     "start_ms INTEGER NOT NULL,"
			     "expires_ms INTEGER NOT NULL,"
			     "last_end_ms INTEGER NOT NULL,"
			     "may_echo INTEGER NOT NULL"
			     ") STRICT, WITHOUT ROWID;"
			     "PRAGMA user_version = " SCHEMA_VERSION_TEXT ";"
			     "COMMIT;";

/* Of what version 1 has not told, the worse is taken to be true. */
static const char upgrade[] = "BEGIN IMMEDIATE;"
			      "ALTER TABLE lease ADD COLUMN may_echo INTEGER NOT NULL DEFAULT 1;"
			      "PRAGMA user_version = " SCHEMA_VERSION_TEXT ";"
			      "COMMIT;";

static const char *const state_names[] = {
	[JOURNAL_INTENDED] = "intended", [JOURNAL_CREATED] = "created", [JOURNAL_ACTIVE] = "active",
	[JOURNAL_REVOKING] = "revoking", [JOURNAL_GONE] = "gone",
};

const char *journal_state_name(enum journal_state state)
{
	return state_names[state];
}

static void finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}
#define _cleanup_stmt_ __attribute__((cleanup(finalizep)))

static int damaged(const struct journal_db *db, const char *how, struct dsec_error *err)
{
	dsec_error_set(err, DSEC_ERROR_FAULT, "%s is damaged: %s", db->file, how);
	return -EUCLEAN;
}

/* The errno behind SQLite's last error, or 0. The connection does not know what failed in a commit;
 * the log itself does. */
static int system_errno(const struct journal_db *db)
{
	sqlite3_file *log = NULL;
	int error = sqlite3_system_errno(db->db);

	if (error == 0 &&
	    sqlite3_file_control(db->db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
	    log && log->pMethods)
		log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
	return error;
}

/* What SQLite's last error means for us. */
static int failed(const struct journal_db *db, struct dsec_error *err)
{
	int code = sqlite3_errcode(db->db) & 0xff;
	const char *text = sqlite3_errmsg(db->db);

	/* The other codes leave an older errno standing. */
	if ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && system_errno(db) != 0)
		text = strerror(system_errno(db));
	switch (code) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our SQL is right: the tables are not ours */
		return damaged(db, text, err);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_FULL:
	case SQLITE_READONLY:
		if (db->is_reader)
			return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s: %s", db->file,
					      text);
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s: %s", db->file,
				      text);
	case SQLITE_BUSY:
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "%s is locked by another process for longer than %d s",
				      db->file, BUSY_TIMEOUT_MS / 1000);
	default:
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", db->file, text);
	}
}

static int execute(struct journal_db *db, const char *sql, struct dsec_error *err)
{
	return sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(db, err);
}

static int prepare(struct journal_db *db, const char *sql, sqlite3_stmt **ret,
		   struct dsec_error *err)
{
	return sqlite3_prepare_v2(db->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : failed(db, err);
}

/* The statement at the one row that it answers. */
static int query_row(struct journal_db *db, const char *sql, sqlite3_stmt **ret,
		     struct dsec_error *err)
{
	int r = prepare(db, sql, ret, err);

	if (r == 0 && sqlite3_step(*ret) != SQLITE_ROW)
		r = failed(db, err);
	return r;
}

/* The first column of that row. */
static int query_number(struct journal_db *db, const char *sql, int64_t *ret,
			struct dsec_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;

	int r = query_row(db, sql, &stmt, err);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

static int query_text(struct journal_db *db, const char *sql, char *to, size_t size,
		      struct dsec_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;

	int r = query_row(db, sql, &stmt, err);
	if (r < 0)
		return r;
	const char *text = (const char *)sqlite3_column_text(stmt, 0);
	snprintf(to, size, "%s", text ? text : "");
	return 0;
}

/* No text of ours has one, and all of them are printed. */
static bool has_control_character(const unsigned char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] == 0x7f)
			return true;
	return false;
}

/* A row is read whole or not at all: what has another type or does not fit was not written by us.
 */
static bool read_row(sqlite3_stmt *stmt, struct journal_record *record)
{
	int column = 0, state = JOURNAL_INTENDED;

	memset(record, 0, sizeof(*record));
	const char *name = (const char *)sqlite3_column_text(stmt, column++);
	while (state < JOURNAL_GONE && (!name || strcmp(name, state_names[state]) != 0))
		state++;
	if (state == JOURNAL_GONE)
		return false;
	record->state = (enum journal_state)state;

	for (size_t i = 0; i < N_TEXTS; i++, column++) {
		const unsigned char *text = sqlite3_column_text(stmt, column);
		size_t n = (size_t)sqlite3_column_bytes(stmt, column);
		if (!text || n >= texts[i].size || has_control_character(text, n))
			return false;
		memcpy((char *)record + texts[i].offset, text, n);
	}
	for (size_t i = 0; i < N_NUMBERS; i++, column++) {
		int64_t number = sqlite3_column_int64(stmt, column);
		if (sqlite3_column_type(stmt, column) != SQLITE_INTEGER)
			return false;
		memcpy((char *)record + numbers[i].offset, &number, sizeof(number));
	}
	return record->lease_id[0] != '\0';
}

static void ignore_record(void *arg, const struct journal_record *record)
{
}

int journal_db_read(struct journal_db *db, journal_each *each, void *arg, struct dsec_error *err)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct journal_record record;
	int step;

	int r = prepare(db,
			db->version < 2 ? "SELECT " COLUMNS_1 ", 1 FROM lease"
					: "SELECT " COLUMNS " FROM lease",
			&stmt, err);
	if (r < 0)
		return r;
	while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (!read_row(stmt, &record))
			return damaged(db, "a lease in it cannot be read", err);
		each(arg, &record);
	}
	return step == SQLITE_DONE ? 0 : failed(db, err);
}

/* 0: an empty file. */
static int read_version(struct journal_db *db, int64_t *ret_version, struct dsec_error *err)
{
	int64_t version = 0, tables = 0;

	int r = query_number(db, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = query_number(db, "SELECT count(*) FROM sqlite_master", &tables, err);
	if (r < 0)
		return r;
	if (version > SCHEMA_VERSION)
		return dsec_error_set(
			err, DSEC_ERROR_INVALID,
			"%s was written by a newer dsec (version %lld of the journal; "
			"this one knows %d): use that one",
			db->file, (long long)version, SCHEMA_VERSION);
	if (version < 0 || (version == 0) != (tables == 0))
		return damaged(db, "it is not a journal of dsec", err);
	*ret_version = db->version = version;
	return 0;
}

static int check_health(struct journal_db *db, struct dsec_error *err)
{
	char answer[128];

	int r = query_text(db, "PRAGMA integrity_check(1)", answer, sizeof(answer), err);
	if (r < 0)
		return r;
	return strcmp(answer, "ok") == 0 ? 0 : damaged(db, answer, err);
}

static int make_durable(struct journal_db *db, struct dsec_error *err)
{
	char mode[16];

	int r = query_text(db, "PRAGMA journal_mode=WAL", mode, sizeof(mode), err);
	if (r < 0)
		return r;
	if (strcmp(mode, "wal") != 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "%s lies on a file system that cannot hold it: SQLite needs "
				      "shared memory there for its write-ahead log",
				      db->file);
	/* Every write is of one row, anywhere in the tree: to keep more of it than the way there
	 * gains nothing. */
	r = execute(db, "PRAGMA cache_size=-" CACHE_KIB_TEXT, err);
	if (r < 0)
		return r;
	/* WAL alone would sync at checkpoints only. */
	return execute(db, "PRAGMA synchronous=FULL", err);
}

static int connect_to(struct journal_db *db, int flags, struct dsec_error *err)
{
	int code = sqlite3_open_v2(db->file, &db->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (!db->db)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: out of memory", db->file);
	if (code != SQLITE_OK)
		return failed(db, err);
	sqlite3_busy_timeout(db->db, BUSY_TIMEOUT_MS);
	return 0;
}

static void disconnect(struct journal_db *db)
{
	sqlite3_finalize(db->insert);
	sqlite3_finalize(db->delete);
	int code = sqlite3_close(db->db);
	assert(code == SQLITE_OK);
	db->insert = db->delete = NULL;
	db->db = NULL;
}

/* SQLite would make the file readable for all; its -wal and -shm take over what this one has. */
static int make_file(struct journal_db *db, struct dsec_error *err)
{
	int fd = open(db->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0600) < 0) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot open %s for writing: %s",
				      db->file, strerror(error));
	}
	close(fd);
	return 0;
}

static int connect_writer(struct journal_db *db, enum journal_opened *ret_opened,
			  struct dsec_error *err)
{
	int64_t version = 0;

	int r = make_file(db, err);
	if (r == 0)
		r = connect_to(db, SQLITE_OPEN_READWRITE, err);
	if (r == 0)
		r = check_health(db, err);
	if (r == 0)
		r = read_version(db, &version, err);
	if (r == 0)
		r = make_durable(db, err);
	if (r == 0 && version < SCHEMA_VERSION)
		r = execute(db, version == 0 ? schema : upgrade, err);
	if (r == 0)
		db->version = SCHEMA_VERSION;
	if (r == 0)
		r = prepare(db,
			    "INSERT OR REPLACE INTO lease (" COLUMNS ") "
			    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			    &db->insert, err);
	if (r == 0)
		r = prepare(db, "DELETE FROM lease WHERE lease_id = ?", &db->delete, err);
	/* Every row is read before the first is believed: a damaged journal is rebuilt whole. */
	if (r == 0)
		r = journal_db_read(db, ignore_record, NULL, err);
	if (r == 0)
		*ret_opened = version == 0 ? JOURNAL_NEW : JOURNAL_FOUND;
	return r;
}

/* The write-ahead log goes first: were it left beside a new database, it would be taken for its
 * own. */
static int set_aside(struct journal_db *db, const struct dsec_error *why, struct dsec_error *err)
{
	static const char *const suffixes[] = {"-wal", "-shm", ""};
	char time[CLOCK_COMPACT_MAX];

	/* As it is: a checkpoint would write into what is to be looked at. */
	sqlite3_db_config(db->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	disconnect(db);

	clock_compact(time, system_clock.calendar_ms(&system_clock));
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char from[PATH_MAX + 8], to[PATH_MAX + 64];
		snprintf(from, sizeof(from), "%s%s", db->file, suffixes[i]);
		snprintf(to, sizeof(to), "%s.damaged-%s%s", db->file, time, suffixes[i]);
		if (rename(from, to) < 0 && errno != ENOENT)
			return dsec_error_set(err, DSEC_ERROR_NO_SPACE,
					      "%s is damaged, but cannot be renamed to %s: %s",
					      from, to, strerror(errno));
	}
	snprintf(db->damage, sizeof(db->damage), "%s; it is now " JOURNAL_FILE ".damaged-%s",
		 why->message, time);
	return 0;
}

static int journal_db_new(struct journal_db **ret, const char *folder, struct dsec_error *err)
{
	struct journal_db *db = calloc(1, sizeof(*db));
	if (!db) {
		dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
		return -ENOMEM;
	}
	if (snprintf(db->file, sizeof(db->file), "%s/" JOURNAL_FILE, folder) >=
	    (int)sizeof(db->file)) {
		free(db);
		dsec_error_set(err, DSEC_ERROR_INVALID, "%s: the name is too long", folder);
		return -ENAMETOOLONG;
	}
	*ret = db;
	return 0;
}

int journal_db_open(struct journal_db **ret, const char *folder, enum journal_opened *ret_opened,
		    struct dsec_error *err)
{
	struct journal_db *db;
	enum journal_opened opened = JOURNAL_NEW;

	int fd = state_folder_open(folder, err);
	if (fd < 0)
		return fd;
	int r = journal_db_new(&db, folder, err);
	if (r < 0) {
		close(fd);
		return r;
	}

	struct dsec_error why;
	r = connect_writer(db, &opened, &why);
	if (r == -EUCLEAN) {
		r = set_aside(db, &why, err);
		if (r == 0)
			r = connect_writer(db, &opened, err);
		opened = JOURNAL_DAMAGED;
	} else if (r < 0 && err) {
		*err = why;
	}
	/* The names of the file and its log: SQLite syncs what is in them. */
	if (r == 0)
		r = state_folder_sync(fd, folder, err);
	close(fd);
	if (r < 0) {
		journal_db_close(db);
		return r;
	}
	*ret = db;
	*ret_opened = opened;
	return 0;
}

const char *journal_db_damage(const struct journal_db *db)
{
	return db->damage;
}

int journal_db_open_reader(struct journal_db **ret, const char *folder, struct dsec_error *err)
{
	struct journal_db *db;
	int64_t version = 0;

	int r = journal_db_new(&db, folder, err);
	if (r < 0)
		return r;
	if (access(db->file, F_OK) < 0 && errno == ENOENT) {
		r = dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "there is no %s", db->file);
	} else {
		/* A read-only connection still makes -shm where it is missing, without which the
		 * log that a dead daemon has left could not be read. */
		db->is_reader = true;
		r = connect_to(db, SQLITE_OPEN_READONLY, err);
		if (r == 0)
			r = read_version(db, &version, err);
		if (r == 0 && version == 0)
			r = dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED, "%s is still empty",
					   db->file);
	}
	if (r < 0) {
		journal_db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

struct journal_db *journal_db_close(struct journal_db *db)
{
	if (db) {
		disconnect(db);
		free(db);
	}
	return NULL;
}

int journal_db_begin(struct journal_db *db, struct dsec_error *err)
{
	return execute(db, "BEGIN IMMEDIATE", err);
}

int journal_db_commit(struct journal_db *db, struct dsec_error *err)
{
	return execute(db, "COMMIT", err);
}

void journal_db_rollback(struct journal_db *db)
{
	/* A full disk has SQLite roll back by itself. */
	if (!sqlite3_get_autocommit(db->db))
		sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
}

static int bind_record(sqlite3_stmt *stmt, const struct journal_record *record)
{
	int column = 1;

	int code = sqlite3_bind_text(stmt, column++, state_names[record->state], -1, SQLITE_STATIC);
	for (size_t i = 0; i < N_TEXTS && code == SQLITE_OK; i++)
		code = sqlite3_bind_text(stmt, column++, (const char *)record + texts[i].offset, -1,
					 SQLITE_STATIC);
	for (size_t i = 0; i < N_NUMBERS && code == SQLITE_OK; i++) {
		int64_t number;
		memcpy(&number, (const char *)record + numbers[i].offset, sizeof(number));
		code = sqlite3_bind_int64(stmt, column++, number);
	}
	return code;
}

int journal_db_put(struct journal_db *db, const struct journal_record *record,
		   struct dsec_error *err)
{
	bool gone = record->state == JOURNAL_GONE;
	sqlite3_stmt *stmt = gone ? db->delete : db->insert;

	int code = gone ? sqlite3_bind_text(stmt, 1, record->lease_id, -1, SQLITE_STATIC)
			: bind_record(stmt, record);
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	int r = code == SQLITE_DONE ? 0 : failed(db, err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt); /* they point into the record */
	return r;
}
