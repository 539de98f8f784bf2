/*
 * Whatever is given as a policy, what comes out is a policy that is taken as it is, also with an
 * end in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lease/policy.h"

#define END_MS 1644944694782 /* any */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_taken(const char *policy)
{
	char *again = NULL;

	if (policy_compact(&again, policy, strlen(policy), NULL) != 0 || strcmp(again, policy) != 0)
		abort();
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dsec_error err;
	char *compact = NULL, *with_end;

	if (policy_compact(&compact, (const char *)data, size, &err) < 0)
		return 0;
	must_be_taken(compact);
	with_end = policy_with_expiry(compact, END_MS);
	if (!with_end)
		abort();
	must_be_taken(with_end);
	if (policy_size(with_end) <= policy_size(compact))
		abort();
	policy_self_undo(compact);
	free(with_end);
	free(compact);
	return 0;
}
