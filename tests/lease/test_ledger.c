/*
 * The bytes of live leases go from one process to the next: all of them, and no others.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lease/lease_private.h"
#include "lease/ledger.h"
#include "lease/secret_arena.h"

#define ARENA_SIZE (256ul * 1024)
#define LEASES     40
#define DEATHS     40

struct memory {
	int secret_fd, ledger_fd;
	struct ledger_memory *records;
	struct ledger *ledger;
};

static void map(struct memory *memory)
{
	struct dsec_error err;

	memory->records = mmap(NULL, sizeof(*memory->records), PROT_READ | PROT_WRITE, MAP_SHARED,
			       memory->ledger_fd, 0);
	assert_true(memory->records != MAP_FAILED);
	assert_int_equal(secret_arena_init_shared(memory->secret_fd, ARENA_SIZE, &err), 0);
	memory->ledger = ledger_open(memory->records);
}

/* As a process that ends: nothing is wiped. */
static void unmap(struct memory *memory)
{
	ledger_close(memory->ledger);
	munmap(memory->records, sizeof(*memory->records));
	secret_arena_leave();
}

static int begin(void **state)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	memory->secret_fd = secret_memory_create();
	memory->ledger_fd = memfd_create("ledger", MFD_CLOEXEC);
	assert_true(memory->secret_fd >= 0 && memory->ledger_fd >= 0);
	assert_int_equal(ftruncate(memory->ledger_fd, (off_t)sizeof(struct ledger_memory)), 0);
	*state = memory;
	return 0;
}

static int end(void **state)
{
	struct memory *memory = *state;

	close(memory->secret_fd);
	close(memory->ledger_fd);
	free(memory);
	return 0;
}

static void id_of(char to[LEASE_ID_MAX], unsigned number)
{
	snprintf(to, LEASE_ID_MAX, "00000000-0000-4000-8000-%012u", number);
}

static void secret_of(char to[41], unsigned number)
{
	snprintf(to, 41, "secret of lease number %017u", number);
}

static struct lease *lease_of(unsigned number, uint64_t generation)
{
	struct lease lease = {
		.generation = generation,
		.slot = {.project = "", .config = "", .secret = ""},
		.integration = "",
		.user = "",
		.arn = "",
		.policy_name = "",
		.access_key_id = "",
		.start_at = number,
		.expire_at = (int64_t)generation,
		.expires_ms = (int64_t)generation,
	};
	char text[41];

	id_of(lease.id, number);
	secret_of(text, number);
	assert_int_equal(secret_new(&lease.secret_access_key, text, 40, NULL), 0);
	struct lease *made = lease_new(&lease);
	secret_unref(lease.secret_access_key);
	return made;
}

static bool has(const struct memory *memory, unsigned number, struct engine_kept *ret)
{
	char id[LEASE_ID_MAX], text[41], found[41] = "";

	id_of(id, number);
	if (!ledger_find(memory->ledger, id, ret))
		return false;
	secret_of(text, number);
	assert_int_equal(secret_copy(ret->secret_access_key, 0, found, 40), 40);
	assert_string_equal(found, text);
	assert_int_equal(ret->start_at, number);
	assert_int_equal(ret->expire_at, ret->generation);
	assert_int_equal(ret->expires_ms, ret->generation);
	return true;
}

typedef void life(struct memory *memory);

/* A process that begins, does this, and dies. */
static void in_a_process(struct memory *memory, life *does)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		map(memory);
		does(memory);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* What a process has when it dies. It lets none of it go, since that would wipe it. */
static struct {
	const struct lease *leases[2];
	size_t n;
	struct secret *secret;
} held;

static void enter(struct memory *memory, const struct lease *lease)
{
	held.leases[held.n++] = lease;
	if (!ledger_enter(memory->ledger, lease))
		_exit(1);
}

static void enter_two(struct memory *memory)
{
	enter(memory, lease_of(1, 10));
	enter(memory, lease_of(2, 11));
}

static void enter_two_and_end_one(struct memory *memory)
{
	char id[LEASE_ID_MAX];

	enter_two(memory);
	id_of(id, 1);
	ledger_leave(memory->ledger, id);
}

static void enter_and_renew(struct memory *memory)
{
	struct lease *lease = lease_of(1, 10), *renewed = lease_version(lease, 20, 20);

	renewed->expire_at = 20;
	enter(memory, lease);
	enter(memory, renewed);
}

static void enter_beside_a_static_secret(struct memory *memory)
{
	if (secret_new(&held.secret, "a static secret", 15, NULL) < 0)
		_exit(1);
	enter(memory, lease_of(1, 10));
}

static void live_leases_are_found_by_the_next(void **state)
{
	struct memory *memory = *state;
	struct engine_kept kept;

	in_a_process(memory, enter_two_and_end_one);
	map(memory);
	assert_false(has(memory, 1, &kept));
	assert_true(has(memory, 2, &kept));
	assert_int_equal(kept.generation, 11);
	assert_int_equal(ledger_last_generation(memory->ledger), 11);
	unmap(memory);
}

static void renewed_lease_is_found_in_its_newest_version_alone(void **state)
{
	struct memory *memory = *state;
	struct engine_kept kept;

	in_a_process(memory, enter_and_renew);
	map(memory);
	assert_true(has(memory, 1, &kept));
	assert_int_equal(kept.generation, 20);
	unmap(memory);
}

static void bytes_that_are_not_right_are_not_handed_out(void **state)
{
	struct memory *memory = *state;
	struct engine_kept kept;

	in_a_process(memory, enter_two);
	struct ledger_memory *records = mmap(NULL, sizeof(*records), PROT_READ | PROT_WRITE,
					     MAP_SHARED, memory->ledger_fd, 0);
	records->records[0].place += 16; /* now it is another's, or nobody's */
	records->records[1].n -= 1;
	munmap(records, sizeof(*records));

	map(memory);
	assert_false(has(memory, 1, &kept));
	assert_false(has(memory, 2, &kept));
	assert_int_equal(secret_arena_used(), 0);
	assert_false(secret_arena_contains("secret of lease", strlen("secret of lease")));
	unmap(memory);
}

static void bytes_that_nobody_claims_are_wiped(void **state)
{
	struct memory *memory = *state;
	struct engine_kept kept;

	in_a_process(memory, enter_beside_a_static_secret);
	map(memory);
	assert_false(secret_arena_contains("a static secret", 15));
	assert_true(has(memory, 1, &kept));
	unmap(memory);
}

static void lease_that_nobody_asks_for_is_wiped(void **state)
{
	struct memory *memory = *state;
	struct engine_kept kept;

	in_a_process(memory, enter_beside_a_static_secret);
	map(memory);
	ledger_settle(memory->ledger);
	assert_false(secret_arena_contains("secret of lease", strlen("secret of lease")));
	unmap(memory);
	map(memory);
	assert_false(has(memory, 1, &kept));
	unmap(memory);
}

/* Makes, renews and ends leases for ever, as the engine does: the ledger first. Tells when it is in
 * the middle of that. */
static void live(struct memory *memory, int at_work, unsigned seed)
{
	struct lease *leases[LEASES] = {0};
	struct engine_kept kept;

	map(memory);
	uint64_t generation = ledger_last_generation(memory->ledger);
	for (unsigned i = 0; i < LEASES; i++)
		if (has(memory, i, &kept)) {
			leases[i] = lease_of(i, kept.generation);
			secret_unref(leases[i]->secret_access_key);
			leases[i]->secret_access_key = secret_ref(kept.secret_access_key);
		}
	ledger_settle(memory->ledger);
	for (unsigned n = 0;; n++) {
		unsigned i = (unsigned)rand_r(&seed) % LEASES;

		generation++;
		if (!leases[i]) {
			leases[i] = lease_of(i, generation);
			ledger_enter(memory->ledger, leases[i]);
		} else if (rand_r(&seed) % 2) {
			struct lease *old = leases[i];
			leases[i] = lease_version(old, generation, (int64_t)generation);
			leases[i]->expire_at = (int64_t)generation;
			ledger_enter(memory->ledger, leases[i]);
			lease_unref(old);
		} else {
			ledger_leave(memory->ledger, leases[i]->id);
			leases[i] = lease_unref(leases[i]);
		}
		if (n == LEASES)
			assert_int_equal(write(at_work, "", 1), 1);
	}
}

static pid_t start_life(struct memory *memory, unsigned seed, int *ret_at_work)
{
	int at_work[2];

	assert_int_equal(pipe2(at_work, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0)
		live(memory, at_work[1], seed);
	close(at_work[1]);
	*ret_at_work = at_work[0];
	return child;
}

static void wait_for_work(int at_work)
{
	char byte;

	assert_int_equal(read(at_work, &byte, 1), 1);
}

static void no_lease_has_anothers_bytes_whenever_its_process_is_killed(void **state)
{
	struct memory *memory = *state;
	unsigned seed = 1;
	size_t found = 0;

	for (unsigned i = 0; i < DEATHS; i++) {
		const struct timespec pause = {.tv_nsec = (long)(rand_r(&seed) % 3000000)};
		struct engine_kept kept;
		int at_work;
		pid_t child = start_life(memory, i + 1, &at_work);

		if (i % 2) /* the others may die while they begin */
			wait_for_work(at_work);
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(at_work);
		map(memory);
		for (unsigned j = 0; j < LEASES; j++)
			found += has(memory, j, &kept); /* which compares the bytes */
		unmap(memory);
	}
	assert_true(found > DEATHS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(live_leases_are_found_by_the_next),
		TEST(renewed_lease_is_found_in_its_newest_version_alone),
		TEST(bytes_that_are_not_right_are_not_handed_out),
		TEST(bytes_that_nobody_claims_are_wiped),
		TEST(lease_that_nobody_asks_for_is_wiped),
		TEST(no_lease_has_anothers_bytes_whenever_its_process_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
