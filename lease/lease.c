#include "lease/lease_private.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lease/alloc.h"

/* The lease as the engine makes it: what others see of it is const, but for the count. */
struct counted_lease {
	struct lease lease;
	atomic_uint references;
};

static struct counted_lease *counted(const struct lease *lease)
{
	return (struct counted_lease *)lease;
}

struct lease *lease_new(const struct lease *from)
{
	struct counted_lease *made = alloc_zeroed(1, sizeof(*made));
	struct lease *lease = &made->lease;

	atomic_init(&made->references, 1);
	*lease = *from;
	lease->slot.project = alloc_copy(from->slot.project);
	lease->slot.config = alloc_copy(from->slot.config);
	lease->slot.secret = alloc_copy(from->slot.secret);
	lease->integration = alloc_copy(from->integration);
	lease->user = alloc_copy(from->user);
	lease->arn = alloc_copy(from->arn);
	lease->policy_name = alloc_copy(from->policy_name);
	lease->access_key_id = alloc_copy(from->access_key_id);
	if (from->secret_access_key)
		lease->secret_access_key = secret_ref(from->secret_access_key);
	return lease;
}

struct lease *lease_version(const struct lease *lease, uint64_t generation, int64_t expires_ms)
{
	struct lease from = *lease;

	from.generation = generation;
	from.expires_ms = expires_ms;
	from.expire_at -= lease->expires_ms - expires_ms;
	from.rotate_at -= lease->expires_ms - expires_ms;
	return lease_new(&from);
}

struct lease *lease_ref(const struct lease *lease)
{
	struct counted_lease *made = counted(lease);

	atomic_fetch_add_explicit(&made->references, 1, memory_order_relaxed);
	return &made->lease;
}

static void free_text(const char *text)
{
	free((char *)text);
}

struct lease *lease_unref(const struct lease *lease)
{
	if (!lease)
		return NULL;

	struct counted_lease *made = counted(lease);

	/* Release: what this thread read of the lease comes before its end. Acquire: the thread
	 * that ends it sees that the others are through. */
	if (atomic_fetch_sub_explicit(&made->references, 1, memory_order_acq_rel) > 1)
		return NULL;
	free_text(lease->slot.project);
	free_text(lease->slot.config);
	free_text(lease->slot.secret);
	free_text(lease->integration);
	free_text(lease->user);
	free_text(lease->arn);
	free_text(lease->policy_name);
	free_text(lease->access_key_id);
	secret_unref(lease->secret_access_key);
	free(made);
	return NULL;
}
