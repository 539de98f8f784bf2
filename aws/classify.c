#include "aws/classify.h"

#include <stdio.h>
#include <string.h>

#include "aws/aws.h"

#define QUOTE_MAX 240 /* of AWS's own message */

enum family {
	FAMILY_ENTITY,
	FAMILY_THROTTLED,
	FAMILY_BUSY,
	FAMILY_QUOTA,
	FAMILY_DENIED,
	FAMILY_KEY,   /* the key is refused: unknown, gone or expired */
	FAMILY_CLOCK, /* the key is refused, or what was signed was too old or too new */
	FAMILY_INVALID,
	FAMILY_UNKNOWN, /* the server does not know the action */
};

/* IAM's and STS's codes, with those by which Ceph and moto say the same. */
static const struct {
	const char *code;
	enum dsec_error_kind kind;
	enum family family;
	const char *advice;
} codes[] = {
	{"NoSuchEntity", DSEC_ERROR_NO_SUCH_ENTITY, FAMILY_ENTITY, "there is no such entity"},
	{"EntityAlreadyExists", DSEC_ERROR_EXISTS, FAMILY_ENTITY, "it exists already"},
	{"DeleteConflict", DSEC_ERROR_CONFLICT, FAMILY_ENTITY, "something is still attached to it"},

	{"Throttling", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"ThrottlingException", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"ThrottledException", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"RequestThrottled", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"RequestThrottledException", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"RequestLimitExceeded", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"TooManyRequests", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"TooManyRequestsException", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"SlowDown", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},
	{"BandwidthLimitExceeded", DSEC_ERROR_THROTTLED, FAMILY_THROTTLED, NULL},

	{"ConcurrentModification", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"EntityTemporarilyUnmodifiable", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"RequestTimeout", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"RequestTimeoutException", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"PriorRequestNotComplete", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"ServiceFailure", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"ServiceUnavailable", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"InternalFailure", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},
	{"InternalError", DSEC_ERROR_BUSY, FAMILY_BUSY, NULL},

	{"LimitExceeded", DSEC_ERROR_QUOTA, FAMILY_QUOTA, "a quota of the AWS account is used up"},
	{"LimitExceededException", DSEC_ERROR_QUOTA, FAMILY_QUOTA,
	 "a quota of the AWS account is used up"},

	{"AccessDenied", DSEC_ERROR_DENIED, FAMILY_DENIED, NULL},
	{"AccessDeniedException", DSEC_ERROR_DENIED, FAMILY_DENIED, NULL},
	{"UnauthorizedOperation", DSEC_ERROR_DENIED, FAMILY_DENIED, NULL},

	{"InvalidClientTokenId", DSEC_ERROR_CREDENTIALS, FAMILY_KEY, "the access key is not known"},
	{"InvalidAccessKeyId", DSEC_ERROR_CREDENTIALS, FAMILY_KEY, "the access key is not known"},
	{"UnrecognizedClientException", DSEC_ERROR_CREDENTIALS, FAMILY_KEY,
	 "the access key is not known"},
	{"AuthFailure", DSEC_ERROR_CREDENTIALS, FAMILY_KEY, "the access key is not accepted"},
	{"ExpiredToken", DSEC_ERROR_CREDENTIALS, FAMILY_KEY, "the session token has expired"},
	{"ExpiredTokenException", DSEC_ERROR_CREDENTIALS, FAMILY_KEY,
	 "the session token has expired"},
	{"InvalidToken", DSEC_ERROR_CREDENTIALS, FAMILY_KEY, "the session token is not valid"},
	{"MissingAuthenticationToken", DSEC_ERROR_CREDENTIALS, FAMILY_KEY,
	 "the request's signature was not seen"},
	{"IncompleteSignature", DSEC_ERROR_CREDENTIALS, FAMILY_KEY,
	 "the request's signature was not understood"},
	{"SignatureDoesNotMatch", DSEC_ERROR_CREDENTIALS, FAMILY_CLOCK,
	 "the secret access key does not belong to the access key"},
	{"InvalidSignatureException", DSEC_ERROR_CREDENTIALS, FAMILY_CLOCK,
	 "the secret access key does not belong to the access key"},
	{"RequestExpired", DSEC_ERROR_CLOCK_SKEW, FAMILY_CLOCK,
	 "what was signed is too old or too new: compare the local clock with AWS's"},
	{"RequestTimeTooSkewed", DSEC_ERROR_CLOCK_SKEW, FAMILY_CLOCK,
	 "what was signed is too old or too new: compare the local clock with AWS's"},
	{"RequestInTheFuture", DSEC_ERROR_CLOCK_SKEW, FAMILY_CLOCK,
	 "what was signed is too old or too new: compare the local clock with AWS's"},

	{"InvalidAction", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"UnknownOperation", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"UnknownOperationException", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"UnsupportedOperation", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"NoSuchAction", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"MethodNotAllowed", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},
	{"NotImplemented", DSEC_ERROR_INVALID, FAMILY_UNKNOWN, NULL},

	{"MalformedPolicyDocument", DSEC_ERROR_INVALID, FAMILY_INVALID,
	 "the policy is not one that IAM accepts"},
	{"PolicyNotAttachable", DSEC_ERROR_INVALID, FAMILY_INVALID,
	 "the managed policy cannot be attached to a user"},
};
#define N_CODES (sizeof(codes) / sizeof(codes[0]))

/* The code's place in the table, or N_CODES. */
static size_t find_code(const char *code)
{
	size_t i = 0;

	while (i < N_CODES && strcmp(codes[i].code, code) != 0)
		i++;
	return i;
}

static bool code_is_of(const char *code, enum family family)
{
	size_t i = find_code(code);

	return i < N_CODES && codes[i].family == family;
}

bool classify_is_key_refused(const char *code)
{
	return code_is_of(code, FAMILY_KEY) || code_is_of(code, FAMILY_CLOCK);
}

bool classify_may_be_skew(const char *code)
{
	return code_is_of(code, FAMILY_CLOCK);
}

bool classify_is_unknown_action(const struct outcome *outcome)
{
	return outcome->curl == CURLE_OK &&
	       (outcome->status == 404 || outcome->status == 405 || outcome->status == 501 ||
		code_is_of(outcome->answer.code, FAMILY_UNKNOWN)) &&
	       strcmp(outcome->answer.code, "NoSuchEntity") != 0;
}

/* No whole answer came. What was not sent cannot have had an effect. */
static int classify_transport(const struct outcome *outcome, const char *action,
			      struct dsec_error *err)
{
	if (outcome->too_big)
		dsec_error_set(err, DSEC_ERROR_FAULT, "%s: the answer is longer than %lu bytes",
			       action, AWS_ANSWER_SIZE_MAX);
	else if (outcome->died)
		dsec_error_set(err, DSEC_ERROR_UNREACHABLE,
			       "%s: the server closed the connection without an answer", action);
	else if (outcome->curl == CURLE_OPERATION_TIMEDOUT && outcome->sent)
		dsec_error_set(err, DSEC_ERROR_TIMEOUT, "%s: no answer in time (%s)", action,
			       outcome->curl_text);
	else if (outcome->curl == CURLE_OUT_OF_MEMORY)
		dsec_error_set(err, DSEC_ERROR_FAULT, "%s: out of memory", action);
	else if (outcome->sent)
		dsec_error_set(err, DSEC_ERROR_UNREACHABLE,
			       "%s: the connection broke before the answer was whole (%s)", action,
			       outcome->curl_text);
	else
		dsec_error_set(err, DSEC_ERROR_UNREACHABLE, "%s: no connection to the server (%s)",
			       action, outcome->curl_text);
	err->ambiguous = outcome->sent;
	return -dsec_error_errno(err->kind);
}

static enum dsec_error_kind kind_of_status(long status)
{
	switch (status) {
	case 401:
	case 403:
		return DSEC_ERROR_DENIED;
	case 408:
	case 409:
		return DSEC_ERROR_BUSY;
	case 429:
		return DSEC_ERROR_THROTTLED;
	default:
		if (status >= 500)
			return DSEC_ERROR_BUSY;
		return status >= 400 ? DSEC_ERROR_INVALID : DSEC_ERROR_FAULT;
	}
}

/* What to tell a reader of a code that is not in the table, or has no advice there. */
static const char *advice_of_kind(enum dsec_error_kind kind)
{
	switch (kind) {
	case DSEC_ERROR_THROTTLED:
		return "AWS asks for fewer calls";
	case DSEC_ERROR_BUSY:
		return "AWS asks to try again later";
	case DSEC_ERROR_DENIED:
		return "the integration's IAM policy does not allow it; \"dsec integration "
		       "policy\" "
		       "prints the one it needs";
	case DSEC_ERROR_INVALID:
		return "AWS does not accept the request";
	default:
		return "AWS did not do it";
	}
}

static int classify_fault(const struct outcome *outcome, const char *action, struct dsec_error *err)
{
	const char *fault = outcome->answer.fault ? outcome->answer.fault : "does not say why";

	if (outcome->answer.no_space)
		dsec_error_set(err, DSEC_ERROR_NO_SPACE, "%s: the answer %s", action, fault);
	else if (outcome->status >= 300 && outcome->status < 400)
		dsec_error_set(err, DSEC_ERROR_FAULT,
			       "%s: the server answers with a redirect (HTTP %ld): is the "
			       "integration's endpoint right?",
			       action, outcome->status);
	else if (classify_is_unknown_action(outcome))
		dsec_error_set(err, DSEC_ERROR_INVALID,
			       "%s: the server does not know this call (HTTP %ld): is the "
			       "integration's endpoint right?",
			       action, outcome->status);
	else
		dsec_error_set(err, kind_of_status(outcome->status), "%s: the answer %s (HTTP %ld)",
			       action, fault, outcome->status);
	err->ambiguous = true;
	return -dsec_error_errno(err->kind);
}

/* AWS's own words help where the reason is in what was asked for. Those about a signature repeat
 * the request with its session token, and are left out; so is, by `forbidden`, whatever else
 * repeats a secret. */
static bool words_help(enum dsec_error_kind kind)
{
	return kind == DSEC_ERROR_DENIED || kind == DSEC_ERROR_INVALID ||
	       kind == DSEC_ERROR_QUOTA || kind == DSEC_ERROR_CONFLICT ||
	       kind == DSEC_ERROR_NO_SUCH_ENTITY;
}

static int classify_refusal(const struct outcome *outcome, const char *action,
			    bool (*forbidden)(const void *arg, const char *text), const void *arg,
			    struct dsec_error *err)
{
	const struct answer_result *answer = &outcome->answer;
	size_t i = find_code(answer->code);
	enum dsec_error_kind kind = i < N_CODES ? codes[i].kind : kind_of_status(outcome->status);
	const char *advice = i < N_CODES ? codes[i].advice : NULL;
	const char *code = forbidden(arg, answer->code) ? "" : answer->code;
	bool quote = *answer->message && words_help(kind) && !forbidden(arg, answer->message);

	if (!advice)
		advice = classify_is_unknown_action(outcome) ? "the server does not know this call"
							     : advice_of_kind(kind);
	dsec_error_set(err, kind, "%s: %s (%.*s%s%.*s%s)", action, advice, DSEC_ERROR_CODE_MAX,
		       code, quote ? ": " : "", quote ? QUOTE_MAX : 0, quote ? answer->message : "",
		       quote && strlen(answer->message) > QUOTE_MAX ? "…" : "");
	dsec_print_safely(err->code, sizeof(err->code), code);
	/* Throttling is decided before anything is done, whatever the status says. */
	err->ambiguous = outcome->status >= 500 && kind != DSEC_ERROR_THROTTLED;
	return -dsec_error_errno(kind);
}

int classify(const struct outcome *outcome, const char *action,
	     bool (*forbidden)(const void *arg, const char *text), const void *arg,
	     struct dsec_error *err)
{
	const struct answer_result *answer = &outcome->answer;
	int r;

	/* A write error alone is the parser's: it had seen enough. */
	if (outcome->too_big ||
	    (outcome->curl != CURLE_OK && !(outcome->curl == CURLE_WRITE_ERROR && answer->fault)))
		return classify_transport(outcome, action, err);
	if (outcome->status >= 200 && outcome->status < 300 && !answer->fault && !*answer->code)
		return 0;
	if (answer->fault || !*answer->code)
		r = classify_fault(outcome, action, err);
	else
		r = classify_refusal(outcome, action, forbidden, arg, err);
	if (!forbidden(arg, answer->request_id))
		dsec_print_safely(err->request_id, sizeof(err->request_id), answer->request_id);
	return r;
}
