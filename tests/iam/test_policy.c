#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "text.h"

#define USER_ARN "arn:aws:iam::123456789012:user/x/alice"
#define NOW_MS   1714979289000 /* 2024-05-06T07:08:09Z */

static enum policy_verdict judge_with(const char *document, const char *action,
				      const char *resource, const json_t *keys)
{
	const struct policy_request request = {
		.action = action,
		.resource = resource,
		.now_ms = NOW_MS,
		.user_name = "alice",
		.user_id = "AIDAAAAAAAAAAAAAAAAA",
		.user_arn = USER_ARN,
		.account = "123456789012",
		.source_ip = "127.0.0.1",
		.secure_transport = false,
		.region = "us-east-1",
		.keys = keys,
	};
	char reason[POLICY_REASON_MAX];
	struct policy *policy = policy_parse(document, reason);

	if (!policy)
		fail_msg("%s: %s", reason, document);

	enum policy_verdict verdict = policy_judge(policy, &request);

	policy_free(policy);
	return verdict;
}

static enum policy_verdict judge(const char *document, const char *action, const char *resource)
{
	return judge_with(document, action, resource, NULL);
}

#define POLICY(statements) "{\"Version\": \"2012-10-17\", \"Statement\": [" statements "]}"
#define ALLOW_ALL          "{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}"
#define IF(effect, condition)                                                                      \
	"{\"Effect\": \"" effect                                                                   \
	"\", \"Action\": \"*\", \"Resource\": \"*\", \"Condition\": {" condition "}}"

static enum policy_verdict allow_if(const char *condition)
{
	_cleanup_free_ char *document = must_printf(POLICY(IF("Allow", "%s")), condition);

	return judge(document, "s3:Get", "*");
}

static enum policy_verdict deny_if(const char *condition)
{
	_cleanup_free_ char *document =
		must_printf(POLICY(ALLOW_ALL ", " IF("Deny", "%s")), condition);

	return judge(document, "s3:Get", "*");
}

static void test_what_is_not_allowed_is_not_allowed(void **state)
{
	const char *document = POLICY("{\"Effect\": \"Allow\", \"Action\": [\"ec2:Describe*\", "
				      "\"iam:Get?ser\"], \"Resource\": \"*\"}");

	assert_int_equal(judge(document, "ec2:DescribeInstances", "*"), POLICY_ALLOWS);
	assert_int_equal(judge(document, "EC2:describeinstances", "*"), POLICY_ALLOWS);
	assert_int_equal(judge(document, "iam:GetUser", USER_ARN), POLICY_ALLOWS);
	assert_int_equal(judge(document, "iam:GetUserPolicy", USER_ARN), POLICY_SILENT);
	assert_int_equal(judge(document, "ec2:RunInstances", "*"), POLICY_SILENT);
	assert_int_equal(judge(document, "xec2:DescribeInstances", "*"), POLICY_SILENT);
}

static void test_deny_wins_wherever_it_stands(void **state)
{
	const char *deny = "{\"Effect\": \"Deny\", \"Action\": \"s3:*\", \"Resource\": \"*\"}";
	_cleanup_free_ char *before = must_printf(POLICY("%s, " ALLOW_ALL), deny);
	_cleanup_free_ char *after = must_printf(POLICY(ALLOW_ALL ", %s"), deny);

	assert_int_equal(judge(before, "s3:Get", "*"), POLICY_DENIES);
	assert_int_equal(judge(after, "s3:Get", "*"), POLICY_DENIES);
	assert_int_equal(judge(after, "ec2:Get", "*"), POLICY_ALLOWS);
}

static void test_resources_outside_the_pattern_are_out_of_reach(void **state)
{
	const char *document = POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": "
				      "[\"arn:aws:iam::123456789012:user/x/*\"]}");
	const char *own = POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": "
				 "\"arn:aws:iam::123456789012:user/x/${aws:username}\"}");

	assert_int_equal(judge(document, "iam:GetUser", USER_ARN), POLICY_ALLOWS);
	assert_int_equal(judge(document, "iam:GetUser", "arn:aws:iam::123456789012:user/X/alice"),
			 POLICY_SILENT);
	assert_int_equal(judge(document, "iam:GetUser", "arn:aws:iam::123456789012:user/alice"),
			 POLICY_SILENT);
	assert_int_equal(judge(own, "iam:GetUser", USER_ARN), POLICY_ALLOWS);
	assert_int_equal(judge(own, "iam:GetUser", "arn:aws:iam::123456789012:user/x/bob"),
			 POLICY_SILENT);
}

static void test_not_action_and_not_resource_are_complements(void **state)
{
	const char *action = POLICY("{\"Effect\": \"Allow\", \"NotAction\": \"iam:*\", "
				    "\"Resource\": \"*\"}");
	const char *resource = POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", "
				      "\"NotResource\": \"arn:aws:s3:::secret*\"}");

	assert_int_equal(judge(action, "iam:GetUser", "*"), POLICY_SILENT);
	assert_int_equal(judge(action, "s3:Get", "*"), POLICY_ALLOWS);
	assert_int_equal(judge(resource, "s3:Get", "arn:aws:s3:::secrets"), POLICY_SILENT);
	assert_int_equal(judge(resource, "s3:Get", "arn:aws:s3:::open"), POLICY_ALLOWS);
}

/* The dead-man switch: powerless from the second after the date. */
static void test_deny_after_a_date_bites_after_it_and_not_before(void **state)
{
	assert_int_equal(
		deny_if("\"DateGreaterThan\": {\"aws:CurrentTime\": \"2024-05-06T07:08:10Z\"}"),
		POLICY_ALLOWS);
	assert_int_equal(
		deny_if("\"DateGreaterThan\": {\"aws:CurrentTime\": \"2024-05-06T07:08:09Z\"}"),
		POLICY_ALLOWS);
	assert_int_equal(
		deny_if("\"DateGreaterThan\": {\"aws:CurrentTime\": \"2024-05-06T07:08:08Z\"}"),
		POLICY_DENIES);
	assert_int_equal(deny_if("\"DateGreaterThanEquals\": {\"aws:currenttime\": "
				 "\"2024-05-06T07:08:09Z\"}"),
			 POLICY_DENIES);
}

static void test_dates_are_read_in_every_form(void **state)
{
	static const char *const before[] = {"2024-05-06T07:08:08Z", "2024-05-06T07:08:08.5Z",
					     "2024-05-06T09:08:08+02:00", "2024-05-06",
					     "1714979288"};
	static const char *const after[] = {"2024-05-06T07:08:10Z", "2024-05-06T07:08:09.500Z",
					    "2024-05-06T02:08:10-05:00", "2024-05-07",
					    "1714979290"};

	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		_cleanup_free_ char *less =
			must_printf("\"DateLessThan\": {\"aws:CurrentTime\": \"%s\"}", after[i]);
		_cleanup_free_ char *greater = must_printf(
			"\"DateGreaterThan\": {\"aws:CurrentTime\": \"%s\"}", before[i]);
		_cleanup_free_ char *never =
			must_printf("\"DateLessThan\": {\"aws:CurrentTime\": \"%s\"}", before[i]);

		assert_int_equal(allow_if(less), POLICY_ALLOWS);
		assert_int_equal(allow_if(greater), POLICY_ALLOWS);
		assert_int_equal(allow_if(never), POLICY_SILENT);
	}
}

static void test_all_conditions_must_hold_and_any_value_will_do(void **state)
{
	assert_int_equal(allow_if("\"StringEquals\": {\"aws:username\": [\"bob\", \"alice\"]}, "
				  "\"Bool\": {\"aws:SecureTransport\": \"false\"}"),
			 POLICY_ALLOWS);
	assert_int_equal(allow_if("\"StringEquals\": {\"aws:username\": \"alice\"}, "
				  "\"Bool\": {\"aws:SecureTransport\": true}"),
			 POLICY_SILENT);
	assert_int_equal(allow_if("\"StringLike\": {\"aws:username\": \"al*\"}"), POLICY_ALLOWS);
	assert_int_equal(allow_if("\"StringNotEquals\": {\"aws:username\": [\"bob\", \"alice\"]}"),
			 POLICY_SILENT);
	assert_int_equal(allow_if("\"IpAddress\": {\"aws:SourceIp\": \"127.0.0.0/8\"}"),
			 POLICY_ALLOWS);
	assert_int_equal(allow_if("\"IpAddress\": {\"aws:SourceIp\": \"10.0.0.0/8\"}"),
			 POLICY_SILENT);
	assert_int_equal(allow_if("\"NotIpAddress\": {\"aws:SourceIp\": \"10.0.0.0/8\"}"),
			 POLICY_ALLOWS);
}

static void test_what_cannot_be_judged_counts_against_the_caller(void **state)
{
	const char *key = "\"StringNotEquals\": {\"vpc:Unheard\": \"x\"}";
	const char *comparison = "\"NumericLessThan\": {\"aws:EpochTime\": \"1\"}";

	assert_int_equal(allow_if(key), POLICY_SILENT);
	assert_int_equal(deny_if(key), POLICY_DENIES);
	assert_int_equal(allow_if(comparison), POLICY_SILENT);
	assert_int_equal(deny_if(comparison), POLICY_DENIES);
}

static void test_absent_keys_fulfil_only_negations(void **state)
{
	assert_int_equal(allow_if("\"StringEquals\": {\"iam:PolicyARN\": \"x\"}"), POLICY_SILENT);
	assert_int_equal(allow_if("\"StringNotEquals\": {\"iam:PolicyARN\": \"x\"}"),
			 POLICY_ALLOWS);
	assert_int_equal(allow_if("\"StringEqualsIfExists\": {\"iam:PolicyARN\": \"x\"}"),
			 POLICY_ALLOWS);
	assert_int_equal(allow_if("\"Null\": {\"iam:PolicyARN\": \"true\"}"), POLICY_ALLOWS);
	assert_int_equal(allow_if("\"Null\": {\"iam:PolicyARN\": \"false\"}"), POLICY_SILENT);
}

static void test_lists_of_keys_are_judged_each(void **state)
{
	const char *document = POLICY(
		IF("Allow", "\"ForAllValues:StringEquals\": {\"aws:TagKeys\": [\"a\", \"b\"]}"));
	json_t *good = json_pack("{s:[s,s]}", "aws:TagKeys", "a", "b");
	json_t *bad = json_pack("{s:[s,s]}", "aws:TagKeys", "a", "c");

	assert_int_equal(judge_with(document, "iam:TagUser", "*", good), POLICY_ALLOWS);
	assert_int_equal(judge_with(document, "iam:TagUser", "*", bad), POLICY_SILENT);
	assert_int_equal(judge_with(document, "iam:TagUser", "*", NULL), POLICY_ALLOWS);
	json_decref(good);
	json_decref(bad);
}

static void test_malformed_documents_are_refused(void **state)
{
	static const char *const malformed[] = {
		"",
		"{",
		"[]",
		"{\"Version\": \"2012-10-17\"}",
		"{\"Statement\": [" ALLOW_ALL "]}",
		"{\"Version\": \"2024-01-01\", \"Statement\": [" ALLOW_ALL "]}",
		"{\"Version\": \"2012-10-17\", \"Version\": \"2012-10-17\", \"Statement\": "
		"[" ALLOW_ALL "]}",
		POLICY(""),
		POLICY("{\"Effect\": \"allow\", \"Action\": \"*\", \"Resource\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Resource\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": [], \"Resource\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"Describe\", \"Resource\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"bucket\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\", "
		       "\"Principal\": \"*\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\", "
		       "\"Comment\": \"\"}"),
		POLICY("{\"Effect\": \"Allow\", \"Action\": \"*\", \"NotAction\": \"a:b\", "
		       "\"Resource\": \"*\"}"),
		POLICY(IF("Allow", "\"StringSounds\": {\"aws:username\": \"x\"}")),
		POLICY(IF("Allow", "\"DateLessThan\": {\"aws:CurrentTime\": \"soon\"}")),
		POLICY("{\"Sid\": \"a\", \"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": "
		       "\"*\"}, {\"Sid\": \"a\", \"Effect\": \"Allow\", \"Action\": \"*\", "
		       "\"Resource\": \"*\"}"),
		POLICY("{\"Sid\": \"a b\", \"Effect\": \"Allow\", \"Action\": \"*\", "
		       "\"Resource\": \"*\"}"),
	};
	char reason[POLICY_REASON_MAX];

	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		reason[0] = '\0';
		if (policy_parse(malformed[i], reason))
			fail_msg("accepted: %s", malformed[i]);
		assert_true(reason[0]);
	}
}

static void test_white_space_is_not_counted(void **state)
{
	assert_int_equal(policy_counted_size(" {\n\t\"a\": 1 }\r\n"), 7);
	assert_int_equal(policy_counted_size("\"\xc3\xa9\""), 3);
}

static void test_wildcards_match_as_shells_do(void **state)
{
	assert_true(text_matches("*", "", false));
	assert_true(text_matches("a*b*c", "aXbXbYc", false));
	assert_false(text_matches("a*b*c", "aXbXbY", false));
	assert_true(text_matches("??", "ab", false));
	assert_false(text_matches("??", "a", false));
	assert_false(text_matches("", "a", false));
	assert_true(text_matches("iam:get*", "iam:GetUser", true));
	assert_false(text_matches("iam:get*", "iam:GetUser", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_allowed_is_not_allowed),
		cmocka_unit_test(test_deny_wins_wherever_it_stands),
		cmocka_unit_test(test_resources_outside_the_pattern_are_out_of_reach),
		cmocka_unit_test(test_not_action_and_not_resource_are_complements),
		cmocka_unit_test(test_deny_after_a_date_bites_after_it_and_not_before),
		cmocka_unit_test(test_dates_are_read_in_every_form),
		cmocka_unit_test(test_all_conditions_must_hold_and_any_value_will_do),
		cmocka_unit_test(test_what_cannot_be_judged_counts_against_the_caller),
		cmocka_unit_test(test_absent_keys_fulfil_only_negations),
		cmocka_unit_test(test_lists_of_keys_are_judged_each),
		cmocka_unit_test(test_malformed_documents_are_refused),
		cmocka_unit_test(test_white_space_is_not_counted),
		cmocka_unit_test(test_wildcards_match_as_shells_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
