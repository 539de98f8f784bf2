#include "lease/sweep.h"

#include <stdlib.h>

#include "lease/alloc.h"
#include "lease/identity.h"
#include "lease/removal.h"

/* A user whose removal has met with so many failures is left to the next sweep: a sweep ends, a
 * daemon does not. */
#define SWEEP_TROUBLES_MAX  12
#define SWEEP_TROUBLES_TOLD 4 /* so many of one user are told; fewer are AWS's daily bread */

/* Somebody waits for a sweep's end: a server that cannot be reached is given up soon. */
#define SWEEP_LIST_TRIES     8
#define SWEEP_REACH_TRIES    4
#define SWEEP_BACKOFF_MS     500
#define SWEEP_BACKOFF_CAP_MS 30000

struct sweep {
	const struct clock *clock;
	struct timers timers;
	struct limiter limiter;
	char *path;
	bool dry_run;
	sweep_report *report;
	sweep_done *done;
	void *arg;

	struct limiter_call list;
	char *marker;
	bool listed;
	struct list victims;
	size_t removed, failed;
	struct timer end; /* calls `done` */
	bool has_error;
	struct dsec_error error;
};

struct victim {
	struct sweep *sweep;
	struct list link;
	struct removal removal;
	struct timer give_up;
	char *name, *path, *arn;
	int64_t created_ms;
	unsigned troubles;
	struct dsec_error trouble;
};

static struct provider_user user_of(const struct victim *victim)
{
	return (struct provider_user){.name = victim->name,
				      .path = victim->path,
				      .arn = victim->arn,
				      .created_ms = victim->created_ms};
}

static void victim_free(struct victim *victim)
{
	removal_cancel(&victim->removal);
	timer_disarm(&victim->sweep->timers, &victim->give_up);
	list_remove(&victim->link);
	free(victim->name);
	free(victim->path);
	free(victim->arn);
	free(victim);
}

static void end_if_through(struct sweep *sweep)
{
	if (sweep->listed && list_empty(&sweep->victims))
		timer_arm(&sweep->timers, &sweep->end, sweep->clock->boottime_at(sweep->clock));
}

static void ended(struct timer *timer)
{
	struct sweep *sweep = container_of(timer, struct sweep, end);

	sweep->done(sweep->arg, sweep->removed, sweep->failed,
		    sweep->has_error ? &sweep->error : NULL);
}

static void finish_victim(struct victim *victim, enum sweep_event event, const char *reason,
			  const struct dsec_error *err)
{
	struct sweep *sweep = victim->sweep;
	const struct provider_user user = user_of(victim);

	sweep->removed += event == SWEEP_REMOVED;
	sweep->failed += event == SWEEP_FAILED;
	sweep->report(sweep->arg, event, &user, reason, err);
	victim_free(victim);
	end_if_through(sweep);
}

static void removal_done(struct removal *removal, enum removal_outcome outcome)
{
	struct victim *victim = container_of(removal, struct victim, removal);

	if (outcome == REMOVAL_FOREIGN)
		finish_victim(victim, SWEEP_KEPT, "its path has changed since it was listed", NULL);
	else
		finish_victim(victim, SWEEP_REMOVED, "expired", NULL);
}

static void keys_gone(struct removal *removal)
{
}

static void give_up(struct timer *timer)
{
	struct victim *victim = container_of(timer, struct victim, give_up);
	const struct dsec_error err = victim->trouble;

	finish_victim(victim, SWEEP_FAILED, "given up", &err);
}

/* What is refused for good at the last step: waiting mends nothing, and whoever runs a sweep waits
 * for its end. */
static bool is_final(enum provider_op op, const struct dsec_error *err)
{
	return op == PROVIDER_DELETE_USER && err->kind != DSEC_ERROR_CONFLICT &&
	       !limiter_transient(err);
}

static void trouble(struct removal *removal, enum provider_op op, const struct dsec_error *err)
{
	struct victim *victim = container_of(removal, struct victim, removal);
	struct sweep *sweep = victim->sweep;

	victim->trouble = *err;
	dsec_error_wrap(&victim->trouble, "%s", provider_op_name(op));
	victim->troubles++;
	if (victim->troubles == SWEEP_TROUBLES_TOLD) {
		const struct provider_user user = user_of(victim);

		sweep->report(sweep->arg, SWEEP_RETRYING, &user, NULL, &victim->trouble);
	}
	/* Not from within: the removal is still at it. */
	if (victim->troubles == SWEEP_TROUBLES_MAX || is_final(op, err))
		timer_arm(&sweep->timers, &victim->give_up,
			  sweep->clock->boottime_at(sweep->clock));
}

static const struct removal_owner owner = {
	.done = removal_done,
	.keys_gone = keys_gone,
	.trouble = trouble,
};

static void remove_user(struct sweep *sweep, const struct provider_user *user)
{
	struct victim *victim = alloc_zeroed(1, sizeof(*victim));

	victim->sweep = sweep;
	victim->name = alloc_copy(user->name);
	victim->path = alloc_copy(user->path);
	victim->arn = alloc_copy(user->arn);
	victim->created_ms = user->created_ms;
	victim->give_up.fire = give_up;
	victim->removal.owner = &owner;
	victim->removal.limiter = &sweep->limiter;
	victim->removal.user = (struct removal_user){
		.name = victim->name,
		.look_path = victim->path,
	};
	list_append(&sweep->victims, &victim->link);
	removal_start(&victim->removal);
}

static void judge(struct sweep *sweep, const struct provider_user *user)
{
	char daemon_id[DAEMON_ID_MAX];
	int64_t end_ms;

	if (!identity_parse_path(user->path, sweep->path, daemon_id, &end_ms)) {
		sweep->report(sweep->arg, SWEEP_KEPT, user, "its path is not of dsec's form", NULL);
		return;
	}
	if (!identity_user_name_valid(user->name)) {
		sweep->report(sweep->arg, SWEEP_KEPT, user, "its name is not of dsec's form", NULL);
		return;
	}
	if (end_ms + SWEEP_MARGIN_MS > server_clock_ms(&sweep->limiter.calendar)) {
		sweep->report(sweep->arg, SWEEP_KEPT, user, "not expired", NULL);
		return;
	}
	sweep->report(sweep->arg, SWEEP_FOUND, user, "expired", NULL);
	if (!sweep->dry_run)
		remove_user(sweep, user);
}

static void fill(struct limiter_call *call, struct provider_call *to)
{
	const struct sweep *sweep = container_of(call, struct sweep, list);

	to->op = PROVIDER_LIST_USERS;
	to->path = sweep->path;
	to->marker = sweep->marker;
	to->timeout_ms = LIMITER_LIST_TIMEOUT_MS;
}

static void end_list(struct sweep *sweep, const struct dsec_error *err)
{
	if (err) {
		sweep->has_error = true;
		sweep->error = *err;
	}
	sweep->listed = true;
	end_if_through(sweep);
}

static bool worth_another(const struct limiter_call *call, const struct dsec_error *err)
{
	bool reached = err->kind != DSEC_ERROR_UNREACHABLE && err->kind != DSEC_ERROR_TIMEOUT;

	return limiter_transient(err) &&
	       call->failures + 1 < (reached ? SWEEP_LIST_TRIES : SWEEP_REACH_TRIES);
}

static void listed(struct limiter_call *call, const struct provider_answer *answer,
		   const struct dsec_error *err)
{
	struct sweep *sweep = container_of(call, struct sweep, list);
	struct dsec_error no_clock;

	if (err) {
		if (worth_another(call, err)) {
			sweep->report(sweep->arg, SWEEP_RETRYING, NULL, NULL, err);
			limiter_retry(call, SWEEP_BACKOFF_MS, SWEEP_BACKOFF_CAP_MS);
		} else {
			end_list(sweep, err);
		}
		return;
	}
	if (!sweep->limiter.calendar.known) {
		dsec_error_set(&no_clock, DSEC_ERROR_FAULT,
			       "the server does not tell its time, and only by that is a user "
			       "known to be expired");
		end_list(sweep, &no_clock);
		return;
	}
	for (size_t i = 0; i < answer->n_users; i++)
		judge(sweep, &answer->users[i]);
	free(sweep->marker);
	sweep->marker = alloc_copy(answer->marker);
	if (sweep->marker)
		limiter_submit(&sweep->limiter, &sweep->list, LIMITER_LEASES);
	else
		end_list(sweep, NULL);
}

int sweep_start(struct sweep **ret, const struct clock *clock, struct provider *provider,
		const struct integration *integration, bool dry_run, sweep_report *report,
		sweep_done *done, void *arg, struct dsec_error *err)
{
	struct sweep *sweep = alloc_zeroed(1, sizeof(*sweep));

	sweep->clock = clock;
	sweep->path = alloc_copy(integration->path);
	sweep->dry_run = dry_run;
	sweep->report = report;
	sweep->done = done;
	sweep->arg = arg;
	sweep->list.fill = fill;
	sweep->list.done = listed;
	sweep->end.fire = ended;
	list_init(&sweep->victims);
	timers_init(&sweep->timers);
	limiter_init(&sweep->limiter, clock, &sweep->timers, provider, integration->rate);
	/* Before what it leads to: a marker must not grow old over thousands of removals. */
	limiter_submit(&sweep->limiter, &sweep->list, LIMITER_LEASES);
	*ret = sweep;
	return 0;
}

int64_t sweep_tick(struct sweep *sweep)
{
	timers_run(&sweep->timers, sweep->clock->boottime_at(sweep->clock));
	return timers_next(&sweep->timers);
}

struct sweep *sweep_free(struct sweep *sweep)
{
	if (!sweep)
		return NULL;
	list_each (at, &sweep->victims)
		victim_free(container_of(at, struct victim, link));
	if (sweep->list.state != LIMITER_IDLE)
		limiter_cancel(&sweep->list);
	limiter_finish(&sweep->limiter);
	timers_finish(&sweep->timers);
	free(sweep->marker);
	free(sweep->path);
	free(sweep);
	return NULL;
}
