/*
 * kept.c: requests that are answered later. A copy of each lies in the shared memory, so that the
 * next process answers what this one did not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

static int slots_used(const struct files *files)
{
	uint32_t used = atomic_load(&files->shared->kept_used);

	return used < SHARED_KEPT_MAX ? (int)used : SHARED_KEPT_MAX;
}

static void give_back(struct files *files, int slot)
{
	if (files->n_free_slots == files->free_slots_size) {
		files->free_slots_size = files->free_slots_size ? 2 * files->free_slots_size : 16;
		files->free_slots = alloc_resized(files->free_slots, files->free_slots_size,
						  sizeof(*files->free_slots));
	}
	files->free_slots[files->n_free_slots++] = slot;
}

void kept_begin(struct files *files)
{
	for (int i = slots_used(files) - 1; i >= 0; i--)
		if (atomic_load(&files->shared->kept[i].order) == 0)
			give_back(files, i);
}

void kept_finish(struct files *files)
{
	free(files->free_slots);
	files->free_slots = NULL;
}

void kept_clear(struct files *files, int slot)
{
	atomic_store(&files->shared->kept[slot].order, 0);
	give_back(files, slot);
}

void kept_settle(struct files *files)
{
	if (files->answered_slot >= 0)
		kept_clear(files, files->answered_slot);
	files->answered_slot = -1;
}

static int free_slot(struct files *files)
{
	int used = slots_used(files);

	if (files->n_free_slots > 0)
		return files->free_slots[--files->n_free_slots];
	if (used >= SHARED_KEPT_MAX)
		return -1;
	atomic_store(&files->shared->kept_used, (uint32_t)used + 1);
	return used;
}

/* A replayed one stays where it is. */
static int take_slot(struct files *files)
{
	struct shared *shared = files->shared;
	int slot = files->replayed_slot;

	files->replayed_slot = -1;
	if (slot >= 0)
		return slot;
	if (files->request_n > SHARED_KEPT_BYTES || files->request_n == 0)
		return -1;
	slot = free_slot(files);
	if (slot < 0)
		return -1;

	struct shared_kept *kept = &shared->kept[slot];
	memcpy(kept->bytes, files->request, files->request_n);
	kept->n = (uint32_t)files->request_n;
	atomic_store(&kept->tries, 0);
	atomic_store(&kept->order, atomic_fetch_add(&shared->last_order, 1) + 1);
	return slot;
}

struct kept *kept_new(struct files *files, fuse_req_t req)
{
	if (files->n_kept >= FILES_KEPT_MAX) {
		fuse_reply_err(req, EAGAIN);
		return NULL;
	}

	struct kept *kept = alloc_zeroed(1, sizeof(*kept));
	kept->files = files;
	kept->req = req;
	kept->origin = files->origin;
	kept->slot = take_slot(files);
	list_init(&kept->link);
	files->n_kept++;
	return kept;
}

/* Whoever frees one answers it before it frees another: its copy may go when the next one does. */
void kept_free(struct kept *kept)
{
	kept_settle(kept->files);
	kept->files->answered_slot = kept->slot;
	list_remove(&kept->link);
	kept->files->n_kept--;
	who_unref(kept->caller.who);
	free(kept);
}
