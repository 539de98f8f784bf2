/*
 * What a process leaves in the shared memory is, after SIGKILL at any instruction, what it was or
 * what it is: never half.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/handles.h"
#include "fs/records.h"
#include "fs/shared.h"
#include "tests/lib/cmocka_skip.h"

#define NODES    64
#define DEATHS   60
#define BINDINGS 5 /* enough for more than one cell */

static struct shared *map(int fd)
{
	struct shared *shared;
	struct dsec_error err;

	assert_int_equal(shared_map(&shared, fd, &err), 0);
	return shared;
}

/* All of a record's members say the same number, so that a mixture of two is seen. */
static record_at write_one(struct records *records, record_at old, uint64_t node, uint64_t number)
{
	struct record_binding bindings[BINDINGS];
	char name[64];
	struct record record = {
		.kind = (uint32_t)number,
		.entry_ino = number,
		.folder = number,
		.size = number,
		.content = number,
		.n_bindings = (uint32_t)(number % (BINDINGS + 1)),
	};

	for (size_t i = 0; i < record.n_bindings; i++) {
		bindings[i] = (struct record_binding){.generation = number};
		snprintf(bindings[i].lease_id, sizeof(bindings[i].lease_id), "%036llu",
			 (unsigned long long)number);
	}
	snprintf(name, sizeof(name), "name-%llu", (unsigned long long)number);
	record.name_n = (uint32_t)strlen(name);
	return records_write(records, old, node, &record, bindings, name, NULL);
}

struct seen {
	record_at at[NODES + 1];
	uint64_t number[NODES + 1];
	uint64_t last, n;
};

static void check_one(void *arg, const struct record_found *found)
{
	struct seen *seen = arg;
	const struct record *record = &found->record;
	char name[64];

	assert_true(found->node > seen->last && found->node <= NODES); /* each once */
	seen->last = found->node;
	seen->at[found->node] = found->at;
	seen->number[found->node] = record->size;
	seen->n++;
	assert_int_equal(record->kind, (uint32_t)record->size);
	assert_int_equal(record->entry_ino, record->size);
	assert_int_equal(record->folder, record->size);
	assert_int_equal(record->content, record->size);
	assert_int_equal(record->n_bindings, record->size % (BINDINGS + 1));
	for (size_t i = 0; i < record->n_bindings; i++)
		assert_int_equal(found->bindings[i].generation, record->size);
	snprintf(name, sizeof(name), "name-%llu", (unsigned long long)record->size);
	assert_string_equal(found->name, name);
}

/* Writes and erases for ever, and tells when it is in the middle of that. */
static void work(int fd, int at_work, unsigned seed)
{
	struct shared *shared = map(fd);
	struct records records;
	struct seen seen = {0};

	records_begin(&records, shared, check_one, &seen);
	for (uint64_t number = seed * UINT64_C(1000000), n = 0;; number++, n++) {
		uint64_t node = 1 + (uint64_t)rand_r(&seed) % NODES;

		if (seen.at[node] && rand_r(&seed) % 3 == 0) {
			records_erase(&records, seen.at[node]);
			seen.at[node] = 0;
		} else {
			seen.at[node] = write_one(&records, seen.at[node], node, number);
		}
		if (n == NODES)
			assert_int_equal(write(at_work, "", 1), 1);
	}
}

static pid_t start_work(int fd, unsigned seed, int *ret_at_work)
{
	int at_work[2];

	assert_int_equal(pipe2(at_work, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0)
		work(fd, at_work[1], seed);
	close(at_work[1]);
	*ret_at_work = at_work[0];
	return child;
}

static void wait_for_work(int at_work)
{
	char byte;

	assert_int_equal(read(at_work, &byte, 1), 1);
}

static void kill_somewhere(pid_t child, unsigned *seed)
{
	const struct timespec pause = {.tv_nsec = (long)(rand_r(seed) % 2000000)};
	int status;

	nanosleep(&pause, NULL);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void record_is_never_half_whenever_its_writer_is_killed(void **state)
{
	int fd = shared_create();
	unsigned seed = 1;
	uint64_t found = 0;

	assert_true(fd >= 0);
	shared_unmap(map(fd));
	for (unsigned i = 0; i < DEATHS; i++) {
		int at_work;
		pid_t child = start_work(fd, i + 1, &at_work);
		if (i % 2) /* the others may die while they begin */
			wait_for_work(at_work);
		kill_somewhere(child, &seed);
		close(at_work);

		struct shared *shared = map(fd);
		struct records records;
		struct seen seen = {0};
		records_begin(&records, shared, check_one, &seen);
		found += seen.n;
		/* No cell is lost: what no record has is free. */
		assert_true(atomic_load(&shared->cells_used) <= 4 * NODES);
		records_finish(&records);
		shared_unmap(shared);
	}
	assert_true(found > DEATHS);
	close(fd);
}

/* The same with a microscope: the writer is stopped after each instruction, and what it has left is
 * looked at as the next process would. */

#define STEPS_MAX 2000000
#define KEPT      1 /* a node that is written anew */
#define LEFT      2 /* one that is erased */
#define ADDED     3

static void write_some(int fd)
{
	struct shared *shared = map(fd);
	struct records records;
	struct seen seen = {0};

	records_begin(&records, shared, check_one, &seen);
	raise(SIGSTOP);
	seen.at[KEPT] = write_one(&records, seen.at[KEPT], KEPT, 11);
	records_erase(&records, seen.at[LEFT]);
	seen.at[ADDED] = write_one(&records, 0, ADDED, 16);
	seen.at[KEPT] = write_one(&records, seen.at[KEPT], KEPT, 17);
	raise(SIGSTOP);
}

/* A copy of what is there now, which is thrown away. */
static void look(int fd)
{
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	struct records records;
	struct seen seen = {0};

	assert_true(shared != MAP_FAILED);
	records_begin(&records, shared, check_one, &seen);
	for (uint64_t node = 1; node <= NODES; node++) {
		uint64_t number = seen.number[node];

		if (node == KEPT)
			assert_true(number == 5 || number == 11 || number == 17);
		else
			assert_true(number == 0 || (node == LEFT && number == 10) ||
				    (node == ADDED && number == 16));
	}
	records_finish(&records);
	munmap(shared, sizeof(*shared));
}

static bool is_stopped(pid_t child, int signal)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	return WSTOPSIG(status) == signal;
}

static void record_is_never_half_after_any_instruction(void **state)
{
	if (under_valgrind())
		skip_because("the single steps would be valgrind's own");
	int fd = shared_create();
	struct shared *shared = map(fd);
	struct records records;
	struct seen seen = {0};
	unsigned steps = 0;

	records_begin(&records, shared, check_one, &seen);
	write_one(&records, 0, KEPT, 5);
	write_one(&records, 0, LEFT, 10);
	records_finish(&records);
	shared_unmap(shared);

	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		write_some(fd);
		_exit(0);
	}
	assert_true(is_stopped(child, SIGSTOP));
	while (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && is_stopped(child, SIGTRAP)) {
		look(fd);
		assert_true(++steps < STEPS_MAX);
	}
	assert_true(steps > 100);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(fd);
}

static void ignore(void *arg, uint64_t node)
{
	(*(unsigned *)arg)++;
}

static void release_that_is_handled_twice_closes_nothing_else(void **state)
{
	struct shared *shared;
	struct handles handles;
	unsigned n = 0;
	bool known = false;

	assert_int_equal(shared_map_private(&shared, NULL), 0);
	handles_begin(&handles, shared, ignore, &n);

	uint64_t first = handles_open(&handles, 7, 100, &known);
	assert_true(handles_release(&handles, first));
	uint64_t second = handles_open(&handles, 8, 102, &known);
	assert_int_not_equal(first, second);
	assert_false(handles_release(&handles, first));
	assert_true(handles_release(&handles, second));
	handles_finish(&handles);
	shared_unmap(shared);
}

static void open_that_is_handled_twice_is_one_open_file(void **state)
{
	struct shared *shared;
	struct handles handles;
	unsigned n = 0;
	bool known = false;

	assert_int_equal(shared_map_private(&shared, NULL), 0);
	handles_begin(&handles, shared, ignore, &n);
	uint64_t first = handles_open(&handles, 7, 100, &known);
	handles_finish(&handles);

	handles_begin(&handles, shared, ignore, &n);
	assert_int_equal(n, 1);
	known = true;
	assert_int_equal(handles_open(&handles, 7, 100, &known), first);
	assert_true(known);
	known = true;
	assert_int_not_equal(handles_open(&handles, 7, 102, &known), first);
	assert_false(known);
	handles_finish(&handles);
	shared_unmap(shared);
}

static void memory_of_another_layout_is_refused(void **state)
{
	int fd = shared_create();
	struct shared *shared = map(fd);
	struct dsec_error err;

	shared->layout = SHARED_LAYOUT + 1;
	shared_unmap(shared);
	assert_true(shared_map(&shared, fd, &err) < 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_true(shared_map(&shared, fd, &err) < 0); /* and no SIGBUS */
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_is_never_half_whenever_its_writer_is_killed),
		cmocka_unit_test(record_is_never_half_after_any_instruction),
		cmocka_unit_test(release_that_is_handled_twice_closes_nothing_else),
		cmocka_unit_test(open_that_is_handled_twice_is_one_open_file),
		cmocka_unit_test(memory_of_another_layout_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
