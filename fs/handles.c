#include "fs/handles.h"

#include <stdlib.h>

#include "lease/alloc.h"

#define NO_ROOM 1u /* of no place: a place's serial number begins with 1 */

static void give_back(struct handles *handles, uint32_t place)
{
	if (handles->n_free == handles->size) {
		handles->size = handles->size ? 2 * handles->size : 256;
		handles->free = alloc_resized(handles->free, handles->size, sizeof(*handles->free));
	}
	handles->free[handles->n_free++] = place;
}

static uint32_t used(const struct handles *handles)
{
	uint32_t n = atomic_load(&handles->shared->handles_used);

	return n < SHARED_HANDLES_MAX ? n : SHARED_HANDLES_MAX;
}

void handles_begin(struct handles *handles, struct shared *shared, handle_each *each, void *arg)
{
	*handles = (struct handles){.shared = shared};
	for (uint32_t i = used(handles); i > 0; i--) {
		uint64_t node = atomic_load(&shared->handles[i - 1].node);

		if (node)
			each(arg, node);
		else
			give_back(handles, i - 1);
	}
}

void handles_finish(struct handles *handles)
{
	free(handles->free);
	handles->free = NULL;
}

static uint64_t fh_of(const struct handles *handles, const struct shared_handle *handle)
{
	return (uint64_t)handle->serial << 32 | (uint64_t)(handle - handles->shared->handles);
}

/* Only what was read by a process that died can be known: it is looked for when it is replayed. */
static struct shared_handle *find_unique(const struct handles *handles, uint64_t node,
					 uint64_t unique)
{
	for (uint32_t i = 0; i < used(handles); i++) {
		struct shared_handle *handle = &handles->shared->handles[i];

		if (handle->unique == unique && atomic_load(&handle->node) == node)
			return handle;
	}
	return NULL;
}

static struct shared_handle *take(struct handles *handles)
{
	uint32_t n = used(handles);

	if (handles->n_free > 0)
		return &handles->shared->handles[handles->free[--handles->n_free]];
	if (n >= SHARED_HANDLES_MAX)
		return NULL;
	atomic_store(&handles->shared->handles_used, n + 1);
	return &handles->shared->handles[n];
}

uint64_t handles_open(struct handles *handles, uint64_t node, uint64_t unique, bool *known)
{
	struct shared_handle *handle = *known ? find_unique(handles, node, unique) : NULL;

	*known = handle != NULL;
	if (!handle) {
		handle = take(handles);
		if (!handle)
			return NO_ROOM;
		handle->unique = unique;
		atomic_store(&handle->waiting, 0);
		handle->serial++;
		atomic_store_explicit(&handle->node, node, memory_order_release);
	}
	return fh_of(handles, handle);
}

static struct shared_handle *find(const struct handles *handles, uint64_t fh)
{
	uint32_t place = (uint32_t)fh, serial = (uint32_t)(fh >> 32);
	struct shared_handle *handle;

	if (serial == 0 || place >= used(handles))
		return NULL;
	handle = &handles->shared->handles[place];
	return handle->serial == serial && atomic_load(&handle->node) != 0 ? handle : NULL;
}

void handles_watch(struct handles *handles, uint64_t fh, uint64_t kh)
{
	struct shared_handle *handle = find(handles, fh);

	if (handle)
		atomic_store(&handle->waiting, kh);
}

void handles_watched(struct handles *handles, void (*each)(void *arg, uint64_t kh), void *arg)
{
	for (uint32_t i = 0; i < used(handles); i++) {
		struct shared_handle *handle = &handles->shared->handles[i];
		uint64_t kh = atomic_load(&handle->waiting);

		if (kh != 0 && atomic_load(&handle->node) != 0)
			each(arg, kh);
		if (kh != 0)
			atomic_store(&handle->waiting, 0);
	}
}

bool handles_release(struct handles *handles, uint64_t fh)
{
	uint32_t place = (uint32_t)fh, serial = (uint32_t)(fh >> 32);

	if (fh == NO_ROOM)
		return true;
	if (serial == 0 || place >= used(handles))
		return false;

	struct shared_handle *handle = &handles->shared->handles[place];
	if (handle->serial != serial || atomic_load(&handle->node) == 0)
		return false;
	atomic_store_explicit(&handle->node, 0, memory_order_release);
	give_back(handles, place);
	return true;
}
