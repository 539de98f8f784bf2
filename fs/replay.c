/*
 * replay.c: requests that an earlier process had read and not answered.
 *
 * What it had kept lies in slots, what it was at lies where it was read. Both may be answered by
 * now, if it died between an answer and its note of it: the kernel refuses the second answer.
 *
 * The kernel's requests are whole, which libfuse relies on; what a process that has gone astray has
 * left need not be. So zeroes follow it, more than any request has besides names: what is missing
 * is 0, and names end.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/fs_private.h"
#include "fs/request.h"
#include "lease/alloc.h"

#define ZEROES 512

void files_process(struct files *files, const void *bytes, size_t n)
{
	struct fuse_buf buffer = {.mem = (void *)bytes, .size = n};

	files->request = bytes;
	files->request_n = n;
	files->origin.unique = request_unique(bytes, n);
	fuse_session_process_buf(files->session, &buffer);
	kept_settle(files);
	files->request = NULL;
	files->request_n = 0;
}

/* Each process that begins with it counts itself, and counts itself off when it is through: what is
 * left are those that died of it. */
static void try_again(struct files *files, _Atomic(uint32_t) *tries, const void *bytes, size_t n)
{
	if (atomic_fetch_add(tries, 1) >= FILES_TRIES_MAX) {
		request_refuse(files->fuse_fd, bytes, n, EIO);
	} else {
		files->origin.replayed = true;
		files_process(files, bytes, n);
		files->origin.replayed = false;
	}
	atomic_store(tries, 0);
}

static void replay_slot(struct files *files, int slot)
{
	struct shared_kept *kept = &files->shared->kept[slot];
	unsigned char bytes[SHARED_KEPT_BYTES + ZEROES] = {0};
	size_t n = kept->n <= SHARED_KEPT_BYTES ? kept->n : 0;

	memcpy(bytes, kept->bytes, n);
	if (request_size(bytes, n) > 0) {
		files->replayed_slot = slot;
		try_again(files, &kept->tries, bytes, n);
	}
	if (request_size(bytes, n) == 0 || files->replayed_slot == slot)
		kept_clear(files, slot); /* it was not kept again: it is answered */
	files->replayed_slot = -1;
}

struct arrival {
	uint64_t order, unique;
	int slot;
};

static int by_order(const void *a, const void *b)
{
	const struct arrival *one = a, *other = b;

	return (one->order > other->order) - (one->order < other->order);
}

static size_t find_kept(const struct shared *shared, struct arrival *ret)
{
	size_t n = 0;

	for (int i = 0; i < SHARED_KEPT_MAX; i++) {
		const struct shared_kept *kept = &shared->kept[i];
		uint64_t order = atomic_load(&kept->order);

		if (order == 0)
			continue;
		ret[n++] = (struct arrival){
			.order = order,
			.unique = request_unique(kept->bytes,
						 kept->n <= SHARED_KEPT_BYTES ? kept->n : 0),
			.slot = i,
		};
	}
	qsort(ret, n, sizeof(*ret), by_order);
	return n;
}

/* The one that it was at, unless that is among the kept ones already. */
static void replay_current(struct files *files, const struct arrival *kept, size_t n_kept)
{
	struct shared *shared = files->shared;
	size_t n = request_size(shared->current, sizeof(shared->current));
	uint64_t unique = request_unique(shared->current, sizeof(shared->current));

	for (size_t i = 0; i < n_kept; i++)
		if (kept[i].unique == unique)
			n = 0;
	if (n > 0 && !request_is_init(shared->current, n)) {
		_cleanup_free_ unsigned char *bytes = alloc_zeroed(n + ZEROES, 1);

		memcpy(bytes, shared->current, n);
		if (request_is_forget(bytes, n))
			request_clear(shared->current);
		try_again(files, &shared->current_tries, bytes, n);
	}
	request_clear(shared->current);
}

void files_replay(struct files *files)
{
	_cleanup_free_ struct arrival *kept = alloc_zeroed(SHARED_KEPT_MAX, sizeof(*kept));
	size_t n = find_kept(files->shared, kept);

	for (size_t i = 0; i < n; i++)
		replay_slot(files, kept[i].slot);
	replay_current(files, kept, n);
}
