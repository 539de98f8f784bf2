#include "lease/engine_private.h"

static void end(struct principal *principal, const char *reason)
{
	struct slot *slot = principal->slot;

	principal_revoke(principal, reason);
	if (slot)
		slot_make(slot); /* somebody of the same holder has come at the last moment */
}

void engine_end_holder(struct engine *engine, lease_holder holder, const char *reason)
{
	list_each (at, &engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		if (principal->holder == holder)
			end(principal, reason);
	}
}
