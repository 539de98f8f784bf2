/*
 * scratch.c: a few buffers are kept, since making one costs several system calls and a flush of the
 * processor's tables; most files fit into them. A longer text, or one thread too many at a time,
 * gets a mapping of its own.
 */
#include "lease/scratch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lease/secret.h"
#include "lease/secret_arena.h"

#define KEPT      SCRATCH_KEPT
#define KEPT_SIZE ((size_t)SCRATCH_KEPT_SIZE)

static struct {
	_Atomic(unsigned char *) bytes; /* KEPT buffers; NULL: not made yet */
	atomic_flag taken[KEPT];
} kept;

/* Two threads may make them at once: the second's are returned. */
static unsigned char *kept_buffers(void)
{
	unsigned char *bytes = atomic_load(&kept.bytes), *made;

	if (bytes)
		return bytes;
	made = secret_map(KEPT * KEPT_SIZE);
	if (!made)
		return NULL;
	if (atomic_compare_exchange_strong(&kept.bytes, &bytes, made))
		return made;
	munmap(made, KEPT * KEPT_SIZE);
	return bytes;
}

static void *take_kept(void)
{
	unsigned char *bytes = kept_buffers();

	for (size_t i = 0; bytes && i < KEPT; i++)
		if (!atomic_flag_test_and_set(&kept.taken[i]))
			return bytes + i * KEPT_SIZE;
	return NULL;
}

static bool is_kept(const unsigned char *bytes)
{
	const unsigned char *first = atomic_load(&kept.bytes);

	return first && bytes >= first && bytes < first + KEPT * KEPT_SIZE;
}

void *scratch_new(size_t *size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *bytes = *size <= KEPT_SIZE ? take_kept() : NULL;

	if (bytes) {
		*size = KEPT_SIZE;
		return bytes;
	}
	if (*size > SIZE_MAX / 2)
		return NULL;
	*size = (*size + page - 1) / page * page;
	return secret_map(*size);
}

void scratch_free(void *bytes, size_t size)
{
	if (!bytes)
		return;
	secret_wipe(bytes, size);
	if (is_kept(bytes))
		atomic_flag_clear(
			&kept.taken[(size_t)((unsigned char *)bytes - atomic_load(&kept.bytes)) /
				    KEPT_SIZE]);
	else
		munmap(bytes, size);
}
