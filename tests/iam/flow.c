/*
 * The life of an API call, from its arrival over what was asked to go wrong with it to its answer.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "actions.h"
#include "ids.h"

enum step {
	STEP_DELAY_BEFORE,
	STEP_HOLD_BEFORE,
	STEP_EFFECT,
	STEP_DELAY_AFTER,
	STEP_HOLD_AFTER,
	STEP_ANSWER,
};

static const char *const namespaces[] = {
	[SERVICE_IAM] = "https://iam.amazonaws.com/doc/2010-05-08/",
	[SERVICE_STS] = "https://sts.amazonaws.com/doc/2011-06-15/",
	[SERVICE_EC2] = "http://ec2.amazonaws.com/doc/2016-11-15/",
};

static enum service service_of(const char *version)
{
	return !version                         ? SERVICE_IAM
	       : !strcmp(version, "2011-06-15") ? SERVICE_STS
	       : !strcmp(version, "2016-11-15") ? SERVICE_EC2
						: SERVICE_IAM;
}

static void free_call(void *work)
{
	struct call *call = work;

	if (call->held)
		call->server->n_held--;
	form_free(call->form);
	fault_plan_finish(&call->plan);
	xml_clear(&call->xml);
	free(call->message);
	free(call);
}

/* UserName, or who claims to call: what faults are matched with, before anything is verified. */
static const char *named_user(const struct call *call)
{
	const struct view everything = {.fresh = true};
	const char *name = form_get(call->form, "UserName");
	const struct access_key *key =
		name ? NULL : store_key(call->server->store, call->claim.key_id, &everything);

	return name ? name : key ? key->user->name : "";
}

static void write_error(struct call *call)
{
	struct xml *xml = &call->xml;
	const char *request_id = call->exchange->answer.request_id;

	xml_clear(xml);
	if (call->service == SERVICE_EC2) {
		xml_open(xml, "Response");
		xml_open(xml, "Errors");
	} else {
		xml_open_ns(xml, "ErrorResponse", namespaces[call->service]);
	}
	xml_open(xml, "Error");
	if (call->service != SERVICE_EC2)
		xml_string(xml, "Type", call->status < 500 ? "Sender" : "Receiver");
	xml_string(xml, "Code", call->code);
	xml_string(xml, "Message", call->message);
	xml_close(xml);
	if (call->service == SERVICE_EC2)
		xml_close(xml);
	xml_string(xml, call->service == SERVICE_EC2 ? "RequestID" : "RequestId", request_id);
	xml_close(xml);
}

static void begin_result(struct call *call, char *response, char *result)
{
	xml_open_ns(&call->xml, response, namespaces[call->service]);
	if (call->service == SERVICE_EC2)
		xml_string(&call->xml, "requestId", call->exchange->answer.request_id);
	if (call->action && call->action->has_result)
		xml_open(&call->xml, result);
}

static void end_result(struct call *call)
{
	if (call->action->has_result)
		xml_close(&call->xml);
	if (call->service != SERVICE_EC2) {
		xml_open(&call->xml, "ResponseMetadata");
		xml_string(&call->xml, "RequestId", call->exchange->answer.request_id);
		xml_close(&call->xml);
	}
	xml_close(&call->xml);
}

static void take_effect(struct call *call)
{
	_cleanup_free_ char *response = must_printf("%sResponse", call->name);
	_cleanup_free_ char *result = must_printf("%sResult", call->name);

	begin_result(call, response, result);
	call_perform(call);
	if (call->status == 200) {
		end_result(call);
		record_effect(&call->server->record, call->record);
	} else {
		write_error(call);
	}
}

static void fail_by_plan(struct call *call, const struct fault *fault)
{
	call->status = (unsigned)fault->status;
	call->code = fault->code;
	free(call->message);
	call->message = must_strdup(fault->message);
	write_error(call);
}

/* Replaces the right answer by what the fault says. */
static void spoil_answer(struct call *call, const struct fault *fault)
{
	struct answer *answer = &call->exchange->answer;
	struct text *body = &answer->body;

	switch (fault->kind) {
	case FAULT_HTML:
		answer->status = (unsigned)fault->status;
		answer->content_type = "text/html";
		text_clear(body);
		text_printf(body,
			    "<html>\n<head><title>%u</title></head>\n<body>\n<center><h1>%u</h1>"
			    "<br></center>\n</body>\n</html>\n",
			    answer->status, answer->status);
		break;
	case FAULT_DROP:
		answer->shape = ANSWER_DROPPED;
		break;
	case FAULT_EMPTY:
		text_clear(body);
		break;
	case FAULT_TEXT:
		text_clear(body);
		text_add(body, "upstream connect error or disconnect/reset before headers\n");
		break;
	case FAULT_CUT:
		body->size /= 2;
		body->data[body->size] = '\0';
		break;
	case FAULT_BROKEN:
		answer->shape = ANSWER_BROKEN;
		break;
	case FAULT_WRONG:
		text_clear(body);
		text_add(body,
			 "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
			 "<Name>other</Name><IsTruncated>false</IsTruncated>"
			 "</ListBucketResult>\n");
		break;
	case FAULT_HUGE:
		answer->shape = ANSWER_HUGE;
		break;
	case FAULT_ENDLESS:
		answer->shape = ANSWER_ENDLESS;
		break;
	case FAULT_DELAY:
	case FAULT_HOLD:
	case FAULT_ERROR:
		break;
	}
}

static void answer_call(struct call *call)
{
	struct exchange *exchange = call->exchange;
	const struct fault *fault = call->plan.answer;

	if (fault && fault->kind == FAULT_ERROR)
		fail_by_plan(call, fault);
	exchange->answer.status = call->status ? call->status : 200;
	exchange->answer.content_type = "text/xml";
	exchange->answer.date_ms = clock_wall_ms() + call->server->settings.date_off_ms;
	exchange->answer.body = call->xml.text;
	call->xml.text = (struct text){0};
	if (fault)
		spoil_answer(call, fault);
	call->record->status =
		exchange->answer.shape == ANSWER_DROPPED ? 0 : exchange->answer.status;
	snprintf(call->record->code, sizeof(call->record->code), "%s",
		 call->code ? call->code : "");
	exchange_finish(call->server, exchange);
}

static void hold(struct call *call)
{
	call->held = true;
	call->server->n_held++;
}

/* Whether the call's effect takes place: a fault before it prevents it. */
static bool is_effective(const struct call *call)
{
	return !call->plan.answer || call->plan.answer->after;
}

static void step_call(struct server *server, struct exchange *exchange)
{
	struct call *call = exchange->work;
	int64_t now_ms = clock_monotonic_ms();

	while (!exchange->done && !call->held &&
	       (exchange->wake_at == INT64_MAX || exchange->wake_at <= now_ms)) {
		enum step step = call->step++;

		exchange->wake_at = INT64_MAX;
		switch (step) {
		case STEP_DELAY_BEFORE:
		case STEP_DELAY_AFTER:
			if (call->plan.delay_ms[step == STEP_DELAY_AFTER] > 0)
				exchange->wake_at =
					now_ms + call->plan.delay_ms[step == STEP_DELAY_AFTER];
			break;
		case STEP_HOLD_BEFORE:
		case STEP_HOLD_AFTER:
			if (call->plan.hold[step == STEP_HOLD_AFTER])
				hold(call);
			break;
		case STEP_EFFECT:
			if (is_effective(call))
				take_effect(call);
			break;
		case STEP_ANSWER:
			answer_call(call);
			break;
		}
	}
}

void call_begin(struct server *server, struct exchange *exchange)
{
	struct call *call = must_alloc(sizeof(*call));
	const char *query = strchr(exchange->target, '?');
	const struct sigv4_request request = {
		.headers = exchange->headers,
		.n_headers = exchange->n_headers,
	};

	exchange->work = call;
	exchange->free_work = free_call;
	exchange->step = step_call;
	exchange->answer.request_id = id_request();
	call->server = server;
	call->exchange = exchange;
	if (!strcmp(exchange->method, "GET"))
		call->form = form_parse(query ? query + 1 : "", query ? strlen(query + 1) : 0);
	else
		call->form = form_parse(text_string(&exchange->body), exchange->body.size);

	const char *name = form_get(call->form, "Action");

	call->name = name ? name : "";
	call->service = service_of(form_get(call->form, "Version"));
	call->action = action_find(call->service, call->name);
	call->claim_verdict = sigv4_parse(&request, &call->claim, call->claim_reason);

	const char *user = named_user(call);

	call->plan = faults_plan(&server->faults, call->name, user);
	call->record = record_add(&server->record, call->name);
	call->record->wall_ms = clock_wall_ms();
	snprintf(call->record->user, sizeof(call->record->user), "%s", user);
	snprintf(call->record->access_key_id, sizeof(call->record->access_key_id), "%s",
		 call->claim.key_id);
}

/* The exchange's call, if it is one and held. */
static struct call *held_call(const struct exchange *exchange)
{
	struct call *call = exchange->step == step_call ? exchange->work : NULL;

	return call && call->held ? call : NULL;
}

void calls_release(struct server *server, const char *action, const char *user, bool drop)
{
	struct exchange *exchange;

	TAILQ_FOREACH (exchange, &server->pending, pending) {
		struct call *call = held_call(exchange);

		if (!call || !text_matches(action, call->name, false) ||
		    !text_matches(user, call->record->user, false))
			continue;
		call->held = false;
		server->n_held--;
		if (drop) {
			exchange->answer.shape = ANSWER_DROPPED;
			call->step = STEP_ANSWER;
		}
	}
}

json_t *calls_held(const struct server *server)
{
	json_t *ret = json_array();
	const struct exchange *exchange;

	TAILQ_FOREACH (exchange, &server->pending, pending) {
		const struct call *call = held_call(exchange);

		if (call)
			json_array_append_new(ret, json_pack("{s:s s:s s:b}", "action", call->name,
							     "user", call->record->user, "after",
							     (int)(call->step > STEP_EFFECT)));
	}
	return ret;
}
