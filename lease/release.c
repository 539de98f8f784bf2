#include "lease/engine_private.h"

/* A lease keeps its holder also when a reload has taken it out of its slot. */
static lease_holder holder_of(const struct principal *principal)
{
	if (principal->slot)
		return principal->slot->holder;
	return principal->lease ? principal->lease->slot.holder : 0;
}

void engine_release(struct engine *engine, lease_holder holder, const char *reason)
{
	list_each (at, &engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		if (holder_of(principal) == holder)
			principal_revoke(principal, reason);
	}
}
