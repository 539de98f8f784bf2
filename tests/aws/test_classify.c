#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "aws/classify.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY"

static bool holds_secret(const void *arg, const char *text)
{
	return strstr(text, SECRET) != NULL;
}

static struct outcome refusal(long status, const char *code)
{
	return (struct outcome){
		.curl = CURLE_OK,
		.curl_text = "",
		.sent = true,
		.status = status,
		.answer = {.root = "ErrorResponse",
			   .code = code,
			   .message = "the words of AWS",
			   .request_id = "id-1"},
	};
}

static struct dsec_error classified(const struct outcome *outcome)
{
	struct dsec_error err = {0};

	assert_true(classify(outcome, "CreateUser", holds_secret, NULL, &err) < 0);
	assert_memory_equal(err.message, "CreateUser: ", strlen("CreateUser: "));
	return err;
}

static void each_code_has_its_kind(void **state)
{
	static const struct {
		long status;
		const char *code;
		enum dsec_error_kind kind;
		bool ambiguous;
	} known[] = {
		{404, "NoSuchEntity", DSEC_ERROR_NO_SUCH_ENTITY, false},
		{409, "EntityAlreadyExists", DSEC_ERROR_EXISTS, false},
		{409, "DeleteConflict", DSEC_ERROR_CONFLICT, false},
		{400, "Throttling", DSEC_ERROR_THROTTLED, false},
		{400, "ThrottlingException", DSEC_ERROR_THROTTLED, false},
		{503, "RequestLimitExceeded", DSEC_ERROR_THROTTLED, false},
		{503, "SlowDown", DSEC_ERROR_THROTTLED, false},
		{429, "SomethingNew", DSEC_ERROR_THROTTLED, false},
		{409, "ConcurrentModification", DSEC_ERROR_BUSY, false},
		{409, "EntityTemporarilyUnmodifiable", DSEC_ERROR_BUSY, false},
		{400, "RequestTimeout", DSEC_ERROR_BUSY, false},
		{500, "ServiceFailure", DSEC_ERROR_BUSY, true},
		{500, "InternalFailure", DSEC_ERROR_BUSY, true},
		{503, "ServiceUnavailable", DSEC_ERROR_BUSY, true},
		{504, "SomethingNew", DSEC_ERROR_BUSY, true},
		{409, "LimitExceeded", DSEC_ERROR_QUOTA, false},
		{403, "AccessDenied", DSEC_ERROR_DENIED, false},
		{403, "SomethingNew", DSEC_ERROR_DENIED, false},
		{403, "InvalidClientTokenId", DSEC_ERROR_CREDENTIALS, false},
		{403, "InvalidAccessKeyId", DSEC_ERROR_CREDENTIALS, false},
		{401, "AuthFailure", DSEC_ERROR_CREDENTIALS, false},
		{403, "SignatureDoesNotMatch", DSEC_ERROR_CREDENTIALS, false},
		{403, "ExpiredToken", DSEC_ERROR_CREDENTIALS, false},
		{403, "RequestTimeTooSkewed", DSEC_ERROR_CLOCK_SKEW, false},
		{400, "MalformedPolicyDocument", DSEC_ERROR_INVALID, false},
		{400, "InvalidInput", DSEC_ERROR_INVALID, false},
		{400, "ValidationError", DSEC_ERROR_INVALID, false},
		{405, "MethodNotAllowed", DSEC_ERROR_INVALID, false},
		{400, "InvalidAction", DSEC_ERROR_INVALID, false},
		{301, "PermanentRedirect", DSEC_ERROR_FAULT, false},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct outcome outcome = refusal(known[i].status, known[i].code);
		struct dsec_error err = classified(&outcome);

		assert_int_equal(err.kind, known[i].kind);
		assert_int_equal(err.ambiguous, known[i].ambiguous);
		assert_string_equal(err.code, known[i].code);
		assert_string_equal(err.request_id, "id-1");
	}
}

static void no_answer_is_ambiguous_where_the_request_was_sent(void **state)
{
	static const struct {
		CURLcode curl;
		bool sent;
		enum dsec_error_kind kind;
	} known[] = {
		{CURLE_COULDNT_RESOLVE_HOST, false, DSEC_ERROR_UNREACHABLE},
		{CURLE_COULDNT_CONNECT, false, DSEC_ERROR_UNREACHABLE},
		{CURLE_PEER_FAILED_VERIFICATION, false, DSEC_ERROR_UNREACHABLE},
		{CURLE_OPERATION_TIMEDOUT, false, DSEC_ERROR_UNREACHABLE},
		{CURLE_OPERATION_TIMEDOUT, true, DSEC_ERROR_TIMEOUT},
		{CURLE_GOT_NOTHING, true, DSEC_ERROR_UNREACHABLE},
		{CURLE_RECV_ERROR, true, DSEC_ERROR_UNREACHABLE},
		{CURLE_SEND_ERROR, true, DSEC_ERROR_UNREACHABLE},
		{CURLE_PARTIAL_FILE, true, DSEC_ERROR_UNREACHABLE},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct outcome outcome = {.curl = known[i].curl,
					  .curl_text = "as libcurl says",
					  .sent = known[i].sent,
					  .answer = {.fault = "is empty",
						     .root = "",
						     .code = "",
						     .message = "",
						     .request_id = ""}};
		struct dsec_error err = classified(&outcome);

		assert_int_equal(err.kind, known[i].kind);
		assert_int_equal(err.ambiguous, known[i].sent);
		assert_non_null(strstr(err.message, "as libcurl says"));
	}
}

static void an_answer_that_is_none_is_ambiguous(void **state)
{
	static const struct {
		long status;
		enum dsec_error_kind kind;
	} known[] = {{200, DSEC_ERROR_FAULT},
		     {302, DSEC_ERROR_FAULT},
		     {403, DSEC_ERROR_DENIED},
		     {404, DSEC_ERROR_INVALID},
		     {502, DSEC_ERROR_BUSY}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct outcome outcome = refusal(known[i].status, "");

		outcome.answer.fault = "is no XML";
		outcome.curl = CURLE_WRITE_ERROR; /* the parser would have no more of it */
		struct dsec_error err = classified(&outcome);
		assert_int_equal(err.kind, known[i].kind);
		assert_true(err.ambiguous);
	}
}

static void an_answer_without_a_reason_is_ambiguous(void **state)
{
	struct outcome outcome = refusal(500, "");
	struct dsec_error err = classified(&outcome);

	assert_int_equal(err.kind, DSEC_ERROR_BUSY);
	assert_true(err.ambiguous);
	assert_non_null(strstr(err.message, "does not say why"));
}

static void an_error_under_a_good_status_is_an_error(void **state)
{
	struct outcome outcome = refusal(200, "NoSuchEntity");

	assert_int_equal(classified(&outcome).kind, DSEC_ERROR_NO_SUCH_ENTITY);
}

static void no_text_gives_a_secret_away(void **state)
{
	struct outcome outcome = refusal(403, "AccessDenied");
	struct dsec_error err;

	outcome.answer.message = "is not allowed with " SECRET;
	err = classified(&outcome);
	assert_null(strstr(err.message, SECRET));
	outcome = refusal(403, SECRET);
	outcome.answer.request_id = SECRET;
	err = classified(&outcome);
	assert_null(strstr(err.message, SECRET));
	assert_string_equal(err.code, "");
	assert_string_equal(err.request_id, "");
}

/* Its words repeat the request, with the session token in it. */
static void the_words_about_a_signature_are_not_repeated(void **state)
{
	struct outcome outcome = refusal(403, "SignatureDoesNotMatch");
	struct dsec_error err = classified(&outcome);

	assert_null(strstr(err.message, "the words of AWS"));
	outcome = refusal(403, "AccessDenied");
	err = classified(&outcome);
	assert_non_null(strstr(err.message, "the words of AWS"));
	assert_non_null(strstr(err.message, "dsec integration policy"));
}

static void an_unknown_action_is_told_from_an_unknown_entity(void **state)
{
	struct outcome outcome = refusal(404, "NoSuchEntity");

	assert_false(classify_is_unknown_action(&outcome));
	outcome = refusal(405, "MethodNotAllowed");
	assert_true(classify_is_unknown_action(&outcome));
	outcome = refusal(400, "InvalidAction");
	assert_true(classify_is_unknown_action(&outcome));
	outcome = refusal(404, "");
	assert_true(classify_is_unknown_action(&outcome));
	outcome = refusal(403, "AccessDenied");
	assert_false(classify_is_unknown_action(&outcome));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_code_has_its_kind),
		cmocka_unit_test(no_answer_is_ambiguous_where_the_request_was_sent),
		cmocka_unit_test(an_answer_that_is_none_is_ambiguous),
		cmocka_unit_test(an_answer_without_a_reason_is_ambiguous),
		cmocka_unit_test(an_error_under_a_good_status_is_an_error),
		cmocka_unit_test(no_text_gives_a_secret_away),
		cmocka_unit_test(the_words_about_a_signature_are_not_repeated),
		cmocka_unit_test(an_unknown_action_is_told_from_an_unknown_entity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
