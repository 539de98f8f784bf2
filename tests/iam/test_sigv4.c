/* The signatures are Amazon's own published examples (the SigV4 test suite and the IAM guide). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sigv4.h"

#define SECRET               "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define LIST_USERS_SIGNATURE "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
#define NOW_MS               1440938160000 /* 20150830T123600Z */
#define CLAIM(scope, names, signature)                                                             \
	"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/" scope                        \
	"/aws4_request, SignedHeaders=" names ", Signature=" signature

static const struct header list_users_headers[] = {
	{"authorization", CLAIM("iam", "content-type;host;x-amz-date", LIST_USERS_SIGNATURE)},
	{"content-type", "application/x-www-form-urlencoded; charset=utf-8"},
	{"host", "iam.amazonaws.com"},
	{"x-amz-date", "20150830T123600Z"},
};

static struct sigv4_request list_users(void)
{
	return (struct sigv4_request){
		.method = "GET",
		.target = "/?Action=ListUsers&Version=2010-05-08",
		.headers = list_users_headers,
		.n_headers = sizeof(list_users_headers) / sizeof(list_users_headers[0]),
		.body = "",
	};
}

static enum sigv4_verdict verify(const struct sigv4_request *request, const char *secret,
				 int64_t now_ms, char *reason)
{
	struct sigv4 claim;
	enum sigv4_verdict verdict = sigv4_parse(request, &claim, reason);

	return verdict != SIGV4_OK
		       ? verdict
		       : sigv4_verify(request, &claim, secret, "us-east-1", "iam", now_ms, reason);
}

static void assert_signature(const char *method, const char *target, const struct header *headers,
			     size_t n_headers, const char *signed_headers, const char *body,
			     const char *right)
{
	const struct sigv4_request request = {
		.method = method,
		.target = target,
		.headers = headers,
		.n_headers = n_headers,
		.body = body,
		.body_size = strlen(body),
	};
	struct sigv4 claim = {
		.date = "20150830",
		.region = "us-east-1",
		.service = "service",
		.amz_date = "20150830T123600Z",
	};
	char signature[SIGV4_SIGNATURE_SIZE];

	snprintf(claim.signed_headers, sizeof(claim.signed_headers), "%s", signed_headers);
	sigv4_sign(&request, &claim, SECRET, signature);
	assert_string_equal(signature, right);
}

static void test_published_vectors_come_out_as_published(void **state)
{
	static const struct header plain[] = {
		{"host", "example.amazonaws.com"},
		{"x-amz-date", "20150830T123600Z"},
	};
	static const struct header form[] = {
		{"content-type", "application/x-www-form-urlencoded"},
		{"host", "example.amazonaws.com"},
		{"x-amz-date", "20150830T123600Z"},
	};
	static const char empty[] =
		"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

	assert_signature("GET", "/", plain, 2, "host;x-amz-date", "", empty);
	assert_signature("GET", "/?Param2=value2&Param1=value1", plain, 2, "host;x-amz-date", "",
			 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	assert_signature("POST", "/", plain, 2, "host;x-amz-date", "",
			 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
	assert_signature("POST", "/", form, 3, "content-type;host;x-amz-date", "Param1=value1",
			 "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

static void test_right_request_is_accepted(void **state)
{
	struct sigv4_request request = list_users();
	char reason[SIGV4_REASON_MAX];

	assert_int_equal(verify(&request, SECRET, NOW_MS, reason), SIGV4_OK);
}

static void test_changed_body_query_or_secret_is_refused(void **state)
{
	struct sigv4_request request = list_users();
	char reason[SIGV4_REASON_MAX];

	request.body = "Action=DeleteUser";
	request.body_size = strlen(request.body);
	assert_int_equal(verify(&request, SECRET, NOW_MS, reason), SIGV4_MISMATCH);

	request = list_users();
	request.target = "/?Action=ListUsers&Version=2010-05-09";
	assert_int_equal(verify(&request, SECRET, NOW_MS, reason), SIGV4_MISMATCH);

	request = list_users();
	assert_int_equal(verify(&request, "another", NOW_MS, reason), SIGV4_MISMATCH);
	assert_non_null(strstr(reason, "does not match the signature you provided"));
}

static void test_old_and_early_signatures_are_refused(void **state)
{
	const int64_t tolerance = SIGV4_CLOCK_TOLERANCE_MS;
	struct sigv4_request request = list_users();
	char reason[SIGV4_REASON_MAX];

	assert_int_equal(verify(&request, SECRET, NOW_MS + tolerance, reason), SIGV4_OK);
	assert_int_equal(verify(&request, SECRET, NOW_MS - tolerance, reason), SIGV4_OK);
	assert_int_equal(verify(&request, SECRET, NOW_MS + tolerance + 1000, reason),
			 SIGV4_MISMATCH);
	assert_string_equal(reason, "Signature expired: 20150830T123600Z is now earlier than "
				    "20150830T123601Z (20150830T124101Z - 5 min.)");
	assert_int_equal(verify(&request, SECRET, NOW_MS - tolerance - 1000, reason),
			 SIGV4_MISMATCH);
	assert_string_equal(reason, "Signature not yet current: 20150830T123600Z is still later "
				    "than 20150830T123559Z (20150830T123059Z + 5 min.)");
}

static void assert_verdict_with(size_t index, const char *value, enum sigv4_verdict right)
{
	struct sigv4_request request = list_users();
	struct header headers[sizeof(list_users_headers) / sizeof(list_users_headers[0])];
	char reason[SIGV4_REASON_MAX];

	memcpy(headers, list_users_headers, sizeof(headers));
	headers[index].value = value;
	request.headers = headers;
	assert_int_equal(verify(&request, SECRET, NOW_MS, reason), right);
}

static void test_unsigned_host_date_and_content_type_are_refused(void **state)
{
	assert_verdict_with(0, CLAIM("iam", "content-type;x-amz-date", LIST_USERS_SIGNATURE),
			    SIGV4_MISMATCH);
	assert_verdict_with(0, CLAIM("iam", "content-type;host", LIST_USERS_SIGNATURE),
			    SIGV4_MISMATCH);
	assert_verdict_with(0, CLAIM("iam", "host;x-amz-date", LIST_USERS_SIGNATURE),
			    SIGV4_MISMATCH);
}

static void test_foreign_scopes_are_refused(void **state)
{
	struct sigv4_request request = list_users();
	struct sigv4 claim;
	char reason[SIGV4_REASON_MAX];

	sigv4_parse(&request, &claim, reason);
	assert_int_equal(sigv4_verify(&request, &claim, SECRET, "us-east-1", "sts", NOW_MS, reason),
			 SIGV4_MISMATCH);
	assert_string_equal(reason, "Credential should be scoped to correct service: 'sts'. ");
	assert_int_equal(sigv4_verify(&request, &claim, SECRET, "eu-west-1", "iam", NOW_MS, reason),
			 SIGV4_MISMATCH);
	assert_string_equal(reason, "Credential should be scoped to a valid region. ");
	memcpy(claim.date, "20150829", 9);
	assert_int_equal(sigv4_verify(&request, &claim, SECRET, "us-east-1", "iam", NOW_MS, reason),
			 SIGV4_MISMATCH);
	assert_non_null(strstr(reason, "Date in Credential scope"));
}

static void test_unreadable_authorization_is_incomplete(void **state)
{
	assert_verdict_with(0, "AWS4-HMAC-SHA256 Credential=A/B/C", SIGV4_INCOMPLETE);
	assert_verdict_with(0, "AWS4-HMAC-SHA256", SIGV4_INCOMPLETE);
	assert_verdict_with(0, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", SIGV4_INCOMPLETE);
	assert_verdict_with(0,
			    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws3, "
			    "SignedHeaders=host, Signature=00",
			    SIGV4_INCOMPLETE);
	assert_verdict_with(3, "yesterday", SIGV4_MISMATCH);
}

static void test_unsigned_request_is_told_apart(void **state)
{
	struct sigv4_request request = list_users();
	struct sigv4 claim;
	char reason[SIGV4_REASON_MAX];

	request.headers++;
	request.n_headers--;
	assert_int_equal(sigv4_parse(&request, &claim, reason), SIGV4_MISSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vectors_come_out_as_published),
		cmocka_unit_test(test_right_request_is_accepted),
		cmocka_unit_test(test_changed_body_query_or_secret_is_refused),
		cmocka_unit_test(test_old_and_early_signatures_are_refused),
		cmocka_unit_test(test_unsigned_host_date_and_content_type_are_refused),
		cmocka_unit_test(test_foreign_scopes_are_refused),
		cmocka_unit_test(test_unreadable_authorization_is_incomplete),
		cmocka_unit_test(test_unsigned_request_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
