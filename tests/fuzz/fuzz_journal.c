/*
 * fuzz_journal.c: any bytes as the journal that a crash, a disk or another hand has left. Opening
 * it ends, what is read of it is whole, and there is a journal afterwards.
 *
 * The first byte says where the rest goes: into journal.db, or into the write-ahead log beside a
 * sound one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease/identity.h"
#include "lease/journal_db.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static uint8_t *sound;
static size_t sound_size;

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static const char *file(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
	int fd = open(file(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static void remove_all(void)
{
	DIR *dir = opendir(folder);

	check(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (*entry->d_name != '.')
			unlink(file(entry->d_name));
	closedir(dir);
}

static void remove_folder(void)
{
	remove_all();
	rmdir(folder);
	free(sound);
}

/* An overlong text would be one without an end. */
static void check_text(const char *text, size_t size)
{
	char safe[1024];

	check(strnlen(text, size) < size);
	for (const char *at = text; *at; at++)
		check((unsigned char)*at >= ' ' && *at != 0x7f);
	dsec_print_safely(safe, sizeof(safe), text);
}

static void check_record(void *arg, const struct journal_record *record)
{
	char id[DAEMON_ID_MAX];
	int64_t end_ms;

	check(record->state >= JOURNAL_INTENDED && record->state < JOURNAL_GONE);
	check_text(record->lease_id, sizeof(record->lease_id));
	check_text(record->integration, sizeof(record->integration));
	check_text(record->project, sizeof(record->project));
	check_text(record->config, sizeof(record->config));
	check_text(record->secret, sizeof(record->secret));
	check_text(record->user, sizeof(record->user));
	check_text(record->path, sizeof(record->path));
	check_text(record->policy_name, sizeof(record->policy_name));
	check_text(record->arn, sizeof(record->arn));
	check_text(record->access_key_id, sizeof(record->access_key_id));
	check_text(record->reason, sizeof(record->reason));
	identity_parse_path(record->path, "/doppler/", id, &end_ms);
	identity_path_is_of(record->path, "0123456789abcdef");
	++*(size_t *)arg;
}

static const struct journal_record another = {
	.lease_id = "6a4b0a5e-0000-4000-8000-000000000001",
	.state = JOURNAL_CREATED,
	.integration = "aws-main",
	.project = "app",
	.config = "dev",
	.secret = "AWS",
	.user = "doppler-abcdefghijkl",
	.path = "/doppler/0123456789abcdef/20220215T170454Z/",
	.ttl_ms = 1800000,
};

static size_t count(struct journal_db *db)
{
	size_t n = 0;

	check(journal_db_read(db, check_record, &n, NULL) == 0);
	return n;
}

static struct journal_db *open_journal(enum journal_opened *ret_opened)
{
	struct journal_db *db = NULL;
	struct dsec_error err;

	return journal_db_open(&db, folder, ret_opened, &err) < 0 ? NULL : db;
}

/* A removal that is not committed is none. */
static void take_back(struct journal_db *db)
{
	struct journal_record gone = another;
	size_t before = count(db);

	gone.state = JOURNAL_GONE;
	check(journal_db_begin(db, NULL) == 0);
	journal_db_put(db, &gone, NULL);
	journal_db_rollback(db);
	check(count(db) == before);
}

/* What was opened is a journal: it keeps one more record over a restart. */
static void use(struct journal_db *db)
{
	enum journal_opened opened;
	size_t before = count(db);

	if (journal_db_begin(db, NULL) == 0 && journal_db_put(db, &another, NULL) == 0 &&
	    journal_db_commit(db, NULL) == 0) {
		check(count(db) - before <= 1);
		journal_db_close(db);
		db = open_journal(&opened);
		check(db && opened == JOURNAL_FOUND);
		check(count(db) >= 1);
		take_back(db);
	}
	journal_db_close(db);
}

static void read_sound(void)
{
	enum journal_opened opened;
	struct journal_db *db = open_journal(&opened);

	check(db && opened == JOURNAL_NEW);
	use(db);
	int fd = open(file("journal.db"), O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);
	check(size > 0);
	sound_size = (size_t)size;
	sound = malloc(sound_size);
	check(sound && pread(fd, sound, sound_size, 0) == (ssize_t)sound_size);
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* In memory where that can be: each input is synced to what it lies on. */
	snprintf(folder, sizeof(folder), "%s/dsec-fuzz-journal-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	check(mkdtemp(folder) != NULL);
	atexit(remove_folder);
	read_sound();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum journal_opened opened;
	struct journal_db *db = NULL;
	size_t n = 0;

	remove_all();
	if (size > 0 && data[0] % 2 == 1) {
		write_file("journal.db", sound, sound_size);
		write_file("journal.db-wal", data + 1, size - 1);
	} else {
		write_file("journal.db", data + (size > 0), size - (size > 0));
	}
	/* As `dsec leases` does, while nobody serves. */
	if (journal_db_open_reader(&db, folder, NULL) == 0)
		journal_db_read(db, check_record, &n, NULL);
	journal_db_close(db);
	db = open_journal(&opened);
	if (db)
		use(db);
	return 0;
}
