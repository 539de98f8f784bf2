#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "lease/journal.h"
#include "tests/lib/cmocka_skip.h"

#define ANSWER_DEADLINE_MS 20000

/* A folder of its own for each test, and what a journal in it said. */

struct fixture {
	char folder[64], file[96];
	struct journal_sqlite *journal;
	enum journal_opened opened;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	/* In memory where that can be: thousands of syncs are made, and none is cut off. */
	snprintf(fixture->folder, sizeof(fixture->folder), "/dev/shm/dsec-test-journal-XXXXXX");
	if (!mkdtemp(fixture->folder)) {
		snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/dsec-test-journal-XXXXXX");
		if (!mkdtemp(fixture->folder))
			return -1;
	}
	snprintf(fixture->file, sizeof(fixture->file), "%s/journal.db", fixture->folder);
	*state = fixture;
	return 0;
}

static void empty_folder(const char *folder)
{
	DIR *dir = opendir(folder);

	if (!dir)
		return;
	for (const struct dirent *entry; (entry = readdir(dir));)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	fault_vfs_disarm();
	journal_sqlite_close(fixture->journal);
	umount2(fixture->folder, MNT_DETACH); /* only the tests of a full disk mount there */
	empty_folder(fixture->folder);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

/* What a journal holds, or should: at most N_LEASES leases, lease i under the id that lease_id
 * says. */
enum { N_LEASES = 4 };

struct contents {
	struct journal_record records[N_LEASES];
	bool present[N_LEASES];
	size_t n_others;
};

static void make_record(struct journal_record *record, int lease, enum journal_state state)
{
	*record = (struct journal_record){
		.state = state,
		.integration = "aws-main",
		.project = "app",
		.config = "dev",
		.secret = "AWS_USER",
		.path = "/doppler/0123456789abcdef/20220215T170454Z/",
		.fingerprint = UINT64_MAX - (uint64_t)lease,
		.ttl_ms = 1800000,
		.start_ms = INT64_C(1644944694782) + lease,
		.expires_ms = INT64_C(1644946494782) + lease,
		.last_end_ms = INT64_C(1644987894782),
	};
	snprintf(record->lease_id, sizeof(record->lease_id), "lease-%d", lease);
	snprintf(record->user, sizeof(record->user), "Doppler-Dynamic-%013d", lease);
}

/* -1 for an id that make_record does not give. */
static int lease_of(const struct journal_record *record)
{
	static const char front[] = "lease-";
	char *end;

	if (strncmp(record->lease_id, front, strlen(front)) != 0)
		return -1;
	long lease = strtol(record->lease_id + strlen(front), &end, 10);
	return *end || lease < 0 || lease >= N_LEASES ? -1 : (int)lease;
}

static void collect(void *arg, const struct journal_record *record)
{
	struct contents *contents = arg;
	int lease = lease_of(record);

	if (lease < 0 || contents->present[lease]) {
		contents->n_others++;
		return;
	}
	contents->present[lease] = true;
	contents->records[lease] = *record;
}

static void apply(struct contents *contents, const struct journal_record *record)
{
	int lease = lease_of(record);

	assert_true(lease >= 0);
	contents->present[lease] = record->state != JOURNAL_GONE;
	contents->records[lease] = *record;
}

static bool same_record(const struct journal_record *a, const struct journal_record *b)
{
	return strcmp(a->lease_id, b->lease_id) == 0 && a->state == b->state &&
	       strcmp(a->integration, b->integration) == 0 && strcmp(a->project, b->project) == 0 &&
	       strcmp(a->config, b->config) == 0 && strcmp(a->secret, b->secret) == 0 &&
	       strcmp(a->user, b->user) == 0 && strcmp(a->path, b->path) == 0 &&
	       strcmp(a->policy_name, b->policy_name) == 0 && strcmp(a->arn, b->arn) == 0 &&
	       strcmp(a->access_key_id, b->access_key_id) == 0 &&
	       strcmp(a->reason, b->reason) == 0 && a->fingerprint == b->fingerprint &&
	       a->ttl_ms == b->ttl_ms && a->start_ms == b->start_ms &&
	       a->expires_ms == b->expires_ms && a->last_end_ms == b->last_end_ms;
}

static bool same_contents(const struct contents *one, const struct contents *two)
{
	bool same = one->n_others == two->n_others;

	for (int i = 0; i < N_LEASES; i++)
		same = same && one->present[i] == two->present[i] &&
		       (!one->present[i] || same_record(&one->records[i], &two->records[i]));
	return same;
}

static void open_journal(struct fixture *fixture, struct contents *contents)
{
	struct dsec_error err;

	memset(contents, 0, sizeof(*contents));
	if (journal_sqlite_open(&fixture->journal, fixture->folder, collect, contents,
				&fixture->opened, &err) < 0)
		fail_msg("%s", err.message);
}

static void close_journal(struct fixture *fixture)
{
	fixture->journal = journal_sqlite_close(fixture->journal);
}

/* One write and its answer. */
struct answer {
	bool is_there, is_failed;
	struct dsec_error err;
};

static void keep_answer(void *arg, const struct dsec_error *err)
{
	struct answer *answer = arg;

	assert_false(answer->is_there);
	answer->is_there = true;
	answer->is_failed = err != NULL;
	if (err)
		answer->err = *err;
}

static void await_and_dispatch(struct journal_sqlite *journal)
{
	struct pollfd poll_fd = {.fd = journal_sqlite_fd(journal), .events = POLLIN};

	assert_int_equal(poll(&poll_fd, 1, ANSWER_DEADLINE_MS), 1);
	journal_sqlite_dispatch(journal);
}

static struct answer write_record(struct journal_sqlite *journal,
				  const struct journal_record *record)
{
	struct journal *base = journal_sqlite_journal(journal);
	struct answer answer = {0};

	base->ops->write(base, record, keep_answer, &answer);
	assert_false(answer.is_there); /* never from within write */
	while (!answer.is_there)
		await_and_dispatch(journal);
	return answer;
}

static void must_write(struct journal_sqlite *journal, const struct journal_record *record)
{
	struct answer answer = write_record(journal, record);

	if (answer.is_failed)
		fail_msg("%s", answer.err.message);
}

static void must_write_state(struct fixture *fixture, int lease, enum journal_state state)
{
	struct journal_record record;

	make_record(&record, lease, state);
	must_write(fixture->journal, &record);
}

/* Contents. */

static void every_member_of_a_record_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct journal_record record;
	struct contents contents, wanted = {0};

	make_record(&record, 0, JOURNAL_REVOKING);
	/* As long as they can be, and what would end an SQL text or a careless column. */
	memset(record.integration, 'i', sizeof(record.integration) - 1);
	memset(record.project, 'p', sizeof(record.project) - 1);
	memset(record.config, 'c', sizeof(record.config) - 1);
	memset(record.secret, 's', sizeof(record.secret) - 1);
	memset(record.user, 'u', sizeof(record.user) - 1);
	memset(record.path, '/', sizeof(record.path) - 1);
	memset(record.policy_name, '\'', sizeof(record.policy_name) - 1);
	memset(record.arn, 'a', sizeof(record.arn) - 1);
	memset(record.access_key_id, '0', sizeof(record.access_key_id) - 1);
	snprintf(record.reason, sizeof(record.reason), "%s",
		 "failed: \"'; DROP TABLE lease; -- \303\274 \377");
	record.fingerprint = UINT64_MAX;
	record.ttl_ms = 0;
	record.start_ms = -1;
	record.expires_ms = INT64_MIN;
	record.last_end_ms = INT64_MAX;
	record.may_echo = 1;
	apply(&wanted, &record);

	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_NEW);
	must_write(fixture->journal, &record);
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_true(same_contents(&contents, &wanted));
}

static void each_state_is_told_apart(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;

	open_journal(fixture, &contents);
	for (int i = 0; i < N_LEASES; i++)
		must_write_state(fixture, i, (enum journal_state)i);
	close_journal(fixture);
	open_journal(fixture, &contents);
	for (int i = 0; i < N_LEASES; i++) {
		assert_true(contents.present[i]);
		assert_int_equal(contents.records[i].state, i);
	}
	assert_string_equal(journal_state_name(JOURNAL_INTENDED), "intended");
	assert_string_equal(journal_state_name(JOURNAL_GONE), "gone");
}

static void gone_lease_is_forgotten_and_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;

	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	must_write_state(fixture, 1, JOURNAL_ACTIVE);
	must_write_state(fixture, 0, JOURNAL_GONE);
	must_write_state(fixture, 2, JOURNAL_GONE); /* never was there */
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_false(contents.present[0]);
	assert_true(contents.present[1]);
	assert_false(contents.present[2]);
}

struct order {
	int next;
	bool in_order;
};

struct numbered {
	struct order *order;
	int number;
};

static void note_order(void *arg, const struct dsec_error *err)
{
	struct numbered *numbered = arg;

	numbered->order->in_order &= !err && numbered->order->next == numbered->number;
	numbered->order->next++;
}

static void answers_come_in_the_order_of_the_writes(void **state)
{
	enum { N_WRITES = 2000 };
	static struct numbered numbered[N_WRITES];
	struct fixture *fixture = *state;
	struct order order = {.in_order = true};
	struct contents contents, wanted = {0};
	struct journal_record record;

	open_journal(fixture, &contents);
	struct journal *base = journal_sqlite_journal(fixture->journal);
	for (int i = 0; i < N_WRITES; i++) {
		numbered[i] = (struct numbered){&order, i};
		make_record(&record, i * 7 % N_LEASES, (enum journal_state)(i * 3 % 5));
		record.ttl_ms = i;
		apply(&wanted, &record);
		base->ops->write(base, &record, note_order, &numbered[i]);
	}
	while (order.next < N_WRITES)
		await_and_dispatch(fixture->journal);
	assert_true(order.in_order);
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_true(same_contents(&contents, &wanted));
}

/* Every write that waits goes into one commit: 2,000 of them cost two syncs or so, and not 2,000.
 */
static void waiting_writes_share_a_commit(void **state)
{
	enum { N_WRITES = 2000 };
	struct fixture *fixture = *state;
	struct contents contents;
	struct journal_record record;
	struct answer last = {0};

	fault_vfs_register();
	open_journal(fixture, &contents);
	struct journal *base = journal_sqlite_journal(fixture->journal);
	fault_vfs_arm(0, SQLITE_OK);
	for (int i = 0; i < N_WRITES; i++) {
		make_record(&record, i % N_LEASES, JOURNAL_ACTIVE);
		base->ops->write(base, &record, i == N_WRITES - 1 ? keep_answer : NULL, &last);
	}
	while (!last.is_there)
		await_and_dispatch(fixture->journal);
	assert_false(last.is_failed);
	/* A commit is a sync and at least two writes. */
	assert_true(fault_vfs_disarm() < N_WRITES);
}

static void close_writes_what_is_queued(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, wanted = {0};
	struct journal_record record;

	open_journal(fixture, &contents);
	struct journal *base = journal_sqlite_journal(fixture->journal);
	for (int i = 0; i < 100; i++) {
		make_record(&record, i % N_LEASES, JOURNAL_CREATED);
		record.ttl_ms = i;
		apply(&wanted, &record);
		base->ops->write(base, &record, NULL, NULL);
	}
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_true(same_contents(&contents, &wanted));
}

static void nobody_else_may_read_it(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	struct fixture *fixture = *state;
	struct contents contents;
	char file[128];
	struct stat st;

	mode_t before = umask(0);
	int fd = open(fixture->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* left by somebody */
	assert_true(fd >= 0);
	close(fd);
	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	umask(before);
	for (size_t i = 0; i < 3; i++) {
		snprintf(file, sizeof(file), "%s%s", fixture->file, suffixes[i]);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_int_equal(chmod(fixture->folder, 0755), 0);
	close_journal(fixture);
	struct dsec_error err;
	assert_int_equal(journal_sqlite_open(&fixture->journal, fixture->folder, collect, &contents,
					     &fixture->opened, &err),
			 -EACCES);
	assert_non_null(strstr(err.message, fixture->folder));
}

/* Another process: this program, started again with "read". */

static const char *program;

static int run_reader(const char *folder)
{
	struct contents contents = {0};
	struct dsec_error err;

	int r = journal_sqlite_read(folder, collect, &contents, &err);
	if (r < 0) {
		printf("%d %s", r, err.message);
		return 0;
	}
	for (int i = 0; i < N_LEASES; i++)
		if (contents.present[i])
			printf("%d=%s ", i, journal_state_name(contents.records[i].state));
	return 0;
}

/* What the reader says about the folder. */
static void read_elsewhere(const char *folder, char *to, size_t size)
{
	int pipe_fds[2], status;
	size_t n = 0;
	ssize_t got;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		execl(program, program, "read", folder, (char *)NULL);
		_exit(127);
	}
	close(pipe_fds[1]);
	while (n < size - 1 && (got = read(pipe_fds[0], to + n, size - 1 - n)) > 0)
		n += (size_t)got;
	to[n] = '\0';
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void live_journal_can_be_read_from_another_process(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	char text[1024];

	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_non_null(strstr(text, "-2 there is no "));

	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	must_write_state(fixture, 1, JOURNAL_REVOKING);
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_string_equal(text, "0=active 1=revoking ");

	/* And its writer does not mind. */
	must_write_state(fixture, 0, JOURNAL_GONE);
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_string_equal(text, "1=revoking ");
	close_journal(fixture);
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_string_equal(text, "1=revoking ");
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_true(contents.present[1]);
}

static void reader_is_told_of_damage(void **state)
{
	struct fixture *fixture = *state;
	char text[1024];
	FILE *file = fopen(fixture->file, "we");

	assert_non_null(file);
	fprintf(file, "%s", "This is not a database, and longer than the header of one.");
	for (int i = 0; i < 1000; i++)
		fputs("garbage", file);
	fclose(file);
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_non_null(strstr(text, fixture->file));
	assert_non_null(strstr(text, "is damaged"));
	assert_int_equal(access(fixture->file, F_OK), 0); /* it is left where it is */
}

/* Crashes. The steps of two leases' lives, of which each prefix leaves other contents. */

static const struct step {
	int lease;
	enum journal_state state;
} steps[] = {
	{0, JOURNAL_INTENDED}, {0, JOURNAL_CREATED},  {1, JOURNAL_INTENDED},
	{0, JOURNAL_ACTIVE},   {1, JOURNAL_CREATED},  {0, JOURNAL_REVOKING},
	{0, JOURNAL_GONE},     {1, JOURNAL_REVOKING}, {1, JOURNAL_GONE},
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void contents_after(struct contents *contents, size_t n_steps)
{
	struct journal_record record;

	memset(contents, 0, sizeof(*contents));
	for (size_t i = 0; i < n_steps; i++) {
		make_record(&record, steps[i].lease, steps[i].state);
		apply(contents, &record);
	}
}

/* Lives both lives, one step after the other, and says on fd when a step is durable. */
static void live_and_tell(struct fixture *fixture, int fd)
{
	struct contents contents;

	open_journal(fixture, &contents);
	for (size_t i = 0; i < N_STEPS; i++) {
		must_write_state(fixture, steps[i].lease, steps[i].state);
		if (write(fd, "x", 1) != 1)
			_exit(3);
	}
	close_journal(fixture);
}

/* Runs live_and_tell in a child that is killed in the nth operation. How many steps were durable?
 * -1: it was not killed. */
static int live_until_killed(struct fixture *fixture, int nth)
{
	int pipe_fds[2], status;
	char told[N_STEPS + 1];
	size_t n = 0;
	ssize_t got;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		fault_vfs_arm(nth, FAULT_KILL);
		live_and_tell(fixture, pipe_fds[1]);
		_exit(0);
	}
	close(pipe_fds[1]);
	while ((got = read(pipe_fds[0], told + n, sizeof(told) - n)) > 0)
		n += (size_t)got;
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 0);
		return -1;
	}
	assert_int_equal(WTERMSIG(status), SIGKILL);
	return (int)n;
}

/* In each, the half of a write may be on the disk. */
static void kill_at_any_write_forgets_nothing_that_was_answered(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, now, next;
	int n_told, n_kills = 0;

	fault_vfs_register();
	for (int nth = 1; (n_told = live_until_killed(fixture, nth)) >= 0; nth++) {
		n_kills++;
		open_journal(fixture, &contents);
		contents_after(&now, (size_t)n_told);
		contents_after(&next, (size_t)n_told + 1 > N_STEPS ? N_STEPS : (size_t)n_told + 1);
		if (fixture->opened == JOURNAL_DAMAGED)
			fail_msg("a kill in operation %d damages the journal", nth);
		if (!same_contents(&contents, &now) && !same_contents(&contents, &next))
			fail_msg("a kill in operation %d loses what was answered", nth);
		/* And it goes on from there. */
		must_write_state(fixture, 3, JOURNAL_ACTIVE);
		close_journal(fixture);
		empty_folder(fixture->folder);
	}
	/* A step is two writes and a sync at least. */
	assert_true(n_kills > 3 * (int)N_STEPS);
}

static void journal_of_a_killed_daemon_can_be_read(void **state)
{
	struct fixture *fixture = *state;
	char text[1024];
	int n_told;

	fault_vfs_register();
	for (int nth = 1; (n_told = live_until_killed(fixture, nth)) < 4; nth++) {
		assert_true(n_told >= 0);
		empty_folder(fixture->folder);
	}
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_string_equal(text, "0=active 1=intended ");
	/* A second time, with what the first may have made beside it; then by a new daemon. */
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_string_equal(text, "0=active 1=intended ");
	struct contents contents, wanted;
	open_journal(fixture, &contents);
	contents_after(&wanted, 4);
	assert_true(same_contents(&contents, &wanted));
}

/* Disks that fail. */

/* One fault from the nth operation on, ended after the first failed write, which is then done
 * again. How many writes failed? */
static int live_through_fault(struct fixture *fixture, int nth, int code)
{
	struct contents contents, wanted = {0};
	struct journal_record record;
	int n_failed = 0;

	open_journal(fixture, &contents);
	fault_vfs_arm(nth, code);
	for (size_t i = 0; i < N_STEPS; i++) {
		make_record(&record, steps[i].lease, steps[i].state);
		struct answer answer = write_record(fixture->journal, &record);
		if (answer.is_failed) {
			n_failed++;
			assert_int_equal(answer.err.kind, DSEC_ERROR_NO_SPACE);
			assert_non_null(strstr(answer.err.message, fixture->file));
			/* Once more while it lasts, then when it is over. */
			assert_true(write_record(fixture->journal, &record).is_failed);
			fault_vfs_disarm();
			must_write(fixture->journal, &record);
		}
		apply(&wanted, &record);
		contents_after(&contents, i + 1);
		assert_true(same_contents(&contents, &wanted));
	}
	fault_vfs_disarm();
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_true(same_contents(&contents, &wanted));
	close_journal(fixture);
	empty_folder(fixture->folder);
	return n_failed;
}

static void failed_write_is_told_and_the_next_one_tried(void **state)
{
	static const int codes[] = {SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR_WRITE,
				    SQLITE_IOERR_FSYNC};
	struct fixture *fixture = *state;

	fault_vfs_register();
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		int nth = 1;
		while (live_through_fault(fixture, nth, codes[i]) > 0)
			nth++;
		assert_true(nth > 2 * (int)N_STEPS);
	}
}

/* What failed must not be there after a restart, as if it had not: the memory of the engine and the
 * disk would differ. */
static void failed_group_leaves_nothing_behind(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, wanted;

	fault_vfs_register();
	for (int nth = 1; nth <= 3; nth++) {
		struct journal_record record;
		open_journal(fixture, &contents);
		must_write_state(fixture, 0, JOURNAL_ACTIVE);
		fault_vfs_arm(nth, SQLITE_FULL);
		make_record(&record, 1, JOURNAL_INTENDED);
		assert_true(write_record(fixture->journal, &record).is_failed);
		fault_vfs_disarm();
		must_write_state(fixture, 2, JOURNAL_ACTIVE);
		close_journal(fixture);
		open_journal(fixture, &contents);
		memset(&wanted, 0, sizeof(wanted));
		make_record(&record, 0, JOURNAL_ACTIVE);
		apply(&wanted, &record);
		make_record(&record, 2, JOURNAL_ACTIVE);
		apply(&wanted, &record);
		assert_true(same_contents(&contents, &wanted));
		close_journal(fixture);
		empty_folder(fixture->folder);
	}
}

/* A power cut takes what is not synced: no answer may come without one. */
static void record_is_not_durable_before_the_disk_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	struct journal_record record;

	fault_vfs_register();
	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	fault_vfs_arm_syncs(SQLITE_IOERR_FSYNC);
	for (int each = JOURNAL_INTENDED; each <= JOURNAL_GONE; each++) {
		make_record(&record, 0, (enum journal_state)each);
		assert_true(write_record(fixture->journal, &record).is_failed);
	}
	fault_vfs_disarm();
	must_write_state(fixture, 1, JOURNAL_INTENDED);
}

static void failing_open_is_told_and_harms_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	struct dsec_error err;
	int r, nth = 1;

	fault_vfs_register();
	do {
		fault_vfs_arm(nth++, SQLITE_FULL);
		r = journal_sqlite_open(&fixture->journal, fixture->folder, collect, &contents,
					&fixture->opened, &err);
		fault_vfs_disarm();
		if (r == 0) {
			close_journal(fixture);
			break;
		}
		fixture->journal = NULL;
		assert_int_equal(r, -ENOSPC);
		assert_int_equal(err.kind, DSEC_ERROR_NO_SPACE);
		assert_non_null(strstr(err.message, fixture->file));
		open_journal(fixture, &contents);
		assert_int_not_equal(fixture->opened, JOURNAL_DAMAGED);
		close_journal(fixture);
		empty_folder(fixture->folder);
	} while (nth < 100);
	assert_true(nth > 3 && nth < 100);
}

/* A real disk that is full or read-only: a tmpfs that nobody outside this process sees. */
static void mount_small_disk(struct fixture *fixture)
{
	static bool alone;

	if (geteuid() != 0)
		skip_because("only root can mount a small disk");
	if (!alone &&
	    (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0))
		skip_because("no mount namespace is to be had");
	alone = true;
	assert_int_equal(mount("none", fixture->folder, "tmpfs", 0, "size=512k,mode=0700"), 0);
}

static void full_disk_stops_new_leases_and_endangers_no_old_one(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, wanted = {0};
	struct journal_record record;
	char ballast[96];
	static const char zeroes[4096];

	mount_small_disk(fixture);
	open_journal(fixture, &contents);
	make_record(&record, 0, JOURNAL_ACTIVE);
	must_write(fixture->journal, &record);
	apply(&wanted, &record);
	snprintf(ballast, sizeof(ballast), "%s/ballast", fixture->folder);
	int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	close(fd);

	/* What is left of the log's last page may take a record or two. */
	struct answer answer = {0};
	for (int i = 0; i < 10 && !answer.is_failed; i++) {
		make_record(&record, 1, JOURNAL_INTENDED);
		record.ttl_ms = i;
		answer = write_record(fixture->journal, &record);
		if (!answer.is_failed)
			apply(&wanted, &record);
	}
	assert_true(answer.is_failed);
	assert_int_equal(answer.err.kind, DSEC_ERROR_NO_SPACE);
	assert_non_null(strstr(answer.err.message, fixture->file));
	assert_non_null(strstr(answer.err.message, "full"));
	char text[256];
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_memory_equal(text, "0=active ", 9);

	assert_int_equal(unlink(ballast), 0);
	make_record(&record, 2, JOURNAL_INTENDED);
	must_write(fixture->journal, &record);
	apply(&wanted, &record);
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_true(same_contents(&contents, &wanted));
}

static void read_only_disk_is_said(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	struct dsec_error err;

	mount_small_disk(fixture);
	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	close_journal(fixture);
	assert_int_equal(mount("none", fixture->folder, "none", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(journal_sqlite_open(&fixture->journal, fixture->folder, collect, &contents,
					     &fixture->opened, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.message, fixture->file));
	assert_non_null(strstr(err.message, "Read-only file system"));
	assert_int_equal(mount("none", fixture->folder, "none", MS_REMOUNT, NULL), 0);
	open_journal(fixture, &contents);
	assert_true(contents.present[0]);
}

/* A real write that the kernel refuses in the middle of the daemon's life. */
static void refused_write_is_told_with_its_cause(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	struct journal_record record;
	struct rlimit before;

	open_journal(fixture, &contents);
	must_write_state(fixture, 0, JOURNAL_ACTIVE);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	struct rlimit small = {.rlim_cur = 100, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	make_record(&record, 1, JOURNAL_INTENDED);
	struct answer answer = write_record(fixture->journal, &record);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, handler);
	assert_true(answer.is_failed);
	assert_int_equal(answer.err.kind, DSEC_ERROR_NO_SPACE);
	assert_non_null(strstr(answer.err.message, fixture->file));
	assert_non_null(strstr(answer.err.message, "File too large"));
	must_write(fixture->journal, &record);
}

/* Damage. */

static void sql(const struct fixture *fixture, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fixture->file, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* How many files of this folder have a name that begins with `start` and ends with `end`? */
static int count_files(const char *folder, const char *start, const char *end)
{
	DIR *dir = opendir(folder);
	int n = 0;

	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		size_t length = strlen(entry->d_name);
		n += strncmp(entry->d_name, start, strlen(start)) == 0 && length >= strlen(end) &&
		     strcmp(entry->d_name + length - strlen(end), end) == 0;
	}
	closedir(dir);
	return n;
}

static void make_journal(struct fixture *fixture, int n_leases)
{
	struct contents contents;

	open_journal(fixture, &contents);
	for (int i = 0; i < n_leases; i++)
		must_write_state(fixture, i, JOURNAL_ACTIVE);
	close_journal(fixture);
}

static void must_be_set_aside(struct fixture *fixture)
{
	struct contents contents, nothing = {0};
	char aside[256];

	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_DAMAGED);
	assert_true(same_contents(&contents, &nothing)); /* no row of it is believed */
	assert_int_equal(count_files(fixture->folder, "journal.db.damaged-", "Z"), 1);
	const char *damage = journal_sqlite_damage(fixture->journal);
	assert_non_null(strstr(damage, fixture->file));
	const char *name = strstr(damage, "journal.db.damaged-");
	assert_non_null(name);
	snprintf(aside, sizeof(aside), "%s/%s", fixture->folder, name);
	assert_int_equal(access(aside, F_OK), 0);
	must_write_state(fixture, 2, JOURNAL_ACTIVE);
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_string_equal(journal_sqlite_damage(fixture->journal), "");
	assert_true(contents.present[2]);
	assert_int_equal(contents.n_others, 0);
}

static void overwrite(const struct fixture *fixture, off_t at, size_t n)
{
	int fd = open(fixture->file, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pwrite(fd, "\xa5", 1, at + (off_t)i), 1);
	close(fd);
}

static void damaged_header_is_set_aside(void **state)
{
	make_journal(*state, 2);
	overwrite(*state, 0, 16);
	must_be_set_aside(*state);
}

static void damaged_page_is_set_aside(void **state)
{
	make_journal(*state, 2);
	overwrite(*state, 4096, 2048); /* the second page is the table's */
	must_be_set_aside(*state);
}

static void cut_file_is_set_aside(void **state)
{
	struct fixture *fixture = *state;

	make_journal(fixture, 2);
	assert_int_equal(truncate(fixture->file, 4096), 0);
	must_be_set_aside(fixture);
}

/* Every row of it can still be read, under a wrong name. */
static void damage_that_only_a_check_finds_is_set_aside(void **state)
{
	struct fixture *fixture = *state;
	static char bytes[1 << 16];

	make_journal(fixture, 3);
	int fd = open(fixture->file, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, bytes, sizeof(bytes));
	const char *id = n > 0 ? memmem(bytes, (size_t)n, "lease-1", 7) : NULL;
	assert_non_null(id);
	assert_int_equal(pwrite(fd, "z", 1, id - bytes), 1);
	close(fd);
	must_be_set_aside(fixture);
}

static void row_of_unknown_state_is_set_aside(void **state)
{
	make_journal(*state, 2);
	sql(*state, "UPDATE lease SET state = 'gone' WHERE lease_id = 'lease-1'");
	must_be_set_aside(*state);
}

static void overlong_row_is_set_aside(void **state)
{
	make_journal(*state, 2);
	sql(*state, "UPDATE lease SET user = printf('%065d', 0) WHERE lease_id = 'lease-1'");
	must_be_set_aside(*state);
}

static void row_with_a_hidden_end_is_set_aside(void **state)
{
	make_journal(*state, 2);
	sql(*state, "UPDATE lease SET user = 'a' || char(0) || 'b' WHERE lease_id = 'lease-1'");
	must_be_set_aside(*state);
}

/* It would act on the terminal of whoever lists the leases. */
static void row_with_a_control_character_is_set_aside(void **state)
{
	make_journal(*state, 2);
	sql(*state, "UPDATE lease SET user = 'a' || char(27) || '[2J' WHERE lease_id = 'lease-1'");
	must_be_set_aside(*state);
}

static void foreign_table_is_set_aside(void **state)
{
	make_journal(*state, 2);
	sql(*state, "ALTER TABLE lease RENAME COLUMN path TO track");
	must_be_set_aside(*state);
}

static void foreign_database_is_set_aside(void **state)
{
	sql(*state, "CREATE TABLE other (x); INSERT INTO other VALUES (1)");
	must_be_set_aside(*state);
}

/* The log of the old one must not be played into the new one, and is part of what is looked at. */
static void log_of_a_damaged_journal_goes_with_it(void **state)
{
	struct fixture *fixture = *state;
	int status;

	make_journal(fixture, 2);
	pid_t pid = fork();
	if (pid == 0) {
		sqlite3 *db;
		if (sqlite3_open(fixture->file, &db) == SQLITE_OK)
			sqlite3_exec(db, "UPDATE lease SET state = 'lost'", NULL, NULL, NULL);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(count_files(fixture->folder, "journal.db", "-wal"), 1);
	must_be_set_aside(fixture);
	assert_int_equal(count_files(fixture->folder, "journal.db.damaged-", "-wal"), 1);
}

static void refused_record_fails_its_group_and_no_later_one(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, wanted = {0};
	struct journal_record record;

	make_journal(fixture, 1);
	make_record(&record, 0, JOURNAL_ACTIVE);
	apply(&wanted, &record);
	sql(fixture, "CREATE TRIGGER refuse BEFORE INSERT ON lease WHEN new.lease_id = 'lease-1' "
		     "BEGIN SELECT RAISE(FAIL, 'refused by the test'); END");
	open_journal(fixture, &contents);
	make_record(&record, 1, JOURNAL_ACTIVE);
	struct answer answer = write_record(fixture->journal, &record);
	assert_true(answer.is_failed);
	assert_non_null(strstr(answer.err.message, "refused by the test"));
	make_record(&record, 2, JOURNAL_ACTIVE);
	must_write(fixture->journal, &record);
	apply(&wanted, &record);
	close_journal(fixture);
	open_journal(fixture, &contents);
	assert_true(same_contents(&contents, &wanted));
}

static void journal_of_a_newer_dsec_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents;
	struct dsec_error err;
	char text[1024];

	make_journal(fixture, 2);
	sql(fixture, "PRAGMA user_version = 3; ALTER TABLE lease ADD COLUMN more TEXT");
	assert_int_equal(journal_sqlite_open(&fixture->journal, fixture->folder, collect, &contents,
					     &fixture->opened, &err),
			 -EIO);
	assert_int_equal(err.kind, DSEC_ERROR_INVALID);
	assert_non_null(strstr(err.message, "newer dsec"));
	assert_int_equal(count_files(fixture->folder, "journal.db.damaged-", ""), 0);
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_non_null(strstr(text, "newer dsec"));
	sql(fixture, "PRAGMA user_version = 2");
	open_journal(fixture, &contents);
	assert_int_equal(fixture->opened, JOURNAL_FOUND);
	assert_true(contents.present[0] && contents.present[1]);
}

static void journal_of_an_older_dsec_loses_nothing_and_is_not_trusted_further(void **state)
{
	struct fixture *fixture = *state;
	struct contents contents, wanted = {0};
	char text[1024];

	make_journal(fixture, 2);
	sql(fixture, "ALTER TABLE lease DROP COLUMN may_echo; PRAGMA user_version = 1");
	read_elsewhere(fixture->folder, text, sizeof(text));
	assert_non_null(strstr(text, "1=active"));
	for (int i = 0; i < 2; i++) {
		struct journal_record record;

		make_record(&record, i, JOURNAL_ACTIVE);
		record.may_echo = 1;
		apply(&wanted, &record);
	}
	for (int i = 0; i < 2; i++) {
		open_journal(fixture, &contents);
		assert_int_equal(fixture->opened, JOURNAL_FOUND);
		assert_true(same_contents(&contents, &wanted));
		close_journal(fixture);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "read") == 0)
		return run_reader(argv[2]);
	program = argv[0];

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_member_of_a_record_comes_back),
		TEST(each_state_is_told_apart),
		TEST(gone_lease_is_forgotten_and_no_other),
		TEST(answers_come_in_the_order_of_the_writes),
		TEST(waiting_writes_share_a_commit),
		TEST(close_writes_what_is_queued),
		TEST(nobody_else_may_read_it),
		TEST(live_journal_can_be_read_from_another_process),
		TEST(reader_is_told_of_damage),
		TEST(kill_at_any_write_forgets_nothing_that_was_answered),
		TEST(journal_of_a_killed_daemon_can_be_read),
		TEST(failed_write_is_told_and_the_next_one_tried),
		TEST(failed_group_leaves_nothing_behind),
		TEST(record_is_not_durable_before_the_disk_says_so),
		TEST(failing_open_is_told_and_harms_nothing),
		TEST(full_disk_stops_new_leases_and_endangers_no_old_one),
		TEST(read_only_disk_is_said),
		TEST(refused_write_is_told_with_its_cause),
		TEST(damaged_header_is_set_aside),
		TEST(damaged_page_is_set_aside),
		TEST(cut_file_is_set_aside),
		TEST(damage_that_only_a_check_finds_is_set_aside),
		TEST(row_of_unknown_state_is_set_aside),
		TEST(overlong_row_is_set_aside),
		TEST(row_with_a_hidden_end_is_set_aside),
		TEST(row_with_a_control_character_is_set_aside),
		TEST(foreign_table_is_set_aside),
		TEST(foreign_database_is_set_aside),
		TEST(log_of_a_damaged_journal_goes_with_it),
		TEST(refused_record_fails_its_group_and_no_later_one),
		TEST(journal_of_a_newer_dsec_is_left_alone),
		TEST(journal_of_an_older_dsec_loses_nothing_and_is_not_trusted_further),
	};
	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
