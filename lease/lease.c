#include "lease/lease_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/table.h"

/* The lease as the engine makes it: what others see of it is const, but for the count. */
struct counted_lease {
	struct lease lease;
	atomic_uint references;
	char texts[];
};

static struct counted_lease *counted(const struct lease *lease)
{
	return (struct counted_lease *)lease;
}

/* The texts stand behind the lease, in the same block: there are thousands of leases, and a block
 * for each text would be half of what a lease takes. */
static size_t size_of_text(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *put_text(char **at, const char *text)
{
	size_t n = size_of_text(text);
	char *put = *at;

	if (!text)
		return NULL;
	memcpy(put, text, n);
	*at += n;
	return put;
}

struct lease *lease_new(const struct lease *from)
{
	struct counted_lease *made = alloc_zeroed(
		1, sizeof(*made) + size_of_text(from->slot.project) +
			   size_of_text(from->slot.config) + size_of_text(from->slot.secret) +
			   size_of_text(from->integration) + size_of_text(from->user) +
			   size_of_text(from->arn) + size_of_text(from->policy_name) +
			   size_of_text(from->access_key_id));
	struct lease *lease = &made->lease;
	char *at = made->texts;

	atomic_init(&made->references, 1);
	*lease = *from;
	lease->slot.project = put_text(&at, from->slot.project);
	lease->slot.config = put_text(&at, from->slot.config);
	lease->slot.secret = put_text(&at, from->slot.secret);
	lease->integration = put_text(&at, from->integration);
	lease->user = put_text(&at, from->user);
	lease->arn = put_text(&at, from->arn);
	lease->policy_name = put_text(&at, from->policy_name);
	lease->access_key_id = put_text(&at, from->access_key_id);
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

struct lease *lease_without_secret(const struct lease *lease)
{
	struct lease from = *lease;

	from.secret_access_key = NULL;
	return lease_new(&from);
}

bool lease_slot_same(const struct lease_slot *a, const struct lease_slot *b)
{
	return a->ttl_ms == b->ttl_ms && a->holder == b->holder &&
	       strcmp(a->secret, b->secret) == 0 && strcmp(a->config, b->config) == 0 &&
	       strcmp(a->project, b->project) == 0;
}

uint64_t lease_slot_hash(const struct table *table, const struct lease_slot *slot)
{
	uint64_t parts[] = {
		table_hash_text(table, slot->project),
		table_hash_text(table, slot->config),
		table_hash_text(table, slot->secret),
		(uint64_t)slot->ttl_ms,
		slot->holder,
	};

	return table_hash(table, parts, sizeof(parts));
}

struct lease *lease_ref(const struct lease *lease)
{
	struct counted_lease *made = counted(lease);

	atomic_fetch_add_explicit(&made->references, 1, memory_order_relaxed);
	return &made->lease;
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
	secret_unref(lease->secret_access_key);
	free(made);
	return NULL;
}
