#include "lease/removal.h"

#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

#define ALL_KINDS ((1u << ATTACHMENT_KINDS) - 1)

/* What dsec itself puts on a user: enough where nobody else has touched it. */
#define OWN_KINDS                                                                                  \
	(1u << ATTACHMENT_ACCESS_KEY | 1u << ATTACHMENT_MANAGED_POLICY |                           \
	 1u << ATTACHMENT_INLINE_POLICY)

#define PASS_DOUBLINGS 9 /* of REMOVAL_BACKOFF_MS, which the cap allows */

#define DETACHED_MAX 64 /* of more managed policies than IAM attaches to a user */

/* Keys first, since that is what somebody may hold; whatever can allow something before the inline
 * policies, since one of those is the Deny that holds it down. */
static const enum provider_attachment order[ATTACHMENT_KINDS] = {
	ATTACHMENT_ACCESS_KEY,    ATTACHMENT_MANAGED_POLICY,     ATTACHMENT_GROUP,
	ATTACHMENT_LOGIN_PROFILE, ATTACHMENT_MFA_DEVICE,         ATTACHMENT_SIGNING_CERTIFICATE,
	ATTACHMENT_SSH_KEY,       ATTACHMENT_SERVICE_CREDENTIAL, ATTACHMENT_INLINE_POLICY,
};

static void forget_page(struct removal *removal)
{
	for (size_t i = 0; i < removal->n_names; i++)
		free(removal->names[i]);
	free(removal->names);
	free(removal->marker);
	removal->names = NULL;
	removal->n_names = 0;
	removal->marker = NULL;
}

static void keep_page(struct removal *removal, const struct provider_answer *answer)
{
	forget_page(removal);
	removal->names = alloc_zeroed(answer->n_names, sizeof(*removal->names));
	for (size_t i = 0; i < answer->n_names; i++)
		removal->names[i] = alloc_copy(answer->names[i]);
	removal->n_names = answer->n_names;
	removal->marker = alloc_copy(answer->marker);
}

static enum provider_attachment kind_of(const struct removal *removal)
{
	return order[removal->kind];
}

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct removal *removal = container_of(call, struct removal, call);

	to->user = removal->user.name;
	switch (removal->step) {
	case REMOVAL_LOOK:
		to->op = PROVIDER_GET_USER;
		break;
	case REMOVAL_DETACH:
		to->op = PROVIDER_REMOVE;
		to->attachment = ATTACHMENT_MANAGED_POLICY;
		to->name = removal->user.policy_arns[removal->at];
		break;
	case REMOVAL_UNPOLICE:
		to->op = PROVIDER_REMOVE;
		to->attachment = ATTACHMENT_INLINE_POLICY;
		to->name = removal->user.policy_name;
		break;
	case REMOVAL_LIST:
		to->op = PROVIDER_LIST;
		to->attachment = kind_of(removal);
		to->marker = removal->marker;
		break;
	case REMOVAL_TAKE:
		to->op = PROVIDER_REMOVE;
		to->attachment = kind_of(removal);
		to->name = removal->names[removal->at];
		break;
	case REMOVAL_DELETE:
		to->op = PROVIDER_DELETE_USER;
		break;
	}
}

static void fill_key(struct limiter_call *call, struct provider_call *to)
{
	const struct removal *removal = container_of(call, struct removal, key_call);

	to->op = PROVIDER_REMOVE;
	to->user = removal->user.name;
	to->attachment = ATTACHMENT_ACCESS_KEY;
	to->name = removal->user.access_key_id;
}

static void submit_after(struct removal *removal, enum removal_step step, int64_t delay_ms)
{
	bool is_key = (step == REMOVAL_LIST || step == REMOVAL_TAKE) &&
		      kind_of(removal) == ATTACHMENT_ACCESS_KEY;

	removal->step = step;
	limiter_submit_after(removal->limiter, &removal->call, is_key ? LIMITER_KEYS : LIMITER_REST,
			     delay_ms);
}

static void submit(struct removal *removal, enum removal_step step)
{
	submit_after(removal, step, 0);
}

static void delete_user(struct removal *removal)
{
	removal->wait_for_key = removal->key_call.state != LIMITER_IDLE;
	if (!removal->wait_for_key)
		submit(removal, REMOVAL_DELETE);
}

/* Lists the next kind that is asked for and may be taken away, or goes on to DeleteUser. */
static void next_kind(struct removal *removal)
{
	for (; removal->kind < ATTACHMENT_KINDS; removal->kind++) {
		enum provider_attachment kind = kind_of(removal);

		if (!(removal->kinds & 1u << kind))
			continue;
		if (kind == ATTACHMENT_INLINE_POLICY && removal->allow_left)
			continue;
		forget_page(removal);
		submit(removal, REMOVAL_LIST);
		return;
	}
	forget_page(removal);
	delete_user(removal);
}

static bool is_detached(const struct removal *removal)
{
	return removal->at < DETACHED_MAX && removal->detached & UINT64_C(1) << removal->at;
}

/* Detaches the next managed policy that is known by name; then the inline policy goes, or what
 * else hangs on the user is listed, kind by kind. */
static void next_arn(struct removal *removal)
{
	while (removal->at < removal->user.n_policy_arns && is_detached(removal))
		removal->at++;
	if (removal->at < removal->user.n_policy_arns)
		submit(removal, REMOVAL_DETACH);
	else if (removal->kinds != 0)
		next_kind(removal);
	else if (removal->user.policy_name && !removal->allow_left)
		submit(removal, REMOVAL_UNPOLICE);
	else
		delete_user(removal);
}

static void kind_finished(struct removal *removal)
{
	enum provider_attachment kind = kind_of(removal);

	removal->kind++;
	if (kind != ATTACHMENT_ACCESS_KEY) {
		next_kind(removal);
		return;
	}
	if (!removal->keys_left)
		removal->owner->keys_gone(removal);
	removal->at = 0;
	next_arn(removal);
}

static void next_name(struct removal *removal)
{
	if (removal->at < removal->n_names)
		submit(removal, REMOVAL_TAKE);
	else if (removal->marker)
		submit(removal, REMOVAL_LIST);
	else
		kind_finished(removal);
}

/* Lists what hangs on the user, keys first, and takes it away; or, where all is known (kinds is 0),
 * takes that away. */
static void begin_pass(struct removal *removal, unsigned kinds, int64_t delay_ms)
{
	forget_page(removal);
	removal->kinds = kinds;
	removal->kind = 0;
	removal->at = 0;
	removal->allow_left = false;
	removal->keys_left = false;
	if (kinds != 0)
		submit_after(removal, REMOVAL_LIST, delay_ms);
	else
		next_arn(removal);
}

static void take_apart(struct removal *removal)
{
	if (removal->user.access_key_id)
		limiter_submit(removal->limiter, &removal->key_call, LIMITER_KEYS);
	begin_pass(removal, removal->user.known ? 0 : OWN_KINDS, 0);
}

static void looked(struct removal *removal, const struct provider_answer *answer,
		   const struct dsec_error *err)
{
	if (err)
		removal->owner->done(removal, REMOVAL_ABSENT);
	else if (answer->n_users == 0) /* an answer that says nothing */
		limiter_retry(&removal->call, REMOVAL_BACKOFF_MS, REMOVAL_BACKOFF_CAP_MS);
	else if (strcmp(answer->users[0].path, removal->user.look_path) != 0)
		removal->owner->done(removal, REMOVAL_FOREIGN);
	else
		take_apart(removal);
}

static int64_t now_at(const struct removal *removal)
{
	const struct clock *clock = removal->limiter->clock;

	return clock->boottime_at(clock);
}

/* Never beyond the moment from which on NoSuchEntity is believed: what kept the Deny until then was
 * perhaps never there. */
static int64_t pass_delay(const struct removal *removal)
{
	int64_t cap = REMOVAL_BACKOFF_CAP_MS;
	int64_t young = removal->user.settled_at - now_at(removal);

	if (removal->passes < PASS_DOUBLINGS)
		cap = (int64_t)REMOVAL_BACKOFF_MS << removal->passes;

	int64_t delay = limiter_jitter(removal->limiter->clock, cap);

	return young > 0 && delay > young ? young : delay;
}

static void deleted(struct removal *removal, const struct dsec_error *err)
{
	if (!err) {
		removal->owner->done(removal, REMOVAL_DELETED);
		return;
	}
	if (err->kind == DSEC_ERROR_NO_SUCH_ENTITY) {
		removal->owner->done(removal, REMOVAL_ABSENT);
		return;
	}

	/* DeleteConflict: something that we do not know of hangs on it, or a step was passed over,
	 * or a list did not show yet what is there. The first pass may well end it; a further one
	 * comes later. */
	if (removal->passes > 0)
		removal->owner->trouble(removal, PROVIDER_DELETE_USER, err);
	begin_pass(removal, ALL_KINDS, removal->passes > 0 ? pass_delay(removal) : 0);
	removal->passes++;
}

/* The step is done, or passed over: on to the next. */
static void go_on(struct removal *removal, const struct provider_answer *answer,
		  const struct dsec_error *err)
{
	switch (removal->step) {
	case REMOVAL_LOOK:
		looked(removal, answer, err);
		break;
	case REMOVAL_DETACH:
		if (!err && removal->at < DETACHED_MAX)
			removal->detached |= UINT64_C(1) << removal->at;
		removal->at++;
		next_arn(removal);
		break;
	case REMOVAL_UNPOLICE:
		delete_user(removal);
		break;
	case REMOVAL_LIST:
		keep_page(removal, answer);
		removal->at = 0;
		next_name(removal);
		break;
	case REMOVAL_TAKE:
		removal->at++;
		next_name(removal);
		break;
	case REMOVAL_DELETE:
		deleted(removal, err);
		break;
	}
}

/* Does this failure say that another attempt is of no use now, so that what else can be done is
 * done first? The last word is DeleteUser's, which is never passed over; nor is a look, which
 * protects what is not ours. */
static bool pass_over(const struct removal *removal, const struct dsec_error *err)
{
	if (removal->step == REMOVAL_DELETE || removal->step == REMOVAL_LOOK)
		return false;
	return !limiter_transient(err) || removal->call.failures >= REMOVAL_STEP_TRIES;
}

/* The step has not done what it was for. */
static void note_left(struct removal *removal)
{
	bool listed = removal->step == REMOVAL_LIST || removal->step == REMOVAL_TAKE;

	if (listed && kind_of(removal) == ATTACHMENT_ACCESS_KEY)
		removal->keys_left = true;
	if (removal->step == REMOVAL_DETACH ||
	    (listed && (kind_of(removal) == ATTACHMENT_MANAGED_POLICY ||
			kind_of(removal) == ATTACHMENT_GROUP)))
		removal->allow_left = true;
}

static void done(struct limiter_call *call, const struct provider_answer *answer,
		 const struct dsec_error *err)
{
	struct removal *removal = container_of(call, struct removal, call);
	bool settled = !err || err->kind == DSEC_ERROR_NO_SUCH_ENTITY ||
		       (err->kind == DSEC_ERROR_CONFLICT && removal->step == REMOVAL_DELETE);

	if (settled) {
		/* Of a young user IAM may say that what is there is not. */
		if (err && now_at(removal) < removal->user.settled_at)
			note_left(removal);
		go_on(removal, answer, err);
		return;
	}
	removal->owner->trouble(removal, call->op, err);
	if (!pass_over(removal, err)) {
		limiter_retry(call, REMOVAL_BACKOFF_MS, REMOVAL_BACKOFF_CAP_MS);
		return;
	}
	note_left(removal);

	const struct provider_answer nothing = {0};

	go_on(removal, &nothing, err);
}

static void key_done(struct limiter_call *call, const struct provider_answer *answer,
		     const struct dsec_error *err)
{
	struct removal *removal = container_of(call, struct removal, key_call);
	bool gone = !err || err->kind == DSEC_ERROR_NO_SUCH_ENTITY;

	if (!gone) {
		removal->owner->trouble(removal, call->op, err);
		if (limiter_transient(err) && call->failures < REMOVAL_STEP_TRIES) {
			limiter_retry(call, REMOVAL_BACKOFF_MS, REMOVAL_BACKOFF_CAP_MS);
			return;
		}
	}
	if (gone)
		removal->owner->keys_gone(removal);
	if (removal->wait_for_key)
		delete_user(removal);
}

void removal_start(struct removal *removal)
{
	removal->call.fill = fill;
	removal->call.done = done;
	removal->key_call.fill = fill_key;
	removal->key_call.done = key_done;
	removal->passes = 0;
	removal->detached = 0;
	removal->wait_for_key = false;
	if (removal->user.look_path)
		submit(removal, REMOVAL_LOOK);
	else
		take_apart(removal);
}

void removal_cancel(struct removal *removal)
{
	if (removal->call.state != LIMITER_IDLE)
		limiter_cancel(&removal->call);
	if (removal->key_call.state != LIMITER_IDLE)
		limiter_cancel(&removal->key_call);
	forget_page(removal);
}
