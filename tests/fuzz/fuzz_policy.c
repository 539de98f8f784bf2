/* fuzz_policy.c: any text as a policy. What is taken must stay itself, with its end in it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lease/policy.h"

#define SOME_END_MS 1644944694782

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_compact(const char *compact)
{
	char *again, *whole = policy_with_expiry(compact, SOME_END_MS), *whole_again;

	check(policy_compact(&again, compact, strlen(compact), NULL) == 0);
	check(strcmp(compact, again) == 0);
	check(whole && strstr(whole, "{\"aws:CurrentTime\":\"2022-02-15T17:04:55Z\"}"));
	check(policy_size(whole) > policy_size(compact) && policy_size(whole) <= strlen(whole));
	/* The end is a statement that IAM takes, and takes no right away by itself. */
	if (strlen(whole) <= POLICY_TEXT_MAX) {
		check(policy_compact(&whole_again, whole, strlen(whole), NULL) == 0);
		free(whole_again);
	}
	check(policy_self_undo(compact) == policy_self_undo(whole));
	free(whole);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dsec_error err = {0};
	char *compact = NULL;

	if (policy_compact(&compact, (const char *)data, size, &err) == 0)
		check_compact(compact);
	else
		check(!compact && err.kind == DSEC_ERROR_INVALID && *err.message);
	free(compact);
	return 0;
}
