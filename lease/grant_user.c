#include <stdio.h>
#include <string.h>

#include "lease/grant.h"

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct grant *grant = container_of(call, struct grant, user_call);
	const struct principal *principal = grant->principal;
	const struct dynamic_secret *secret = &principal->recipe->secret;

	to->user = principal->record.user;
	switch (grant->user_step) {
	case USER_CREATE:
		to->op = PROVIDER_CREATE_USER;
		to->path = principal->record.path;
		to->permissions_boundary = secret->permissions_boundary;
		to->tags = secret->tags;
		to->n_tags = secret->n_tags;
		break;
	case USER_LOOK:
		to->op = PROVIDER_GET_USER;
		break;
	case USER_POLICY:
		to->op = PROVIDER_PUT_POLICY;
		to->name = principal->record.policy_name;
		to->document = grant->document;
		break;
	case USER_ATTACH:
		to->op = PROVIDER_ATTACH_POLICY;
		to->name = secret->policy_arns[grant->n_attached];
		break;
	}
}

void grant_user_begin(struct grant *grant, enum grant_user_step step)
{
	grant->user_step = step;
	limiter_submit(&grant->principal->account->limiter, &grant->user_call, grant_class(grant));
}

static void begin_later(struct grant *grant, enum grant_user_step step)
{
	grant->user_step = step;
	limiter_retry(&grant->user_call, GRANT_BACKOFF_MS, GRANT_BACKOFF_CAP_MS);
}

static bool is_ours(const struct grant *grant, const struct provider_answer *answer)
{
	return answer->n_users > 0 &&
	       strcmp(answer->users[0].path, grant->principal->record.path) == 0;
}

/* A server's text, which goes into files, reports and the journal. */
static void set_arn(struct principal *principal, const char *arn)
{
	char safe[sizeof(((struct journal_record *)NULL)->arn)];

	dsec_print_safely(safe, sizeof(safe), arn ? arn : "");
	line_set(&principal->record.arn, safe);
}

/* What the answer says about the user, whatever becomes of the grant. */
static void learn(struct grant *grant, const struct provider_answer *answer,
		  const struct dsec_error *err)
{
	struct principal *principal = grant->principal;
	int64_t now = engine_now(principal->engine);
	bool may_be = err ? err->ambiguous : true;
	bool is = !err &&
		  (grant->user_step == USER_CREATE ? answer->n_users > 0 : is_ours(grant, answer));

	if (is) {
		set_arn(principal, answer->users[0].arn);
		principal->user_certain = true;
		grant->created_at = now;
	}
	if (is || (grant->user_step == USER_CREATE && may_be)) {
		grant->name_may_be_ours = true;
		principal->settled_at = now + CONSISTENCY_MS;
		principal_count(principal);
	}
	if (!is && grant->user_step == USER_CREATE && may_be) {
		principal->echo_at = now + CONSISTENCY_MS;
		principal->record.may_echo = 1; /* in each line from now on */
	}
}

static void create_answered(struct grant *grant, const struct provider_answer *answer,
			    const struct dsec_error *err)
{
	if (err && err->kind != DSEC_ERROR_EXISTS)
		grant_retry_or_fail(grant, &grant->user_call, err);
	else if (err && !grant->name_may_be_ours)
		grant_name_taken(grant);
	else if (err || answer->n_users == 0)
		grant_user_begin(grant, USER_LOOK);
	else
		grant_created(grant, answer->users[0].created_ms);
}

static void look_answered(struct grant *grant, const struct provider_answer *answer,
			  const struct dsec_error *err)
{
	if (err && err->kind == DSEC_ERROR_NO_SUCH_ENTITY)
		begin_later(grant, USER_CREATE); /* not shown yet, or never made: that tells */
	else if (err)
		grant_retry_or_fail(grant, &grant->user_call, err);
	else if (answer->n_users == 0)
		begin_later(grant, USER_LOOK); /* an answer that says nothing */
	else if (is_ours(grant, answer))
		grant_created(grant, answer->users[0].created_ms);
	else
		grant_name_taken(grant);
}

static void answered(struct limiter_call *call, const struct provider_answer *answer,
		     const struct dsec_error *err)
{
	struct grant *grant = container_of(call, struct grant, user_call);

	if (grant->user_step == USER_CREATE || grant->user_step == USER_LOOK)
		learn(grant, answer, err);
	if (grant->abandoned) {
		grant_abandoned_answered(grant);
		return;
	}
	switch (grant->user_step) {
	case USER_CREATE:
		create_answered(grant, answer, err);
		return;
	case USER_LOOK:
		look_answered(grant, answer, err);
		return;
	case USER_POLICY:
	case USER_ATTACH:
		break;
	}
	if (err) {
		grant_retry_or_fail(grant, call, err);
	} else if (grant->user_step == USER_POLICY) {
		grant->policy_stands = true;
		grant_equipped(grant);
	} else {
		grant->n_attached++;
		grant_attached(grant);
	}
}

void grant_user_init(struct grant *grant)
{
	grant->user_call.fill = fill;
	grant->user_call.done = answered;
}
