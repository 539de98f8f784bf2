#include <stdio.h>
#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/grant.h"

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct grant *grant = container_of(call, struct grant, key_call);
	struct principal *principal = grant->principal;

	to->user = principal->record.user;
	switch (grant->key_step) {
	case KEY_CREATE:
		principal_set_key_left(principal, true);
		to->op = PROVIDER_CREATE_KEY;
		break;
	case KEY_LIST:
		to->op = PROVIDER_LIST;
		to->attachment = ATTACHMENT_ACCESS_KEY;
		break;
	case KEY_DISCARD:
		to->op = PROVIDER_REMOVE;
		to->attachment = ATTACHMENT_ACCESS_KEY;
		to->name = grant->stray_keys[grant->n_discarded];
		break;
	case KEY_VERIFY:
		to->op = PROVIDER_VERIFY_KEY;
		to->access_key_id = principal->record.access_key_id;
		to->secret_access_key = grant->secret_access_key;
		break;
	}
}

void grant_key_begin(struct grant *grant, enum grant_key_step step)
{
	grant->key_step = step;
	limiter_submit(&grant->principal->account->limiter, &grant->key_call,
		       step == KEY_VERIFY ? LIMITER_FREE : grant_class(grant));
}

void grant_key_forget_strays(struct grant *grant)
{
	for (size_t i = 0; i < grant->n_stray; i++)
		free(grant->stray_keys[i]);
	free(grant->stray_keys);
	grant->stray_keys = NULL;
	grant->n_stray = grant->n_discarded = 0;
}

static bool has_key(const struct provider_answer *answer, const struct dsec_error *err)
{
	return !err && answer->access_key_id && answer->secret_access_key;
}

/* A server's text, which goes into files, reports and the journal. */
static void set_key_id(struct principal *principal, const char *id)
{
	char safe[sizeof(((struct journal_record *)NULL)->access_key_id)];

	dsec_print_safely(safe, sizeof(safe), id);
	line_set(&principal->record.access_key_id, safe);
}

/* What the answer says about the user's keys, whatever becomes of the grant. */
static void learn(struct grant *grant, const struct provider_answer *answer,
		  const struct dsec_error *err)
{
	struct principal *principal = grant->principal;

	if (has_key(answer, err))
		set_key_id(principal, answer->access_key_id);
	else if (!err || err->ambiguous)
		principal->key_unknown = true;
	else if (!principal->key_unknown)
		principal_set_key_left(principal, false);
}

static void create_answered(struct grant *grant, const struct provider_answer *answer,
			    const struct dsec_error *err)
{
	bool lost = !err || err->ambiguous;

	if (has_key(answer, err)) {
		grant->secret_access_key = secret_ref(answer->secret_access_key);
		grant->has_key = true;
		grant_equipped(grant);
	} else if (lost || (err->kind == DSEC_ERROR_QUOTA && grant->principal->key_unknown)) {
		/* A key whose secret nobody knows is of no use, and takes one of two places. */
		grant->key_step = KEY_LIST;
		limiter_retry(&grant->key_call, GRANT_BACKOFF_MS, GRANT_BACKOFF_CAP_MS);
	} else {
		grant_retry_or_fail(grant, &grant->key_call, err);
	}
}

static void discard_next(struct grant *grant)
{
	if (grant->n_discarded < grant->n_stray) {
		grant_key_begin(grant, KEY_DISCARD);
		return;
	}
	grant_key_forget_strays(grant);
	grant_key_begin(grant, KEY_CREATE);
}

static void listed(struct grant *grant, const struct provider_answer *answer)
{
	grant_key_forget_strays(grant);
	grant->stray_keys = alloc_zeroed(answer->n_names, sizeof(*grant->stray_keys));
	for (size_t i = 0; i < answer->n_names; i++)
		grant->stray_keys[i] = alloc_copy(answer->names[i]);
	grant->n_stray = answer->n_names;
	discard_next(grant);
}

static void verify_answered(struct grant *grant, const struct dsec_error *err)
{
	if (!err) {
		if (++grant->n_verified == VERIFY_TIMES)
			grant_verified(grant);
		else
			limiter_submit_after(&grant->principal->account->limiter, &grant->key_call,
					     LIMITER_FREE, VERIFY_SPACING_MS);
		return;
	}
	grant->n_verified = 0;
	if (!limiter_transient(err)) {
		grant_retry_or_fail(grant, &grant->key_call, err);
		return;
	}
	grant->error = *err;
	grant->has_error = true;
	limiter_retry(&grant->key_call, VERIFY_BACKOFF_MS, VERIFY_BACKOFF_CAP_MS);
}

static void answered(struct limiter_call *call, const struct provider_answer *answer,
		     const struct dsec_error *err)
{
	struct grant *grant = container_of(call, struct grant, key_call);

	if (grant->key_step == KEY_CREATE)
		learn(grant, answer, err);
	if (grant->abandoned) {
		grant_abandoned_answered(grant);
		return;
	}
	if (grant->key_step == KEY_CREATE) {
		create_answered(grant, answer, err);
	} else if (grant->key_step == KEY_VERIFY) {
		verify_answered(grant, err);
	} else if (grant->key_step == KEY_LIST && !err) {
		listed(grant, answer);
	} else if (grant->key_step == KEY_DISCARD &&
		   (!err || err->kind == DSEC_ERROR_NO_SUCH_ENTITY)) {
		grant->n_discarded++;
		discard_next(grant);
	} else {
		grant_retry_or_fail(grant, call, err);
	}
}

void grant_key_init(struct grant *grant)
{
	grant->key_call.fill = fill;
	grant->key_call.done = answered;
}
