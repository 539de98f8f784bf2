#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lease/secret.h"
#include "lease/secret_arena.h"
#include "tests/lib/cmocka_skip.h"

#define ARENA_SIZE ((size_t)1024 * 1024)

/* Each test runs on both kinds of memory. */
static int set_up(void **state)
{
	enum secret_arena_source source = *(enum secret_arena_source *)*state;

	return secret_arena_init_from(source, ARENA_SIZE, NULL);
}

static int tear_down(void **state)
{
	secret_arena_finish();
	return 0;
}

/* A value that stands nowhere else in this process: it is made from this test's name at run time.
 */
static void make_value(char *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245u + 12345u;
		to[i] = (char)('A' + (seed >> 16) % 26);
	}
}

static struct secret *must_make(const void *bytes, size_t n)
{
	struct secret *secret = NULL;
	struct dsec_error err;

	if (secret_new(&secret, bytes, n, &err) < 0)
		fail_msg("%s", err.message);
	return secret;
}

static void secret_comes_back_whole(void **state)
{
	char value[100], back[100];

	make_value(value, sizeof(value), 1);
	_cleanup_secret_ struct secret *secret = must_make(value, sizeof(value));
	assert_int_equal(secret_size(secret), sizeof(value));
	assert_int_equal(secret_copy(secret, 0, back, sizeof(back)), sizeof(back));
	assert_memory_equal(value, back, sizeof(back));
	assert_int_equal(secret_copy(secret, 90, back, sizeof(back)), 10);
	assert_memory_equal(value + 90, back, 10);
	assert_int_equal(secret_copy(secret, 100, back, sizeof(back)), 0);
	assert_int_equal(secret_copy(secret, SIZE_MAX, back, sizeof(back)), 0);
	assert_int_equal(secret_copy(secret, 1, back, 2), 2);
	assert_memory_equal(value + 1, back, 2);
}

static void empty_secret_is_a_secret(void **state)
{
	_cleanup_secret_ struct secret *secret = must_make(NULL, 0);
	char byte;

	assert_int_equal(secret_size(secret), 0);
	assert_int_equal(secret_copy(secret, 0, &byte, 1), 0);
	assert_true(secret_arena_used() > 0);
}

static void last_unref_leaves_no_byte_in_the_arena(void **state)
{
	char value[64];

	make_value(value, sizeof(value), 2);
	struct secret *secret = must_make(value, sizeof(value));
	struct secret *other = secret_ref(secret);
	assert_true(secret_arena_contains(value, sizeof(value)));

	assert_null(secret_unref(secret));
	assert_true(secret_arena_contains(value, sizeof(value)));
	assert_null(secret_unref(other));
	/* At once, and not when the next secret is made; not even the half of it. */
	assert_false(secret_arena_contains(value, sizeof(value) / 2));
	assert_false(secret_arena_contains(value + sizeof(value) / 2, sizeof(value) / 2));
	assert_int_equal(secret_arena_used(), 0);
}

static void unref_of_nothing_is_nothing(void **state)
{
	assert_null(secret_unref(NULL));
	secret_wipe(NULL, 10);
}

static void wipe_overwrites(void **state)
{
	char value[32], zero[32] = {0};

	make_value(value, sizeof(value), 3);
	secret_wipe(value, sizeof(value));
	assert_memory_equal(value, zero, sizeof(zero));
}

static void full_arena_is_refused_and_recovers(void **state)
{
	struct secret *secrets[ARENA_SIZE / SECRET_SIZE_MAX + 1];
	char *value = test_malloc(SECRET_SIZE_MAX);
	struct dsec_error err;
	size_t n = 0;

	make_value(value, SECRET_SIZE_MAX, 4);
	while (secret_new(&secrets[n], value, SECRET_SIZE_MAX, &err) == 0)
		n++;
	assert_int_equal(n, ARENA_SIZE / SECRET_SIZE_MAX);
	assert_int_equal(err.kind, DSEC_ERROR_NO_SPACE);
	assert_non_null(strstr(err.message, "memory for secrets is full"));
	assert_int_equal(secret_new(&secrets[n], "x", 1, &err), -ENOSPC);

	secret_unref(secrets[3]);
	secrets[3] = must_make(value, SECRET_SIZE_MAX);
	assert_int_equal(secret_new(&secrets[n], "x", 1, NULL), -ENOSPC);
	for (size_t i = 0; i < n; i++)
		secret_unref(secrets[i]);
	assert_int_equal(secret_arena_used(), 0);
	test_free(value);
}

/* Free neighbours are one piece again: else the arena would wear into pieces that nothing fits. */
static void arena_does_not_wear_into_pieces(void **state)
{
	enum { SMALL = ARENA_SIZE / 64 };
	static struct secret *small[SMALL];
	char *value = test_malloc(SECRET_SIZE_MAX);

	make_value(value, SECRET_SIZE_MAX, 5);
	for (size_t i = 0; i < SMALL; i++)
		small[i] = must_make(value, 64);
	assert_int_equal(secret_arena_used(), ARENA_SIZE);
	for (size_t i = 0; i < SMALL; i += 2)
		secret_unref(small[i]);
	struct secret *large = NULL;
	assert_int_equal(secret_new(&large, value, SECRET_SIZE_MAX, NULL), -ENOSPC);
	for (size_t i = 1; i < 2 * SECRET_SIZE_MAX / 64; i += 2)
		small[i] = secret_unref(small[i]);
	large = must_make(value, SECRET_SIZE_MAX);
	char *back = test_malloc(SECRET_SIZE_MAX);
	assert_int_equal(secret_copy(large, 0, back, SECRET_SIZE_MAX), SECRET_SIZE_MAX);
	assert_memory_equal(value, back, SECRET_SIZE_MAX);

	secret_unref(large);
	for (size_t i = 2 * SECRET_SIZE_MAX / 64 + 1; i < SMALL; i += 2)
		secret_unref(small[i]);
	test_free(back);
	test_free(value);
}

static void neighbours_do_not_touch(void **state)
{
	struct secret *secrets[200];
	char value[200], back[200];

	for (size_t i = 0; i < 200; i++) {
		make_value(value, i, (unsigned)i);
		secrets[i] = must_make(value, i);
	}
	for (size_t i = 0; i < 200; i += 3)
		secrets[i] = secret_unref(secrets[i]);
	for (size_t i = 0; i < 200; i += 3) {
		make_value(value, i, (unsigned)i + 1000);
		secrets[i] = must_make(value, i);
	}
	for (size_t i = 0; i < 200; i++) {
		make_value(value, i, (unsigned)i + (i % 3 == 0 ? 1000 : 0));
		assert_int_equal(secret_copy(secrets[i], 0, back, sizeof(back)), i);
		assert_memory_equal(value, back, i);
		secret_unref(secrets[i]);
	}
	assert_int_equal(secret_arena_used(), 0);
}

static void overlong_secret_is_refused(void **state)
{
	struct secret *secret = NULL;
	struct dsec_error err;
	char *value = test_calloc(1, SECRET_SIZE_MAX + 1);

	assert_int_equal(secret_new(&secret, value, SECRET_SIZE_MAX + 1, &err), -ENOSPC);
	assert_int_equal(err.kind, DSEC_ERROR_NO_SPACE);
	assert_null(secret);
	assert_int_equal(secret_arena_used(), 0);
	test_free(value);
}

/* Other threads unref while this one makes: ThreadSanitizer looks for the race, and the values for
 * a piece of memory that was handed out twice. */
enum { N_THREADS = 3, N_SECRETS = 3000, N_IN_FLIGHT = 64 };
static _Atomic(struct secret *) in_flight[N_IN_FLIGHT];
static atomic_int n_damaged, n_released;

static void check_and_release(struct secret *secret)
{
	char back[64], value[64];
	size_t n = secret_copy(secret, 0, back, sizeof(back));

	memcpy(value, back, sizeof(unsigned));
	unsigned seed;
	memcpy(&seed, back, sizeof(seed));
	make_value(value + sizeof(seed), n - sizeof(seed), seed);
	if (memcmp(value, back, n) != 0)
		atomic_fetch_add(&n_damaged, 1);
	secret_unref(secret);
	atomic_fetch_add(&n_released, 1);
}

static void *release_some(void *arg)
{
	for (unsigned i = 0; atomic_load(&n_released) < N_SECRETS; i++) {
		struct secret *secret = atomic_exchange(&in_flight[i % N_IN_FLIGHT], NULL);
		if (secret)
			check_and_release(secret);
	}
	return NULL;
}

static void unref_on_any_thread_races_with_nothing(void **state)
{
	pthread_t threads[N_THREADS];

	atomic_store(&n_damaged, 0);
	atomic_store(&n_released, 0);
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, release_some, NULL), 0);
	for (unsigned i = 0; i < N_SECRETS; i++) {
		char value[64];
		memcpy(value, &i, sizeof(i));
		make_value(value + sizeof(i), sizeof(value) - sizeof(i), i);
		struct secret *secret = must_make(value, 20 + i % 45);
		secret = atomic_exchange(&in_flight[i * 7 % N_IN_FLIGHT], secret);
		if (secret)
			check_and_release(secret);
	}
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(n_released, N_SECRETS);
	assert_int_equal(n_damaged, 0);
	assert_int_equal(secret_arena_used(), 0);
}

/* Is this the head line of a mapping in /proc/self/maps or smaps ("start-end mode …")? */
static bool read_mapping(const char *line, uintptr_t *ret_start, uintptr_t *ret_end)
{
	char *end;

	*ret_start = strtoul(line, &end, 16);
	if (end == line || *end != '-')
		return false;
	*ret_end = strtoul(end + 1, &end, 16);
	return *end == ' ';
}

/* The arena's own line in /proc/self/smaps: what begins with `field`. */
static void find_in_smaps(const char *field, char *to, size_t size)
{
	uintptr_t address = (uintptr_t)secret_arena_address(), start, end;
	char line[512];
	bool inside = false;
	FILE *file = fopen("/proc/self/smaps", "re");

	assert_non_null(file);
	*to = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (read_mapping(line, &start, &end))
			inside = start <= address && address < end;
		else if (inside && strncmp(line, field, strlen(field)) == 0)
			snprintf(to, size, "%s", line);
	}
	fclose(file);
}

static void arena_is_locked_and_stays_out_of_cores_and_children(void **state)
{
	char flags[512];

	find_in_smaps("VmFlags:", flags, sizeof(flags));
	assert_non_null(strstr(flags, " lo")); /* locked: not swapped */
	assert_non_null(strstr(flags, " dd")); /* not in a core */
	assert_non_null(strstr(flags, " dc")); /* not in a child */
}

static void memfd_secret_cannot_be_read_from_outside(void **state)
{
	char value[48], back[48];

	if (strcmp(secret_arena_kind(), "memfd_secret") != 0)
		skip_because("there is no memfd_secret(2) here");
	make_value(value, sizeof(value), 6);
	struct secret *secret = must_make(value, sizeof(value));
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	/* What is not secret can be read, so that the failure means what it should. */
	assert_int_equal(pread(fd, back, sizeof(back), (off_t)(uintptr_t)value), sizeof(back));
	assert_int_equal(pread(fd, back, sizeof(back), (off_t)(uintptr_t)secret_arena_address()),
			 -1);
	close(fd);
	secret_unref(secret);
}

/* Larger mappings are the sanitizers' shadows. */
#define SCANNED_MAPPING_MAX ((size_t)256 * 1024 * 1024)

static bool buffer_holds(const unsigned char *at, size_t size, const unsigned char *inverted,
			 size_t n)
{
	const unsigned char *end = at + size;

	for (; (at = memchr(at, 0xff - inverted[0], (size_t)(end - at))) && at + n <= end; at++) {
		size_t same = 1;
		while (same < n && at[same] + inverted[same] == 0xff)
			same++;
		if (same == n)
			return true;
	}
	return false;
}

/* Is the value anywhere in the memory of this process that can be read? It is given inverted, so
 * that it is not found because it is looked for. */
static bool process_holds(const unsigned char *inverted, size_t n)
{
	static unsigned char chunk[1 << 16];
	char line[512];
	uintptr_t start, end;
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (!found && fgets(line, sizeof(line), maps)) {
		if (!read_mapping(line, &start, &end) || !strstr(line, " rw") ||
		    end - start > SCANNED_MAPPING_MAX)
			continue;
		for (uintptr_t at = start; at < end && !found; at += sizeof(chunk) - n) {
			size_t size = end - at < sizeof(chunk) ? end - at : sizeof(chunk);
			ssize_t got = pread(mem, chunk, size, (off_t)at);
			found = got > 0 && buffer_holds(chunk, (size_t)got, inverted, n);
			secret_wipe(chunk, sizeof(chunk));
		}
	}
	fclose(maps);
	close(mem);
	return found;
}

static void no_copy_stays_anywhere_in_the_process(void **state)
{
	static char value[48];
	unsigned char inverted[sizeof(value)];

	make_value(value, sizeof(value), 7);
	for (size_t i = 0; i < sizeof(value); i++)
		inverted[i] = (unsigned char)value[i] ^ 0xff;
	struct secret *secret = must_make(value, sizeof(value));
	secret_wipe(value, sizeof(value));
	secret_copy(secret, 0, value, sizeof(value));
	assert_true(process_holds(inverted, sizeof(inverted)));

	secret_wipe(value, sizeof(value));
	secret_unref(secret);
	assert_false(process_holds(inverted, sizeof(inverted)));
}

static void kind_says_where_secrets_lie(void **state)
{
	enum secret_arena_source source = *(enum secret_arena_source *)*state;

	if (source == SECRET_ARENA_LOCKED)
		assert_string_equal(secret_arena_kind(), "locked memory");
	secret_arena_finish();
	assert_string_equal(secret_arena_kind(), "none");
	assert_int_equal(secret_arena_init(4096, NULL), 0); /* and once more */
}

static void small_memlock_limit_is_said(void **state)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 65536};
		struct dsec_error err;
		/* Without CAP_IPC_LOCK, as an ordinary user is. */
		if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
		    (geteuid() == 0 && (setgroups(0, NULL) < 0 || setuid(65534) < 0)))
			_exit(1);
		if (secret_arena_init(ARENA_SIZE, &err) != -ENOSPC)
			_exit(2);
		_exit(err.kind == DSEC_ERROR_NO_SPACE && strstr(err.message, "RLIMIT_MEMLOCK") &&
				      strstr(err.message, "1024 KiB")
			      ? 0
			      : 3);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void soft_memlock_limit_is_raised(void **state)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 2 * ARENA_SIZE};
		if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
		    (geteuid() == 0 && (setgroups(0, NULL) < 0 || setuid(65534) < 0)))
			_exit(1);
		_exit(secret_arena_init(ARENA_SIZE, NULL) == 0 ? 0 : 2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static enum secret_arena_source best = SECRET_ARENA_BEST, locked = SECRET_ARENA_LOCKED;

#define ON_BOTH(test)                                                                              \
	{#test, test, set_up, tear_down, &best},                                                   \
	{                                                                                          \
#test "_in_locked_memory", test, set_up, tear_down, &locked                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(secret_comes_back_whole),
		ON_BOTH(empty_secret_is_a_secret),
		ON_BOTH(last_unref_leaves_no_byte_in_the_arena),
		ON_BOTH(unref_of_nothing_is_nothing),
		ON_BOTH(wipe_overwrites),
		ON_BOTH(full_arena_is_refused_and_recovers),
		ON_BOTH(arena_does_not_wear_into_pieces),
		ON_BOTH(neighbours_do_not_touch),
		ON_BOTH(overlong_secret_is_refused),
		ON_BOTH(unref_on_any_thread_races_with_nothing),
		ON_BOTH(arena_is_locked_and_stays_out_of_cores_and_children),
		{"memfd_secret_cannot_be_read_from_outside",
		 memfd_secret_cannot_be_read_from_outside, set_up, tear_down, &best},
		ON_BOTH(no_copy_stays_anywhere_in_the_process),
		ON_BOTH(kind_says_where_secrets_lie),
		cmocka_unit_test(small_memlock_limit_is_said),
		cmocka_unit_test(soft_memlock_limit_is_raised),
	};
	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
