#include "lease/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "lease/asan.h"
#include "lease/secret_arena.h"

/* With AddressSanitizer, whatever of the arena belongs to no live secret is poisoned. */
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n)   ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

/* The arena is handed out in units, so that a value of an AWS key's size wastes little and no two
 * secrets share one of AddressSanitizer's granules. */
#define UNIT_SIZE 16

/* Of the digests: one for those with a context, one for those of bytes. They lie behind the units,
 * in a page of their own. */
#define KEY_SIZE  32
#define KEYS_SIZE (2ul * KEY_SIZE)

/* What statfs(2) says of memfd_secret's memory (SECRETMEM_MAGIC of the kernel). */
#define SECRETMEM_TYPE 0x5345434d

enum { UNIT_FREE, UNIT_TAKEN };

struct secret {
	atomic_uint refs;
	size_t size;
	size_t unit;
	struct secret *next; /* among the returned ones */
};

/* All bookkeeping lies outside the arena: the arena holds secret bytes and zeroes, and an overflow
 * in it can neither be mistaken for a header nor destroy one. */
static struct {
	const char *kind;
	unsigned char *bytes;
	unsigned char *keys; /* KEYS_SIZE */
	size_t mapped;       /* bytes */
	size_t n_units;
	bool untouched;       /* new, and its pages are not taken yet */
	unsigned char *units; /* UNIT_FREE or UNIT_TAKEN; touched in secret_new alone */
	atomic_size_t used;
	/* Wiped secrets whose units secret_new is to take back. Others only push and secret_new
	 * takes all at once, so a pointer can never come back while somebody compares with it. */
	_Atomic(struct secret *) returned;
	atomic_flag in_secret_new;
} arena = {.kind = "none", .in_secret_new = ATOMIC_FLAG_INIT};

static size_t units_of(size_t n)
{
	return n == 0 ? 1 : (n + UNIT_SIZE - 1) / UNIT_SIZE;
}

static unsigned char *bytes_of(const struct secret *secret)
{
	return arena.bytes + secret->unit * UNIT_SIZE;
}

/* Where locking needs no privilege it is counted against the soft limit, which any process may
 * raise up to the hard one. Failure shows in what is tried next. */
static void raise_lock_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &limit);
	}
}

/* Pages outside the kernel's direct map: not even the kernel reads them by accident, /proc/PID/mem
 * and ptrace(2) do not reach them, they are never swapped nor dumped. While they are held the
 * machine cannot hibernate. NULL where there is no memfd_secret(2) (before Linux 5.14, before 6.5
 * unless secretmem.enable=1) or RLIMIT_MEMLOCK is in the way. */
static void *map_secretmem(size_t bytes)
{
#ifdef SYS_memfd_secret
	/* Its manual page says FD_CLOEXEC, to which the kernel answers EINVAL. */
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		return NULL;

	void *at = MAP_FAILED;
	if (ftruncate(fd, (off_t)bytes) == 0)
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
#else
	return NULL;
#endif
}

static void *map_locked(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	/* Not mlock(3), which the sanitizers replace with a function that does nothing. */
	if (mlock2(at, bytes, 0) < 0 || madvise(at, bytes, MADV_DONTDUMP) < 0) {
		int error = errno;
		munmap(at, bytes);
		errno = error;
		return NULL;
	}
	return at;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Units, and the key's page. */
static size_t mapping_size(size_t bytes)
{
	size_t page = page_size();

	assert(bytes > 0 && bytes <= SIZE_MAX / 2);
	return (bytes + page - 1) / page * page + page;
}

size_t secret_arena_cost(size_t bytes)
{
	return mapping_size(bytes);
}

size_t secret_lockable(void)
{
	struct rlimit limit;

	raise_lock_limit();
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return (size_t)limit.rlim_cur;
}

static int cannot_lock(size_t bytes, int error, struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_NO_SPACE,
			      "cannot lock %zu KiB of memory for secrets: %s (the limit is "
			      "RLIMIT_MEMLOCK: ulimit -l, LimitMEMLOCK=)",
			      bytes / 1024, strerror(error));
}

static bool has_keys(void)
{
	static const unsigned char none[KEYS_SIZE];

	return memcmp(arena.keys, none, KEYS_SIZE) != 0;
}

/* Takes over the mapping, which is unmapped on failure. `is_new`: nothing is in it. */
static int begin(void *at, size_t mapped, const char *kind, bool is_new, struct dsec_error *err)
{
	size_t bytes = mapped - page_size();
	unsigned char *units = calloc(bytes / UNIT_SIZE, 1);

	/* A forked child gets no arena: the pages of memfd_secret would be shared with it, so that
	 * its unref would wipe its parent's secrets, and a copy of locked memory is not locked.
	 * What forks (a daemon going to the background) does it before this. */
	if (!units || madvise(at, mapped, MADV_DONTFORK) < 0) {
		int error = units ? errno : ENOMEM;
		munmap(at, mapped);
		free(units);
		return cannot_lock(bytes, error, err);
	}
	arena.untouched = is_new;
	arena.bytes = at;
	arena.keys = (unsigned char *)at + bytes;
	arena.mapped = mapped;
	arena.units = units;
	arena.n_units = bytes / UNIT_SIZE;
	arena.kind = kind;
	if (!has_keys() && getrandom(arena.keys, KEYS_SIZE, 0) != KEYS_SIZE)
		abort(); /* it cannot fail for so few bytes */
	ASAN_POISON_MEMORY_REGION(at, bytes);
	return 0;
}

int secret_arena_init_from(enum secret_arena_source source, size_t bytes, struct dsec_error *err)
{
	size_t mapped = mapping_size(bytes);

	assert(!arena.bytes);
	raise_lock_limit(); /* now: a worker's filter kills who changes limits later */
	void *at = source == SECRET_ARENA_BEST ? map_secretmem(mapped) : NULL;
	const char *kind = "memfd_secret";
	if (!at) {
		at = map_locked(mapped);
		kind = "locked memory";
	}
	int r = at ? begin(at, mapped, kind, true, err) : cannot_lock(bytes, errno, err);
	if (r == 0)
		secret_arena_take();
	return r;
}

int secret_arena_init(size_t bytes, struct dsec_error *err)
{
	return secret_arena_init_from(SECRET_ARENA_BEST, bytes, err);
}

void *secret_map(size_t bytes)
{
	void *at = map_secretmem(bytes);

	if (!at)
		at = map_locked(bytes);
	if (at && madvise(at, bytes, MADV_DONTFORK) < 0) {
		munmap(at, bytes);
		at = NULL;
	}
	return at;
}

/* Memory that outlives the process. */

int secret_memory_create(void)
{
	int fd = -1;

#ifdef SYS_memfd_secret
	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
#endif
	if (fd < 0)
		fd = memfd_create("dsec-secrets", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_secretmem(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) == 0 && st.f_type == SECRETMEM_TYPE;
}

/* The size of it, which is given to it if it has none. 0: neither. */
static size_t shared_size(int fd, size_t wanted, bool *ret_is_new)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return 0;
	*ret_is_new = st.st_size == 0;
	if (st.st_size == 0)
		return ftruncate(fd, (off_t)wanted) < 0 ? 0 : wanted;
	return (size_t)st.st_size;
}

static void *map_shared(int fd, size_t size, bool lock)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return NULL;
	if (lock && (mlock2(at, size, 0) < 0 || madvise(at, size, MADV_DONTDUMP) < 0)) {
		int error = errno;
		munmap(at, size);
		errno = error;
		return NULL;
	}
	return at;
}

int secret_arena_init_shared(int fd, size_t bytes, struct dsec_error *err)
{
	bool is_new = false, secretmem = is_secretmem(fd);
	size_t size = shared_size(fd, mapping_size(bytes), &is_new);

	assert(!arena.bytes);
	raise_lock_limit();
	void *at = size > page_size() ? map_shared(fd, size, !secretmem) : NULL;
	if (!at)
		return cannot_lock(size ? size : bytes, errno, err);
	return begin(at, size, secretmem ? "memfd_secret" : "locked memory", is_new, err);
}

static void take_back_returned(void)
{
	struct secret *secret = atomic_exchange(&arena.returned, NULL);

	while (secret) {
		struct secret *next = secret->next;
		memset(arena.units + secret->unit, UNIT_FREE, units_of(secret->size));
		free(secret);
		secret = next;
	}
}

void secret_arena_leave(void)
{
	if (!arena.bytes)
		return;
	take_back_returned();
	ASAN_UNPOISON_MEMORY_REGION(arena.bytes, arena.mapped);
	munmap(arena.bytes, arena.mapped);
	free(arena.units);
	arena.bytes = arena.keys = NULL;
	arena.units = NULL;
	arena.n_units = 0;
	arena.kind = "none";
	atomic_store(&arena.used, 0);
}

void secret_arena_finish(void)
{
	if (!arena.bytes)
		return;
	ASAN_UNPOISON_MEMORY_REGION(arena.bytes, arena.mapped);
	secret_wipe(arena.bytes, arena.mapped);
	secret_arena_leave();
}

/* Reads, as secrets may lie there already; all that can be read can be written. */
__attribute__((no_sanitize("address"))) void secret_arena_take(void)
{
	for (size_t at = 0; arena.untouched && at < arena.mapped; at += page_size())
		(void)*(volatile const unsigned char *)(arena.bytes + at);
	arena.untouched = false;
}

/* Bytes that belong to nobody here were somebody's: they are wiped without being looked at. */
void secret_arena_sweep(void)
{
	for (size_t i = 0; i < arena.n_units && !arena.untouched; i++) {
		unsigned char *at = arena.bytes + i * UNIT_SIZE;

		if (arena.units[i] != UNIT_FREE)
			continue;
		ASAN_UNPOISON_MEMORY_REGION(at, UNIT_SIZE);
		secret_wipe(at, UNIT_SIZE);
		ASAN_POISON_MEMORY_REGION(at, UNIT_SIZE);
	}
}

const char *secret_arena_kind(void)
{
	return arena.kind;
}

size_t secret_arena_size(void)
{
	return arena.n_units * UNIT_SIZE;
}

size_t secret_arena_used(void)
{
	return atomic_load(&arena.used);
}

const void *secret_arena_address(void)
{
	return arena.bytes;
}

/* Reads also what is poisoned: what is looked for should be nowhere, least of all there. */
__attribute__((no_sanitize("address"))) bool secret_arena_contains(const void *bytes, size_t n)
{
	const unsigned char *wanted = bytes;
	size_t size = arena.n_units * UNIT_SIZE;

	for (size_t at = 0; at + n <= size; at++) {
		size_t same = 0;
		while (same < n && arena.bytes[at + same] == wanted[same])
			same++;
		if (same == n)
			return true;
	}
	return false;
}

/* First fit. Neighbours that are free are one run without further ado: there is nothing to merge.
 */
static unsigned char *find_units(size_t n)
{
	unsigned char *at = arena.units, *end = arena.units + arena.n_units;

	while ((at = memchr(at, UNIT_FREE, (size_t)(end - at))) && (size_t)(end - at) >= n) {
		unsigned char *taken = memchr(at, UNIT_TAKEN, n);
		if (!taken)
			return at;
		at = taken;
	}
	return NULL;
}

static struct secret *allocate(size_t n)
{
	unsigned char *units = find_units(units_of(n));
	if (!units)
		return NULL;
	struct secret *secret = malloc(sizeof(*secret));
	if (!secret)
		return NULL;
	*secret = (struct secret){.refs = 1, .size = n, .unit = (size_t)(units - arena.units)};
	memset(units, UNIT_TAKEN, units_of(n));
	atomic_fetch_add(&arena.used, units_of(n) * UNIT_SIZE);
	return secret;
}

int secret_new(struct secret **ret, const void *bytes, size_t n, struct dsec_error *err)
{
	assert(arena.bytes);
	if (n > SECRET_SIZE_MAX)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE,
				      "a secret of %zu bytes is longer than the %u that fit", n,
				      SECRET_SIZE_MAX);

	/* The thread may change, but never may two be here at once. */
	bool entered = !atomic_flag_test_and_set(&arena.in_secret_new);
	assert(entered);
	take_back_returned();
	struct secret *secret = allocate(n);
	atomic_flag_clear(&arena.in_secret_new);
	if (!secret)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE,
				      "the memory for secrets is full: %zu of %zu bytes are used, "
				      "and %zu more do not fit",
				      secret_arena_used(), arena.n_units * UNIT_SIZE, n);

	ASAN_UNPOISON_MEMORY_REGION(bytes_of(secret), n);
	if (n > 0)
		memcpy(bytes_of(secret), bytes, n);
	*ret = secret;
	return 0;
}

int secret_adopt(struct secret **ret, size_t place, size_t n)
{
	size_t unit = place / UNIT_SIZE, units = units_of(n);

	if (place % UNIT_SIZE != 0 || n > SECRET_SIZE_MAX || unit >= arena.n_units ||
	    units > arena.n_units - unit || memchr(arena.units + unit, UNIT_TAKEN, units))
		return -EINVAL;

	struct secret *secret = malloc(sizeof(*secret));
	if (!secret)
		return -ENOMEM;
	*secret = (struct secret){.refs = 1, .size = n, .unit = unit};
	memset(arena.units + unit, UNIT_TAKEN, units);
	atomic_fetch_add(&arena.used, units * UNIT_SIZE);
	ASAN_UNPOISON_MEMORY_REGION(bytes_of(secret), n);
	*ret = secret;
	return 0;
}

size_t secret_place(const struct secret *secret)
{
	return secret->unit * UNIT_SIZE;
}

struct secret *secret_ref(struct secret *secret)
{
	unsigned before = atomic_fetch_add_explicit(&secret->refs, 1, memory_order_relaxed);
	assert(before > 0);
	return secret;
}

struct secret *secret_unref(struct secret *secret)
{
	if (!secret)
		return NULL;

	unsigned before = atomic_fetch_sub_explicit(&secret->refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before > 1)
		return NULL;

	secret_wipe(bytes_of(secret), secret->size);
	ASAN_POISON_MEMORY_REGION(bytes_of(secret), units_of(secret->size) * UNIT_SIZE);
	atomic_fetch_sub(&arena.used, units_of(secret->size) * UNIT_SIZE);
	secret->next = atomic_load(&arena.returned);
	while (!atomic_compare_exchange_weak(&arena.returned, &secret->next, secret))
		;
	return NULL;
}

size_t secret_size(const struct secret *secret)
{
	return secret->size;
}

size_t secret_copy(const struct secret *secret, size_t offset, void *to, size_t n)
{
	if (offset >= secret->size)
		return 0;
	if (n > secret->size - offset)
		n = secret->size - offset;
	memcpy(to, bytes_of(secret) + offset, n);
	return n;
}

static void hmac(unsigned char to[EVP_MAX_MD_SIZE], const void *key, const void *bytes, size_t n)
{
	if (!HMAC(EVP_sha256(), key, KEY_SIZE, bytes, n, to, NULL))
		abort();
}

/* OpenSSL wipes what it has had of key and bytes. A SHA-256 is as long as a key. */
static void digest(unsigned char to[SECRET_DIGEST_SIZE], const void *key, const void *bytes,
		   size_t n)
{
	unsigned char whole[EVP_MAX_MD_SIZE];

	hmac(whole, key, bytes, n);
	memcpy(to, whole, SECRET_DIGEST_SIZE);
}

static const unsigned char *keys(void)
{
	static const unsigned char no_arena[KEYS_SIZE];

	return arena.keys ? arena.keys : no_arena;
}

void secret_digest(unsigned char to[SECRET_DIGEST_SIZE], const char *context,
		   const struct secret *secret)
{
	unsigned char key[EVP_MAX_MD_SIZE];

	hmac(key, keys(), context, strlen(context));
	digest(to, key, bytes_of(secret), secret->size);
	secret_wipe(key, sizeof(key));
}

void secret_digest_bytes(unsigned char to[SECRET_DIGEST_SIZE], const void *bytes, size_t n)
{
	digest(to, keys() + KEY_SIZE, bytes ? bytes : "", n);
}

void secret_wipe(void *bytes, size_t n)
{
	if (bytes)
		explicit_bzero(bytes, n);
}
