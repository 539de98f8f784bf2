#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

/* Those that can end: the leases of all readers, and of a user, end at their TTL. */
static bool may_end(lease_holder holder)
{
	enum holder_kind kind = lease_holder_kind(holder);

	return kind != HOLDER_USERS && kind != HOLDER_STOCK;
}

static uint64_t hash(const struct engine *engine, lease_holder holder)
{
	return table_hash(&engine->principals_by_holder, &holder, sizeof(holder));
}

void principal_leave_holder(struct principal *principal)
{
	if (may_end(principal->holder))
		table_remove(&principal->engine->principals_by_holder, &principal->by_holder);
	principal->holder = 0;
}

void principal_set_holder(struct principal *principal, lease_holder holder)
{
	struct engine *engine = principal->engine;

	principal_leave_holder(principal);
	principal->holder = holder;
	if (may_end(holder))
		table_insert(&engine->principals_by_holder, &principal->by_holder,
			     hash(engine, holder));
}

static bool is_same(const struct table_node *node, const void *holder)
{
	return container_of(node, struct principal, by_holder)->holder ==
	       *(const lease_holder *)holder;
}

/* Revokes them, and gives the slots that somebody may wait in: a list for free(). */
static struct slot **end_all(struct engine *engine, lease_holder holder, const char *reason,
			     size_t *ret_n)
{
	const struct table *table = &engine->principals_by_holder;
	struct table_node *node = table_find(table, hash(engine, holder), is_same, &holder);
	struct slot **slots = NULL;
	size_t n = 0;

	while (node) {
		struct principal *principal = container_of(node, struct principal, by_holder);

		node = table_find_next(node, is_same, &holder);
		if (principal->slot) {
			slots = alloc_resized(slots, n + 1, sizeof(struct slot *));
			slots[n++] = principal->slot;
		}
		principal_revoke(principal, reason);
	}
	*ret_n = n;
	return slots;
}

void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason)
{
	size_t n;
	struct slot **slots = may_end(holder) ? end_all(engine, holder, reason, &n) : NULL;

	/* Somebody of the same holder has come at the last moment. */
	for (size_t i = 0; slots && i < n; i++)
		slot_make(slots[i]);
	free(slots);
}
