#include "lease/limiter.h"

#define RATE_RECOVERY  0.02 /* of the configured rate, regained with each success */
#define BACKOFF_SHIFTS 30   /* doublings after which no cap is left unreached */

static int64_t now_at(const struct limiter *limiter)
{
	return limiter->clock->boottime_at(limiter->clock);
}

bool limiter_transient(const struct dsec_error *err)
{
	switch (err->kind) {
	case DSEC_ERROR_TIMEOUT:
	case DSEC_ERROR_THROTTLED:
	case DSEC_ERROR_UNREACHABLE:
	case DSEC_ERROR_BUSY:
	case DSEC_ERROR_KEY_NOT_READY:
		return true;
	default:
		return err->ambiguous;
	}
}

int64_t limiter_jitter(const struct clock *clock, int64_t cap_ms)
{
	uint64_t bits;

	clock->random_bytes(clock, &bits, sizeof(bits));
	return 1 + (int64_t)(bits % (uint64_t)cap_ms);
}

/* How many calls may go at once after a pause: one second's worth. */
static double burst_of(double rate)
{
	return rate > 1 ? rate : 1;
}

static void set_pace(struct limiter *limiter, double rate)
{
	limiter->rate = rate;
	bucket_change(&limiter->bucket, burst_of(rate), rate / 1000, now_at(limiter));
}

static void slow_down(struct limiter *limiter, int64_t sent_at)
{
	if (sent_at < limiter->slowed_at)
		return;
	limiter->slowed_at = now_at(limiter);
	set_pace(limiter,
		 limiter->rate / 2 > LIMITER_RATE_MIN ? limiter->rate / 2 : LIMITER_RATE_MIN);
	bucket_drain(&limiter->bucket, limiter->slowed_at);
}

static void speed_up(struct limiter *limiter)
{
	if (limiter->rate >= limiter->rate_max)
		return;

	double rate = limiter->rate + limiter->rate_max * RATE_RECOVERY;

	set_pace(limiter, rate < limiter->rate_max ? rate : limiter->rate_max);
}

static struct limiter_call *most_urgent(const struct limiter *limiter)
{
	for (int class = LIMITER_KEYS; class < LIMITER_CLASSES; class ++)
		if (!list_empty(&limiter->queues[class]))
			return list_first(&limiter->queues[class], struct limiter_call, link);
	return NULL;
}

/* The one that has waited longest, too long, behind a class more urgent than its own. */
static struct limiter_call *passed_over(const struct limiter *limiter,
					const struct limiter_call *urgent, int64_t now)
{
	struct limiter_call *oldest = NULL;

	for (int class = (int)urgent->class + 1; class < LIMITER_CLASSES; class ++) {
		const struct list *queue = &limiter->queues[class];

		if (list_empty(queue))
			continue;

		struct limiter_call *call = list_first(queue, struct limiter_call, link);

		if (now - call->since_at >= LIMITER_PATIENCE_MS &&
		    (!oldest || call->since_at < oldest->since_at))
			oldest = call;
	}
	return oldest;
}

/* The call that goes next, out of its queue, or NULL: nothing waits, or no token is left. */
static struct limiter_call *take_next(struct limiter *limiter, int64_t now)
{
	struct limiter_call *call;

	if (!list_empty(&limiter->queues[LIMITER_FREE])) {
		call = list_first(&limiter->queues[LIMITER_FREE], struct limiter_call, link);
	} else {
		call = most_urgent(limiter);
		if (!call || !bucket_take(&limiter->bucket, now))
			return NULL;
		if (++limiter->turns % LIMITER_FAIR_SHARE == 0) {
			struct limiter_call *patient = passed_over(limiter, call, now);

			call = patient ? patient : call;
		}
	}
	list_remove(&call->link);
	return call;
}

static void answered(void *arg, const struct provider_answer *answer, const struct dsec_error *err);

static void send(struct limiter *limiter, struct limiter_call *call, int64_t now)
{
	struct provider_call request = {.timeout_ms = LIMITER_CALL_TIMEOUT_MS};

	call->fill(call, &request);
	call->op = request.op;
	call->state = LIMITER_IN_FLIGHT;
	call->since_at = now;
	call->provider = limiter->provider;
	limiter->in_flight++;
	limiter->counters.sent[call->op]++;
	call->handle = call->provider->ops->submit(call->provider, &request, answered, call);
}

static void dispatch(struct limiter *limiter)
{
	int64_t now = now_at(limiter);
	struct limiter_call *call;

	while (limiter->in_flight < LIMITER_IN_FLIGHT_MAX && (call = take_next(limiter, now)))
		send(limiter, call, now);

	/* With all places taken, the next answer comes here again; else the next token does. */
	if (limiter->in_flight < LIMITER_IN_FLIGHT_MAX && most_urgent(limiter))
		timer_arm(limiter->timers, &limiter->next, bucket_next_at(&limiter->bucket, now));
	else
		timer_disarm(limiter->timers, &limiter->next);
}

static void next_token(struct timer *timer)
{
	dispatch(container_of(timer, struct limiter, next));
}

const int64_t limiter_bounds_ms[LIMITER_BOUNDS] = {10,  25,   50,   100,  250,
						   500, 1000, 2500, 5000, 10000};

static void count_time(struct limiter_times *times, int64_t ms)
{
	size_t class = 0;

	while (class < LIMITER_BOUNDS && ms > limiter_bounds_ms[class])
		class ++;
	times->n[class]++;
	times->ms += (uint64_t)ms;
}

static void count_answer(struct limiter *limiter, const struct limiter_call *call,
			 const struct dsec_error *err)
{
	int64_t took = now_at(limiter) - call->since_at;

	limiter->counters.waited_ms += (uint64_t)took;
	count_time(&limiter->counters.took[call->op][!err], took);
	if (err)
		limiter->counters.failed[call->op][err->kind]++;
	else
		limiter->counters.succeeded[call->op]++;
}

static void answered(void *arg, const struct provider_answer *answer, const struct dsec_error *err)
{
	struct limiter_call *call = arg;
	struct limiter *limiter = call->limiter;

	call->state = LIMITER_IDLE;
	call->handle = 0;
	limiter->in_flight--;
	count_answer(limiter, call, err);
	if (call->class != LIMITER_FREE) {
		if (err && err->kind == DSEC_ERROR_THROTTLED)
			slow_down(limiter, call->since_at);
		else if (!err)
			speed_up(limiter);
	}
	if (answer->server_ms != 0 &&
	    server_clock_learn(&limiter->calendar, call->since_at, answer->server_ms) &&
	    limiter->calendar_learnt)
		limiter->calendar_learnt(limiter);

	call->done(call, answer, err); /* which may free the call */
	dispatch(limiter);
}

static void enqueue(struct limiter_call *call)
{
	struct limiter *limiter = call->limiter;

	call->state = LIMITER_QUEUED;
	call->since_at = now_at(limiter);
	list_append(&limiter->queues[call->class], &call->link);
	dispatch(limiter);
}

static void delay_over(struct timer *timer)
{
	enqueue(container_of(timer, struct limiter_call, delay));
}

static void submit_after(struct limiter_call *call, int64_t delay_ms)
{
	struct limiter *limiter = call->limiter;

	if (delay_ms <= 0) {
		enqueue(call);
		return;
	}
	call->state = LIMITER_DELAYED;
	call->delay.fire = delay_over;
	timer_arm(limiter->timers, &call->delay, now_at(limiter) + delay_ms);
}

void limiter_submit_after(struct limiter *limiter, struct limiter_call *call,
			  enum limiter_class class, int64_t delay_ms)
{
	call->limiter = limiter;
	call->class = class;
	call->failures = 0;
	submit_after(call, delay_ms);
}

void limiter_submit(struct limiter *limiter, struct limiter_call *call, enum limiter_class class)
{
	limiter_submit_after(limiter, call, class, 0);
}

void limiter_retry(struct limiter_call *call, int64_t base_ms, int64_t cap_ms)
{
	unsigned shifts = call->failures < BACKOFF_SHIFTS ? call->failures : BACKOFF_SHIFTS;
	int64_t cap = base_ms << shifts;

	call->failures++;
	call->limiter->counters.retried++;
	submit_after(call, limiter_jitter(call->limiter->clock, cap < cap_ms ? cap : cap_ms));
}

void limiter_hurry(struct limiter_call *call, enum limiter_class class)
{
	if (call->class <= class || call->state == LIMITER_IDLE || call->state == LIMITER_IN_FLIGHT)
		return;
	call->class = class;
	if (call->state == LIMITER_QUEUED) {
		list_remove(&call->link);
		list_append(&call->limiter->queues[class], &call->link);
	}
}

bool limiter_cancel(struct limiter_call *call)
{
	struct limiter *limiter = call->limiter;
	enum limiter_state state = call->state;

	call->state = LIMITER_IDLE;
	switch (state) {
	case LIMITER_IDLE:
		break;
	case LIMITER_DELAYED:
		timer_disarm(limiter->timers, &call->delay);
		break;
	case LIMITER_QUEUED:
		list_remove(&call->link);
		break;
	case LIMITER_IN_FLIGHT:
		call->provider->ops->cancel(call->provider, call->handle);
		limiter->in_flight--;
		dispatch(limiter);
		return true;
	}
	return false;
}

void limiter_set_rate(struct limiter *limiter, double rate)
{
	if (limiter->rate_max == rate)
		return;
	limiter->rate_max = rate;
	set_pace(limiter, rate);
	dispatch(limiter);
}

void limiter_init(struct limiter *limiter, const struct clock *clock, struct timers *timers,
		  struct provider *provider, double rate)
{
	*limiter = (struct limiter){
		.clock = clock,
		.timers = timers,
		.provider = provider,
		.rate = rate,
		.rate_max = rate,
		.next.fire = next_token,
	};
	server_clock_init(&limiter->calendar, clock);
	bucket_init(&limiter->bucket, burst_of(rate), rate / 1000, now_at(limiter));
	for (int class = 0; class < LIMITER_CLASSES; class ++)
		list_init(&limiter->queues[class]);
}

void limiter_finish(struct limiter *limiter)
{
	timer_disarm(limiter->timers, &limiter->next);
}
