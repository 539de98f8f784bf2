#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/policy.h"

#define DESCRIBE                                                                                   \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"ec2:"       \
	"Describe*\",\"Resource\":\"*\"}]}"

/* A policy of one statement with these members. */
#define ONE(members) "{\"Version\":\"2012-10-17\",\"Statement\":[{" members "}]}"

static void what_is_sent_means_what_was_written(void **state)
{
	static const struct {
		const char *json, *compact;
	} cases[] = {
		{" { \"Version\" : \"2012-10-17\" ,\n\"Statement\":[ {\"Effect\": \"Allow\",\t"
		 "\"Action\":\"ec2:Describe*\",\"Resource\":\"*\"}\r\n]}",
		 DESCRIBE},
		/* Order of members, slashes, spaces in strings, Latin-1 and numbers stay. */
		{"{\"Statement\": {\"Resource\": [\"arn:aws:s3:::a b/\\u00e4/*\"], \"NotAction\": "
		 "[\"s3:PutObject\", \"iam:*\"], \"Effect\": \"Deny\", \"Sid\": \"No1\", "
		 "\"Condition\": {\"NumericLessThan\": {\"s3:max-keys\": [0.1, 10, true]}}}, "
		 "\"Id\": \"x\", \"Version\": \"2008-10-17\"}",
		 "{\"Statement\":{\"Resource\":[\"arn:aws:s3:::a b/\xc3\xa4/*\"],\"NotAction\":"
		 "[\"s3:PutObject\",\"iam:*\"],\"Effect\":\"Deny\",\"Sid\":\"No1\","
		 "\"Condition\":{\"NumericLessThan\":{\"s3:max-keys\":[0.1,10,true]}}},"
		 "\"Id\":\"x\",\"Version\":\"2008-10-17\"}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *compact = NULL;
		struct dsec_error err;
		if (policy_compact(&compact, cases[i].json, strlen(cases[i].json), &err) < 0)
			fail_msg("%s: %s", cases[i].json, err.message);
		assert_string_equal(compact, cases[i].compact);
		free(compact);
	}
}

static void what_iam_would_refuse_is_refused_before_a_reader_waits(void **state)
{
	static const struct {
		const char *json, *message;
	} cases[] = {
		{"", "line 1 of the policy is no JSON: it ends too early"},
		{"{\"Version\":\n\"2012-10-17\",\n}",
		 "line 3 of the policy is no JSON: a comma, colon, quote or bracket is missing or "
		 "too many"},
		{"{} {}", "line 1 of the policy is no JSON: something follows its end"},
		{"{\"Version\":\"2012-10-17\",\"Version\":\"2012-10-17\"}",
		 "line 1 of the policy is no JSON: a member occurs twice"},
		{"{\"Id\":\"\\u0000\"}", "line 1 of the policy is no JSON: it has a NUL character"},
		{"{\"Id\":\"\xff\"}",
		 "line 1 of the policy is no JSON: it has bytes that are no UTF-8"},
		{"[]", "the policy is a list; it has to be an object"},
		{"{}", "the policy has no Version; it has to be \"2012-10-17\" (or "
		       "\"2008-10-17\")"},
		{"{\"Version\":\"2022-10-17\"}", "Version is none that IAM knows; it has to be "
						 "\"2012-10-17\" (or \"2008-10-17\")"},
		{"{\"Version\":\"2012-10-17\"}", "the policy has no Statement"},
		{"{\"Version\":\"2012-10-17\",\"Statment\":[]}",
		 "the policy has an unknown member \"Statment\""},
		{"{\"Version\":\"2012-10-17\",\"Id\":1,\"Statement\":[]}",
		 "Id is a number; it has to be a string"},
		{"{\"Version\":\"2012-10-17\",\"Statement\":[]}", "Statement is an empty list"},
		{"{\"Version\":\"2012-10-17\",\"Statement\":\"x\"}",
		 "Statement is a string; it has to be an object"},
		{"{\"Version\":\"2012-10-17\",\"Statement\":[null]}",
		 "Statement[0] is null; it has to be an object"},
		{ONE("\"Action\":\"*\",\"Resource\":\"*\""),
		 "Statement[0] has no Effect; it has to be \"Allow\" or \"Deny\""},
		{ONE("\"Effect\":\"allow\",\"Action\":\"*\",\"Resource\":\"*\""),
		 "Statement[0].Effect has to be \"Allow\" or \"Deny\", so written"},
		{ONE("\"Effect\":true,\"Action\":\"*\",\"Resource\":\"*\""),
		 "Statement[0].Effect has to be \"Allow\" or \"Deny\", so written"},
		{ONE("\"Effect\":\"Allow\",\"Resource\":\"*\""),
		 "Statement[0] has neither Action nor NotAction"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"NotAction\":\"*\",\"Resource\":\"*"
		     "\""),
		 "Statement[0] has both Action and NotAction; it can have only one"},
		{ONE("\"Effect\":\"Allow\",\"Action\":[],\"Resource\":\"*\""),
		 "Statement[0].Action is an empty list"},
		{ONE("\"Effect\":\"Allow\",\"Action\":7,\"Resource\":\"*\""),
		 "Statement[0].Action is a number; it has to be a string or a list of strings"},
		{ONE("\"Effect\":\"Allow\",\"Action\":[\"s3:*\",\"DescribeInstances\"],"
		     "\"Resource\":\"*\""),
		 "Statement[0].Action: \"DescribeInstances\" is not \"*\" or SERVICE:ACTION, such "
		 "as \"ec2:Describe*\""},
		{ONE("\"Effect\":\"Allow\",\"NotAction\":\"ec2:\",\"Resource\":\"*\""),
		 "Statement[0].NotAction: \"ec2:\" is not \"*\" or SERVICE:ACTION, such as "
		 "\"ec2:Describe*\""},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\""),
		 "Statement[0] has neither Resource nor NotResource"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"NotResource\":"
		     "\"*\""),
		 "Statement[0] has both Resource and NotResource; it can have only one"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"bucket\""),
		 "Statement[0].Resource: \"bucket\" is not \"*\" or an ARN, such as "
		 "\"arn:aws:s3:::bucket/*\""},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Principal\":"
		     "\"*\""),
		 "Statement[0] has a Principal, which a user's policy must not have: it applies to "
		 "the leased user"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Actoin\":\"*\""),
		 "Statement[0] has an unknown member \"Actoin\""},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":\"a-b\""),
		 "Statement[0].Sid may have letters and digits only"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":null"),
		 "Statement[0].Sid is null; it has to be a string of letters and digits"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":\"a\"},"
		     "{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":\"\"},"
		     "{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":\"\"},"
		     "{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Sid\":\"a\""),
		 "Statement[3].Sid is that of Statement[0] too; a Sid has to be unique"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":[]"),
		 "Statement[0].Condition is a list; it has to be an object such as "
		 "{\"StringEquals\": {\"aws:…\": \"…\"}}"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{"
		     "\"Bool\":\"x\"}"),
		 "Statement[0].Condition.Bool is a string; it has to be an object of condition "
		 "keys"},
		{ONE("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::\\u0100\""),
		 "the policy has a character that IAM does not take (beyond U+00FF)"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *compact = NULL;
		struct dsec_error err = {0};
		int r = policy_compact(&compact, cases[i].json, strlen(cases[i].json), &err);
		assert_null(compact);
		if (r >= 0 || err.kind != DSEC_ERROR_INVALID ||
		    strcmp(err.message, cases[i].message) != 0)
			fail_msg("%s: \"%s\" and not \"%s\"", cases[i].json, err.message,
				 cases[i].message);
	}
}

static void a_huge_policy_is_not_even_parsed(void **state)
{
	char *json = calloc(1, POLICY_TEXT_MAX + 1), *compact = NULL;
	struct dsec_error err;

	assert_int_equal(policy_compact(&compact, json, POLICY_TEXT_MAX + 1, &err), -EIO);
	assert_string_equal(err.message,
			    "the policy has 131073 bytes; no policy has more than 131072");
	free(json);
}

static void an_end_is_always_with_the_policy(void **state)
{
	static const char deny[] = "{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\","
				   "\"Condition\":{\"DateGreaterThan\":{\"aws:CurrentTime\":"
				   "\"2022-02-15T17:04:55Z\"}}}";
	static const struct {
		const char *compact, *before, *after;
	} cases[] = {
		{"", "{\"Version\":\"2012-10-17\",\"Statement\":[", "]}"},
		{DESCRIBE,
		 "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":"
		 "\"ec2:Describe*\",\"Resource\":\"*\"},",
		 "]}"},
		{"{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"},"
		 "\"Version\":\"2008-10-17\"}",
		 "{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"},",
		 "],\"Version\":\"2008-10-17\"}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[1024], *whole = policy_with_expiry(cases[i].compact, 1644944694782);
		snprintf(expected, sizeof(expected), "%s%s%s", cases[i].before, deny,
			 cases[i].after);
		assert_non_null(whole);
		assert_string_equal(whole, expected);
		free(whole);
	}
}

static void the_key_never_dies_before_what_the_reader_was_told(void **state)
{
	static const struct {
		int64_t end_ms;
		const char *end;
	} cases[] = {
		{1644944694000, "2022-02-15T17:04:54Z"},
		{1644944694001, "2022-02-15T17:04:55Z"},
		{1644944694999, "2022-02-15T17:04:55Z"},
		{1640995199500, "2022-01-01T00:00:00Z"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *whole = policy_with_expiry("", cases[i].end_ms);
		assert_non_null(whole);
		assert_non_null(strstr(whole, cases[i].end));
		free(whole);
	}
}

static void a_policy_is_counted_as_iam_counts(void **state)
{
	static const struct {
		const char *policy;
		size_t n;
	} cases[] = {
		{"", 0},
		{"{}", 2},
		{" {\t\r\n} ", 2},
		{"{\"a b\": \"c\"}", 11},
		{"\"\xc3\xa4\xc3\xa4\"", 4},
		{"\"\\\"  \\\\\" \" \"", 11},
		{"\"cut\\", 5},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (policy_size(cases[i].policy) != cases[i].n)
			fail_msg("%s has %zu", cases[i].policy, policy_size(cases[i].policy));
}

#define ALLOW(action) "{\"Effect\":\"Allow\",\"Action\":" action ",\"Resource\":\"*\"}"
#define DENY(action)  "{\"Effect\":\"Deny\",\"Action\":" action ",\"Resource\":\"*\"}"
#define POLICY(list)  "{\"Version\":\"2012-10-17\",\"Statement\":[" list "]}"

#define PUT                                                                                        \
	"it allows iam:PutUserPolicy, which can take the end out of the leased user's own policy"
#define ASSUME "it allows sts:AssumeRole, which makes a session that goes on after the lease"

static void a_policy_that_undoes_its_own_end_is_seen(void **state)
{
	static const struct {
		const char *policy, *reason;
	} cases[] = {
		{POLICY(ALLOW("\"*\"")), PUT},
		{POLICY(ALLOW("\"iam:*\"")), PUT},
		{POLICY(ALLOW("\"IAM:putuserpolic?\"")), PUT},
		{POLICY(ALLOW("[\"s3:*\",\"*:*\"]")), PUT},
		{POLICY(ALLOW("\"iam:*User*y\"")), PUT},
		{"{\"Version\":\"2012-10-17\",\"Statement\":" ALLOW("\"sts:*\"") "}", ASSUME},
		{POLICY(ALLOW("\"s3:*\"") "," ALLOW("\"sts:AssumeRole\"")), ASSUME},
		{POLICY("{\"Effect\":\"Allow\",\"NotAction\":\"s3:*\",\"Resource\":\"*\"}"), PUT},
		{POLICY("{\"Effect\":\"Allow\",\"NotAction\":\"iam:*\",\"Resource\":\"*\"}"),
		 ASSUME},
		/* One resource, or a condition, is no way out. */
		{POLICY("{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Resource\":\"arn:"
			"aws:iam::1:role/x\",\"Condition\":{}}"),
		 ASSUME},
		/* A Deny that holds only here and there takes nothing back. */
		{POLICY(ALLOW("\"*\"") ",{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":"
				       "\"arn:aws:s3:::x\"}"),
		 PUT},
		{POLICY(ALLOW("\"*\"") ",{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":"
				       "\"*\",\"Condition\":{}}"),
		 PUT},
		{POLICY(ALLOW("\"*\"") ",{\"Effect\":\"Deny\",\"Action\":\"*\",\"NotResource\":"
				       "\"*\"}"),
		 PUT},
		{POLICY(ALLOW("\"*\"") "," DENY("\"iam:*\"")), ASSUME},
		{POLICY(DENY("[\"iam:*\",\"sts:Assume*\"]") "," ALLOW("\"*\"")), NULL},
		{POLICY(ALLOW("\"*\"") ",{\"Effect\":\"Deny\",\"NotAction\":\"s3:*\","
				       "\"Resource\":[\"*\"]}"),
		 NULL},
		{POLICY(DENY("\"*\"")), NULL},
		{POLICY(ALLOW("[\"iam:Get*\",\"iam:List*\",\"sts:GetCallerIdentity\",\"s3:*\"]")),
		 NULL},
		{POLICY(ALLOW("\"iam:PutUserPolicyX\"")), NULL},
		{POLICY("{\"Effect\":\"Allow\",\"NotAction\":[\"iam:*\",\"sts:*\"],\"Resource\":"
			"\"*\"}"),
		 NULL},
		{DESCRIBE, NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *reason = policy_self_undo(cases[i].policy);
		if ((reason == NULL) != (cases[i].reason == NULL) ||
		    (reason && strcmp(reason, cases[i].reason) != 0))
			fail_msg("%s: %s", cases[i].policy, reason ? reason : "nothing");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent_means_what_was_written),
		cmocka_unit_test(what_iam_would_refuse_is_refused_before_a_reader_waits),
		cmocka_unit_test(a_huge_policy_is_not_even_parsed),
		cmocka_unit_test(an_end_is_always_with_the_policy),
		cmocka_unit_test(the_key_never_dies_before_what_the_reader_was_told),
		cmocka_unit_test(a_policy_is_counted_as_iam_counts),
		cmocka_unit_test(a_policy_that_undoes_its_own_end_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
