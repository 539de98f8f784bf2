/*
 * call.c: the life of a call: keys, one exchange (two, for the few operations that need two), and
 * the answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aws/backend.h"
#include "aws/query.h"
#include "lease/alloc.h"

struct call {
	struct list link;
	uint64_t handle;
	struct backend *backend;
	provider_done *done;
	void *arg;

	enum provider_op op;
	enum provider_attachment attachment;
	bool asks_for_self; /* GET_USER without a name */
	char *name, *marker;
	struct query query;
	bool is_second; /* the operation's second exchange */
	int64_t deadline_at;

	struct keys *given; /* VERIFY_KEY: the lease's */
	struct keys *keys;  /* that sign, or signed last */
	int64_t signed_ms;
	struct exchange *exchange;
	/* Due at once when `err` is to be told, at the deadline while it waits for keys. */
	struct timer timer;
	bool failed, refused; /* with `err`; refused: to be told unless there are other keys now */
	struct dsec_error err;
	int64_t server_ms;
};

static void on_exchange(void *arg, const struct outcome *outcome);

static int64_t local_ms(const struct backend *backend)
{
	return backend->loop->clock->calendar_ms(backend->loop->clock);
}

/* AWS's time as far as it is known. */
static int64_t aws_ms(const struct backend *backend)
{
	return local_ms(backend) + (backend->skew.known ? backend->skew.offset_ms : 0);
}

static enum ahead_server server_of(const struct call *call)
{
	return call->query.service == QUERY_STS ? AHEAD_STS : AHEAD_IAM;
}

static void release(struct call *call)
{
	list_remove(&call->link);
	timer_disarm(&call->backend->loop->timers, &call->timer);
	if (call->exchange)
		ahead_ended(&call->backend->ahead, server_of(call), false);
	exchange_cancel(call->exchange);
	query_finish(&call->query);
	keys_unref(call->given);
	keys_unref(call->keys);
	free(call->name);
	free(call->marker);
	free(call);
}

/* The call is in no list while its owner is told, so that whatever the owner does cannot meet it.
 */
static void finish(struct call *call, struct provider_answer answer, const struct dsec_error *err)
{
	list_remove(&call->link);
	answer.server_ms = call->server_ms;
	call->done(call->arg, &answer, err);
	release(call);
}

static void finish_with_error(struct call *call)
{
	finish(call, (struct provider_answer){.users_used = -1, .users_quota = -1}, &call->err);
}

/* From the loop's dispatch, because nobody is told from within submit. */
static void fail_later(struct call *call)
{
	call->failed = true;
	timer_arm(&call->backend->loop->timers, &call->timer, INT64_MIN);
}

/*
 * Starting an exchange.
 */

static const char *sts_region(const struct integration *integration)
{
	/* The one endpoint that is no region's. */
	return strstr(integration->sts_endpoint, "://sts.amazonaws.com") ? "us-east-1"
									 : integration->region;
}

static int start_exchange(struct call *call)
{
	struct backend *backend = call->backend;
	const struct integration *integration = backend->integration;
	bool sts = call->query.service == QUERY_STS;
	struct request request = {
		.url = sts ? integration->sts_endpoint : integration->endpoint,
		.service = sts ? "sts" : "iam",
		.region = sts ? sts_region(integration) : integration->signing_region,
		.ca_file = integration->ca_file,
		.body = call->query.form.text,
		.n_body = call->query.form.n,
		.keys = call->keys,
		.signed_ms = skew_signing_time(&backend->skew, local_ms(backend)),
		.timeout_ms = call->deadline_at - loop_now(backend->loop),
		.names = &call->query.names,
	};

	call->signed_ms = request.signed_ms;
	if (request.timeout_ms <= 0)
		return dsec_error_set(&call->err, DSEC_ERROR_TIMEOUT, "%s: no time is left for it",
				      call->query.action);

	int r = exchange_start(&call->exchange, &backend->http, &request, on_exchange, call,
			       &call->err);
	if (r == 0)
		ahead_began(&backend->ahead, server_of(call));
	/* After that: this call is to have the connection that there may be. */
	if (r == 0 && call->op == PROVIDER_CREATE_USER)
		ahead_open(&backend->ahead);
	return r;
}

/* Keys were refused. Where their source has others by now, the call may be tried again: a refused
 * one had no effect. */
static void settle_refusal(struct call *call, struct keys *current)
{
	if (!keys_equal(current, call->keys))
		dsec_error_set(&call->err, DSEC_ERROR_BUSY,
			       "%s: refused, but the integration's credentials have changed since",
			       call->query.action);
	fail_later(call);
}

/* Gets keys and goes on with what they are for, or waits for them. */
static void get_keys(struct call *call)
{
	_cleanup_keys_ struct keys *keys = NULL;
	struct dsec_error err;
	int r = 0;

	if (call->given)
		keys = keys_ref(call->given);
	else
		r = keyring_get(call->backend->keyring, aws_ms(call->backend), &keys, &err);
	if (r == -EINPROGRESS) {
		timer_arm(&call->backend->loop->timers, &call->timer, call->deadline_at);
		return;
	}
	if (call->refused && r == 0) {
		settle_refusal(call, keys);
		return;
	}
	if (r == 0) {
		keys_unref(call->keys);
		call->keys = keys_ref(keys);
		r = start_exchange(call);
	} else if (!call->refused) {
		call->err = err;
		dsec_error_wrap(&call->err, "the integration's credentials");
	}
	if (r < 0)
		fail_later(call);
}

static void on_timer(struct timer *timer)
{
	struct call *call = container_of(timer, struct call, timer);

	if (!call->failed && loop_now(call->backend->loop) < call->deadline_at) {
		get_keys(call);
		return;
	}
	if (!call->failed && !call->refused)
		dsec_error_set(&call->err, DSEC_ERROR_TIMEOUT,
			       "%s: the integration's credentials did not come in time",
			       call->query.action);
	finish_with_error(call);
}

void backend_keys_changed(void *arg)
{
	struct backend *backend = arg;

	list_each (link, &backend->calls) {
		struct call *call = container_of(link, struct call, link);

		if (!call->exchange && !call->failed)
			timer_arm(&backend->loop->timers, &call->timer, INT64_MIN);
	}
}

static void start_second(struct call *call)
{
	call->is_second = true;
	if (start_exchange(call) < 0)
		fail_later(call);
}

/*
 * What an exchange means for its operation.
 */

static bool has_user(const struct call *call, const struct provider_answer *found)
{
	return found->n_users == 1 && (call->asks_for_self || *found->users[0].name);
}

static bool all_have_names(const struct provider_answer *found)
{
	for (size_t i = 0; i < found->n_users; i++)
		if (!*found->users[i].name)
			return false;
	return true;
}

/* What a good answer lacks all the same; NULL: nothing. */
static const char *find_lack(const struct call *call, const struct provider_answer *found)
{
	switch (call->op) {
	case PROVIDER_CREATE_USER:
	case PROVIDER_GET_USER:
		return has_user(call, found) ? NULL : "names no user";
	case PROVIDER_CREATE_KEY:
		return found->access_key_id && found->secret_access_key ? NULL : "holds no key";
	case PROVIDER_LIST_USERS:
		if (!all_have_names(found))
			return "has a user without a name";
		break;
	default:
		break;
	}
	if (found->marker && call->marker && strcmp(found->marker, call->marker) == 0)
		return "is the same page again";
	return NULL;
}

static void succeed(struct call *call, const struct provider_answer *found)
{
	const char *lack = find_lack(call, found);

	if (!lack) {
		finish(call, *found, NULL);
		return;
	}
	dsec_error_set(&call->err, DSEC_ERROR_FAULT, "%s: the answer %s", call->query.action, lack);
	call->err.ambiguous = true;
	finish_with_error(call);
}

/* Did the server refuse for a reason that it can only have when it knows the key? */
static bool knows_key(const struct dsec_error *err)
{
	if (err->ambiguous || !*err->code)
		return false;
	return err->kind == DSEC_ERROR_DENIED || err->kind == DSEC_ERROR_INVALID ||
	       err->kind == DSEC_ERROR_NO_SUCH_ENTITY || err->kind == DSEC_ERROR_QUOTA;
}

static void after_verify(struct call *call, const struct outcome *outcome, int r)
{
	if (r < 0 && call->query.service == QUERY_STS && classify_is_unknown_action(outcome)) {
		call->backend->no_sts = true;
		query_own_user(&call->query);
		start_second(call);
		return;
	}
	if (r == 0 || knows_key(&call->err)) {
		finish(call, outcome->answer.found, NULL);
		return;
	}
	if (call->err.kind == DSEC_ERROR_CREDENTIALS) {
		call->err.kind = DSEC_ERROR_KEY_NOT_READY;
		dsec_error_wrap(&call->err, "the new key is not accepted yet");
	}
	finish_with_error(call);
}

/* Who am I? A user that may not ask IAM, and a role, which IAM knows no user of, can ask STS. */
static void after_own_user(struct call *call, const struct outcome *outcome, int r,
			   const struct dsec_error *first)
{
	if (r == 0) {
		succeed(call, &outcome->answer.found);
	} else if (!call->is_second &&
		   (call->err.kind == DSEC_ERROR_DENIED || call->err.kind == DSEC_ERROR_INVALID)) {
		query_caller_identity(&call->query);
		start_second(call);
	} else {
		if (call->is_second && classify_is_unknown_action(outcome))
			call->err = *first;
		finish_with_error(call);
	}
}

/* A deactivated device that is virtual is deleted too, also when the deactivation was an earlier
 * attempt's. */
static void after_mfa_removal(struct call *call, const struct outcome *outcome, int r)
{
	bool gone = r < 0 && call->err.kind == DSEC_ERROR_NO_SUCH_ENTITY;

	if (!call->is_second && (r == 0 || gone) && query_mfa_device_is_virtual(call->name)) {
		query_delete_mfa_device(&call->query, call->name);
		start_second(call);
	} else if (r == 0 || (call->is_second && gone)) {
		finish(call, outcome->answer.found, NULL);
	} else {
		finish_with_error(call);
	}
}

/* GetLoginProfile is a list of at most one, which has no name. */
static void after_login_profile(struct call *call, const struct outcome *outcome, int r)
{
	static const char *const names[] = {""};
	struct provider_answer answer = outcome->answer.found;

	if (r < 0 && call->err.kind != DSEC_ERROR_NO_SUCH_ENTITY) {
		finish_with_error(call);
		return;
	}
	answer.names = names;
	answer.n_names = r == 0 ? 1 : 0;
	finish(call, answer, NULL);
}

static void after_exchange(struct call *call, const struct outcome *outcome, int r,
			   const struct dsec_error *first)
{
	if (call->op == PROVIDER_VERIFY_KEY)
		after_verify(call, outcome, r);
	else if (call->asks_for_self)
		after_own_user(call, outcome, r, first);
	else if (call->op == PROVIDER_REMOVE && call->attachment == ATTACHMENT_MFA_DEVICE)
		after_mfa_removal(call, outcome, r);
	else if (call->op == PROVIDER_LIST && call->attachment == ATTACHMENT_LOGIN_PROFILE)
		after_login_profile(call, outcome, r);
	else if (call->op == PROVIDER_SUMMARY && r < 0 && classify_is_unknown_action(outcome))
		finish(call, outcome->answer.found, NULL); /* it does not tell */
	else if (r == 0)
		succeed(call, &outcome->answer.found);
	else
		finish_with_error(call);
}

static bool holds_secret(const void *arg, const char *text)
{
	return keys_appear_in(arg, text);
}

static int classify_call(struct call *call, const struct outcome *outcome)
{
	struct backend *backend = call->backend;
	int r = classify(outcome, call->query.action, holds_secret, call->keys, &call->err);
	struct dsec_error skewed;

	if (r == 0 || !classify_may_be_skew(call->err.code) ||
	    skew_explains(&backend->skew, call->signed_ms, local_ms(backend), &skewed) == 0)
		return r;
	dsec_error_wrap(&skewed, "%s", call->query.action);
	call->err.kind = skewed.kind;
	memcpy(call->err.message, skewed.message, sizeof(skewed.message));
	return -dsec_error_errno(skewed.kind);
}

static void on_exchange(void *arg, const struct outcome *outcome)
{
	struct call *call = arg;
	struct dsec_error first = call->err;
	int r;

	call->exchange = NULL; /* it ends by itself */
	ahead_ended(&call->backend->ahead, server_of(call), outcome->status > 0);
	call->server_ms = outcome->server_ms;
	skew_learn(&call->backend->skew, outcome->server_ms, local_ms(call->backend));
	r = classify_call(call, outcome);
	if (r < 0 && !call->given && call->err.kind == DSEC_ERROR_CREDENTIALS) {
		keyring_refused(call->backend->keyring, call->keys);
		call->refused = true;
		get_keys(call);
		return;
	}
	after_exchange(call, outcome, r, &first);
}

/*
 * Submitting.
 */

static int make_given(struct call *call, const struct provider_call *asked)
{
	int r = keys_new(&call->given, asked->access_key_id,
			 (struct secret *)asked->secret_access_key, NULL, 0, &call->err);

	if (r < 0)
		dsec_error_wrap(&call->err, "the key to verify");
	return r;
}

uint64_t backend_submit(struct provider *provider, const struct provider_call *asked,
			provider_done *done, void *arg)
{
	struct backend *backend = container_of(provider, struct backend, provider);
	struct call *call = alloc_zeroed(1, sizeof(*call));
	int r = 0;

	*call = (struct call){
		.handle = ++backend->last_handle,
		.backend = backend,
		.done = done,
		.arg = arg,
		.op = asked->op,
		.attachment = asked->attachment,
		.asks_for_self = asked->op == PROVIDER_GET_USER && !asked->user,
		.name = alloc_copy(asked->name),
		.marker = alloc_copy(asked->marker),
		.deadline_at = loop_now(backend->loop) + asked->timeout_ms,
		.timer.fire = on_timer,
	};
	list_append(&backend->calls, &call->link);
	query_build(&call->query, asked);
	if (asked->op == PROVIDER_VERIFY_KEY) {
		if (backend->no_sts)
			query_own_user(&call->query);
		r = make_given(call, asked);
	}
	if (r < 0)
		fail_later(call);
	else
		get_keys(call);
	return call->handle;
}

void backend_cancel(struct provider *provider, uint64_t handle)
{
	struct backend *backend = container_of(provider, struct backend, provider);

	list_each (link, &backend->calls) {
		struct call *call = container_of(link, struct call, link);

		if (call->handle == handle) {
			release(call);
			return;
		}
	}
}

void backend_drop_calls(struct backend *backend)
{
	list_each (link, &backend->calls) {
		release(container_of(link, struct call, link));
	}
}
