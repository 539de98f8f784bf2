#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/answer.h"
#include "lease/alloc.h"
#include "lease/secret_arena.h"

static const struct answer_names no_names;

/* What was read last; its result points into it. */
static struct answer *answer;

/* Reads the text in pieces of n bytes. */
static void read_in(const char *text, size_t n, const struct answer_names *names,
		    struct answer_result *ret)
{
	size_t size = strlen(text);

	answer_free(answer);
	answer = answer_new(names);
	for (size_t at = 0; at < size; at += n)
		if (!answer_feed(answer, text + at, size - at < n ? size - at : n))
			break;
	answer_end(answer, ret);
}

static void read_text(const char *text, const struct answer_names *names, struct answer_result *ret)
{
	read_in(text, strlen(text) + 1, names, ret);
}

static void assert_fault(const char *text, const char *fault)
{
	struct answer_result result;
	read_text(text, &no_names, &result);

	assert_non_null(result.fault);
	assert_string_equal(result.fault, fault);
}

#define USERS_PAGE                                                                                 \
	"<?xml version=\"1.0\"?>\n"                                                                \
	"<ListUsersResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\n"                \
	"  <ListUsersResult>\n"                                                                    \
	"    <Users>\n"                                                                            \
	"      <member>\n"                                                                         \
	"        <UserId>AIDAJ</UserId><Path>/doppler/d/</Path><UserName>one</UserName>\n"         \
	"        <Arn>arn:aws:iam::123456789012:user/doppler/d/one</Arn>\n"                        \
	"        <CreateDate>2013-10-09T13:13:01Z</CreateDate>\n"                                  \
	"        <Tags><member><Key>Path</Key><Value>x</Value></member></Tags>\n"                  \
	"        <PermissionsBoundary><PermissionsBoundaryArn>arn:aws:iam::1:policy/b\n"           \
	"        </PermissionsBoundaryArn></PermissionsBoundary>\n"                                \
	"      </member>\n"                                                                        \
	"      <member><Path>/</Path><UserName>two &amp; more</UserName></member>\n"               \
	"    </Users>\n"                                                                           \
	"    <IsTruncated>true</IsTruncated><Marker>EXAMPLE=</Marker>\n"                           \
	"  </ListUsersResult>\n"                                                                   \
	"  <ResponseMetadata><RequestId>7a62c49f-347e</RequestId></ResponseMetadata>\n"            \
	"</ListUsersResponse>\n"

static void check_users_page(const struct answer_result *result)
{
	assert_null(result->fault);
	assert_int_equal(result->found.n_users, 2);
	assert_string_equal(result->found.users[0].name, "one");
	assert_string_equal(result->found.users[0].path, "/doppler/d/");
	assert_string_equal(result->found.users[0].arn,
			    "arn:aws:iam::123456789012:user/doppler/d/one");
	assert_int_equal(result->found.users[0].created_ms, 1381324381000);
	assert_string_equal(result->found.users[1].name, "two & more");
	assert_string_equal(result->found.users[1].arn, "");
	assert_string_equal(result->found.marker, "EXAMPLE=");
	assert_string_equal(result->request_id, "7a62c49f-347e");
	assert_string_equal(result->code, "");
}

static void a_page_reads_the_same_wherever_packets_are_cut(void **state)
{
	for (size_t n = 1; n < sizeof(USERS_PAGE); n++) {
		struct answer_result result;
		read_in(USERS_PAGE, n, &no_names, &result);

		check_users_page(&result);
	}
}

static void a_page_that_ends_early_is_none(void **state)
{
	/* Up to the end of the root's last tag; what follows that is white space. */
	for (size_t n = 0; n < sizeof(USERS_PAGE) - 2; n++) {
		char text[sizeof(USERS_PAGE)] = "";
		struct answer_result result;

		memcpy(text, USERS_PAGE, n);
		read_text(text, &no_names, &result);
		assert_non_null(result.fault);
	}
}

static void an_empty_page_is_not_the_last(void **state)
{
	struct answer_result result;
	read_text("<ListUsersResponse><ListUsersResult><IsTruncated>true</IsTruncated>"
		  "<Marker>m</Marker></ListUsersResult></ListUsersResponse>",
		  &no_names, &result);

	assert_null(result.fault);
	assert_int_equal(result.found.n_users, 0);
	assert_string_equal(result.found.marker, "m");
}

static void a_marker_of_the_last_page_is_not_followed(void **state)
{
	struct answer_result result;
	read_text("<ListUsersResponse><ListUsersResult><Users/><IsTruncated>False"
		  "</IsTruncated><Marker>m</Marker></ListUsersResult></ListUsersResponse>",
		  &no_names, &result);

	assert_null(result.fault);
	assert_null(result.found.marker);
}

static void more_without_a_marker_is_no_page(void **state)
{
	assert_fault("<ListUsersResponse><ListUsersResult><IsTruncated>true</IsTruncated>"
		     "</ListUsersResult></ListUsersResponse>",
		     "is truncated and has no marker");
}

/* One error, as the servers write it. */
static const char *const errors[] = {
	/* AWS */
	"<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>"
	"<Type>Sender</Type><Code>NoSuchEntity</Code><Message>gone</Message></Error>"
	"<RequestId>id-1</RequestId></ErrorResponse>",
	/* moto */
	"<ErrorResponse><Errors><Error><Code><![CDATA[NoSuchEntity]]></Code><Message>"
	"<![CDATA[gone]]></Message></Error></Errors><ResponseMetadata><RequestId>id-1"
	"</RequestId></ResponseMetadata></ErrorResponse>",
	"<Response><Errors><Error><Code>NoSuchEntity</Code><Message>gone</Message></Error>"
	"</Errors><RequestID>id-1</RequestID></Response>",
	/* Ceph */
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchEntity</Code>"
	"<Message>gone</Message><RequestId>id-1</RequestId><HostId>x</HostId></Error>",
	"<ErrorResponse><Error><Type></Type><Code>NoSuchEntity</Code><Message>gone</Message>"
	"</Error><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></ErrorResponse>",
	/* A prefix and white space, which nobody is known to send, and which may be sent. */
	"<a:ErrorResponse xmlns:a=\"urn:x\"><a:Error><a:Code>\n NoSuchEntity\t</a:Code>"
	"<a:Message>gone</a:Message></a:Error><a:RequestId>id-1</a:RequestId></a:ErrorResponse>",
};

static void an_error_is_read_at_any_depth(void **state)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct answer_result result;
		read_text(errors[i], &no_names, &result);

		assert_null(result.fault);
		assert_string_equal(result.code, "NoSuchEntity");
		assert_string_equal(result.message, "gone");
		assert_string_equal(result.request_id, "id-1");
	}
}

static void a_secret_is_read_whole_and_stays_in_the_arena(void **state)
{
	static const char text[] =
		"<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>u</UserName>"
		"<AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><Status>Active</Status>"
		"<SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>"
		"</AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>";

	for (size_t n = 1; n < sizeof(text); n++) {
		struct answer_result result;
		read_in(text, n, &no_names, &result);
		char secret[64] = "";

		assert_null(result.fault);
		assert_string_equal(result.found.access_key_id, "AKIAIOSFODNN7EXAMPLE");
		assert_int_equal(secret_size(result.found.secret_access_key), 41);
		secret_copy(result.found.secret_access_key, 0, secret, sizeof(secret));
		assert_string_equal(secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
	}
	answer = answer_free(answer);
	assert_false(secret_arena_contains("wJalrXUtnFEMI", strlen("wJalrXUtnFEMI")));
}

static void a_list_is_the_names_that_were_asked_for(void **state)
{
	static const struct answer_names leaf = {"AttachedPolicies", "PolicyArn"},
					 member = {"PolicyNames", NULL};
	struct answer_result result;

	read_text("<LResponse><LResult><AttachedPolicies><member><PolicyName>n</PolicyName>"
		  "<PolicyArn>arn:1</PolicyArn></member><member><PolicyArn>arn:2"
		  "</PolicyArn></member></AttachedPolicies><Other><member><PolicyArn>arn:3"
		  "</PolicyArn></member></Other></LResult></LResponse>",
		  &leaf, &result);
	assert_null(result.fault);
	assert_int_equal(result.found.n_names, 2);
	assert_string_equal(result.found.names[0], "arn:1");
	assert_string_equal(result.found.names[1], "arn:2");
	read_text("<LResponse><LResult><PolicyNames><member>a</member><member>b</member>"
		  "</PolicyNames></LResult></LResponse>",
		  &member, &result);
	assert_int_equal(result.found.n_names, 2);
	assert_string_equal(result.found.names[1], "b");
}

static void a_role_has_no_name_and_a_user_has(void **state)
{
	static const struct {
		const char *arn, *name, *path;
	} known[] = {
		{"arn:aws:iam::1:user/n", "n", "/"},
		{"arn:aws-cn:iam::1:user/a/b/n", "n", "/a/b/"},
		{"arn:aws:sts::1:assumed-role/r/s", "", ""},
		{"arn:aws:iam::1:root", "", ""},
		{"arn:aws:iam::1:user/", "", "/"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct answer_result result;
		char text[512];

		snprintf(text, sizeof(text),
			 "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn>"
			 "</GetCallerIdentityResult></GetCallerIdentityResponse>",
			 known[i].arn);
		read_text(text, &no_names, &result);
		assert_int_equal(result.found.n_users, 1);
		assert_string_equal(result.found.users[0].arn, known[i].arn);
		assert_string_equal(result.found.users[0].name, known[i].name);
		assert_string_equal(result.found.users[0].path, known[i].path);
	}
}

static void a_summary_tells_only_what_it_knows(void **state)
{
	struct answer_result result;
	read_text("<GetAccountSummaryResponse><GetAccountSummaryResult><SummaryMap>"
		  "<entry><key>Groups</key><value>31</value></entry>"
		  "<entry><key>Users</key><value>35</value></entry>"
		  "<entry><key>UsersQuota</key><value>many</value></entry>"
		  "</SummaryMap></GetAccountSummaryResult></GetAccountSummaryResponse>",
		  &no_names, &result);

	assert_int_equal(result.found.users_used, 35);
	assert_int_equal(result.found.users_quota, -1);
}

static void html_is_no_answer(void **state)
{
	assert_fault("<!DOCTYPE html><html><title>404 Not Found</title></html>",
		     "declares a document type, as an HTML page does");
	assert_fault("<html><body><p>Not here<br></body></html>", "is no XML");
	assert_fault("<html></html>", "is not one of IAM or STS");
	assert_fault("{\"message\": null}", "is no XML");
	assert_fault("", "is empty");
}

static void entities_cannot_be_declared(void **state)
{
	assert_fault("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
		     "<GetUserResponse>&x;</GetUserResponse>",
		     "declares a document type, as an HTML page does");
	assert_fault("<GetUserResponse>&x;</GetUserResponse>", "is no XML");
}

static void depth_is_bounded(void **state)
{
	static const char element[] = "<aResponse>";
	size_t n = strlen(element);
	char text[sizeof(element) * (ANSWER_DEPTH_MAX + 1)] = "";

	for (size_t i = 0; i < ANSWER_DEPTH_MAX; i++)
		memcpy(text + i * n, element, n + 1);
	assert_fault(text, "ends in the middle");
	memcpy(text + ANSWER_DEPTH_MAX * n, "<a/>", sizeof("<a/>"));
	assert_fault(text, "nests too deep");
}

/* The text around a field that is longer than one may be, for free(). */
static char *around_long_field(const char *before, const char *after)
{
	size_t n = ANSWER_FIELD_MAX + 100;
	char *field = alloc_zeroed(n + 1, 1), *text = NULL;

	memset(field, 'x', n);
	assert_true(asprintf(&text, "%s%s%s", before, field, after) > 0);
	free(field);
	return text;
}

static void a_field_is_bounded(void **state)
{
	char *text = around_long_field("<GetUserResponse><User><UserName>",
				       "</UserName></User></GetUserResponse>");

	assert_fault(text, "has an over-long field");
	free(text);
}

static void a_long_message_is_cut(void **state)
{
	char *text = around_long_field("<ErrorResponse><Error><Code>C</Code><Message>",
				       "</Message></Error></ErrorResponse>");
	struct answer_result result;

	read_text(text, &no_names, &result);
	assert_null(result.fault);
	assert_int_equal(strlen(result.message), ANSWER_FIELD_MAX);
	free(text);
}

static void a_long_name_of_an_element_is_no_harm(void **state)
{
	char name[300] = "", text[1024];
	struct answer_result result;

	memset(name, 'n', sizeof(name) - 1);
	snprintf(text, sizeof(text),
		 "<GetUserResponse><%s>x</%s><User><UserName>u</UserName></User>"
		 "</GetUserResponse>",
		 name, name);
	read_text(text, &no_names, &result);
	assert_null(result.fault);
	assert_string_equal(result.found.users[0].name, "u");
}

static int set_up(void **state)
{
	return secret_arena_init(1 << 20, NULL);
}

static int tear_down(void **state)
{
	answer_free(answer);
	secret_arena_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_reads_the_same_wherever_packets_are_cut),
		cmocka_unit_test(a_page_that_ends_early_is_none),
		cmocka_unit_test(an_empty_page_is_not_the_last),
		cmocka_unit_test(a_marker_of_the_last_page_is_not_followed),
		cmocka_unit_test(more_without_a_marker_is_no_page),
		cmocka_unit_test(an_error_is_read_at_any_depth),
		cmocka_unit_test(a_secret_is_read_whole_and_stays_in_the_arena),
		cmocka_unit_test(a_list_is_the_names_that_were_asked_for),
		cmocka_unit_test(a_role_has_no_name_and_a_user_has),
		cmocka_unit_test(a_summary_tells_only_what_it_knows),
		cmocka_unit_test(html_is_no_answer),
		cmocka_unit_test(entities_cannot_be_declared),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(a_field_is_bounded),
		cmocka_unit_test(a_long_message_is_cut),
		cmocka_unit_test(a_long_name_of_an_element_is_no_harm),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
