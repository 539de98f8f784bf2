#include "fault.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

static const struct {
	const char *name;
	enum fault_kind kind;
	bool after; /* where the description does not say */
} kinds[] = {
	{"delay", FAULT_DELAY, false},  {"hold", FAULT_HOLD, false},
	{"error", FAULT_ERROR, false},  {"html", FAULT_HTML, false},
	{"drop", FAULT_DROP, false},    {"empty", FAULT_EMPTY, true},
	{"text", FAULT_TEXT, true},     {"cut", FAULT_CUT, true},
	{"broken", FAULT_BROKEN, true}, {"wrong", FAULT_WRONG, true},
	{"huge", FAULT_HUGE, true},     {"endless", FAULT_ENDLESS, true},
};

void faults_init(struct faults *faults)
{
	TAILQ_INIT(&faults->all);
}

static void free_fault(struct fault *fault)
{
	free(fault->action);
	free(fault->user);
	free(fault->code);
	free(fault->message);
	free(fault);
}

void faults_clear(struct faults *faults)
{
	while (!TAILQ_EMPTY(&faults->all)) {
		struct fault *fault = TAILQ_FIRST(&faults->all);

		TAILQ_REMOVE(&faults->all, fault, all);
		free_fault(fault);
	}
}

static bool read_when(struct fault *fault, const char *when)
{
	if (!when)
		return true;
	fault->after = !strcmp(when, "after");
	return fault->after || !strcmp(when, "before");
}

static bool read_kind(struct fault *fault, const char *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, kind) != 0)
			continue;
		fault->kind = kinds[i].kind;
		fault->after = kinds[i].after;
		return true;
	}
	return false;
}

char *faults_add(struct faults *faults, const json_t *description)
{
	const char *kind = NULL, *when = NULL, *action = "*", *user = "*", *code = "Throttling",
		   *message = "Rate exceeded";
	json_int_t times = -1, skip = 0, every = 1, ms = 0, status = 400;
	json_error_t error;

	if (json_unpack_ex((json_t *)description, &error, JSON_STRICT,
			   "{s:s s?s s?s s?s s?I s?I s?I s?I s?I s?s s?s}", "kind", &kind, "when",
			   &when, "action", &action, "user", &user, "times", &times, "skip", &skip,
			   "every", &every, "ms", &ms, "status", &status, "code", &code, "message",
			   &message) < 0)
		return must_printf("fault: %s", error.text);

	struct fault *fault = must_alloc(sizeof(*fault));

	if (!read_kind(fault, kind) || !read_when(fault, when) || every < 1 || status < 200 ||
	    status > 599) {
		free_fault(fault);
		return must_printf("fault: no such kind (%s), when, every or status", kind);
	}
	fault->action = must_strdup(action);
	fault->user = must_strdup(user);
	fault->times = times;
	fault->skip = skip;
	fault->every = every;
	fault->ms = ms;
	fault->status = status;
	fault->code = must_strdup(code);
	fault->message = must_strdup(message);
	TAILQ_INSERT_TAIL(&faults->all, fault, all);
	return NULL;
}

static bool strikes(struct fault *fault, const char *action, const char *user)
{
	if (fault->times == 0 || !text_matches(fault->action, action, false) ||
	    !text_matches(fault->user, user, false))
		return false;

	int64_t number = (int64_t)fault->matched++;

	if (number < fault->skip || (number - fault->skip) % fault->every != 0)
		return false;
	if (fault->times > 0)
		fault->times--;
	return true;
}

static struct fault *copy_fault(const struct fault *fault)
{
	struct fault *copy = must_alloc(sizeof(*copy));

	*copy = *fault;
	copy->action = must_strdup(fault->action);
	copy->user = must_strdup(fault->user);
	copy->code = must_strdup(fault->code);
	copy->message = must_strdup(fault->message);
	return copy;
}

struct fault_plan faults_plan(struct faults *faults, const char *action, const char *user)
{
	struct fault_plan plan = {0};
	struct fault *fault;

	TAILQ_FOREACH (fault, &faults->all, all) {
		bool answers = fault->kind != FAULT_DELAY && fault->kind != FAULT_HOLD;

		if ((answers && plan.answer) || !strikes(fault, action, user))
			continue;
		if (fault->kind == FAULT_DELAY)
			plan.delay_ms[fault->after] += fault->ms;
		else if (fault->kind == FAULT_HOLD)
			plan.hold[fault->after] = true;
		else
			plan.answer = copy_fault(fault);
	}
	return plan;
}

void fault_plan_finish(struct fault_plan *plan)
{
	if (plan->answer)
		free_fault(plan->answer);
	*plan = (struct fault_plan){0};
}
