#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "aws/query.h"

static void assert_query(const struct provider_call *call, const char *text)
{
	struct query query = {0};

	query_build(&query, call);
	assert_string_equal(query.form.text, text);
	assert_int_equal(query.form.n, strlen(text));
	query_finish(&query);
}

static void every_byte_is_encoded_as_the_pickiest_server_wants_it(void **state)
{
	struct form form = {0};

	form_add(&form, "A b", "az AZ09-._~+/=&%\n\xc3\xbc*");
	form_add(&form, "none", NULL);
	form_add(&form, "empty", "");
	form_add_member(&form, "L", 12, NULL, "x");
	form_add_member(&form, "L", 3, "Key", "y");
	assert_string_equal(form.text, "A+b=az+AZ09-._~%2B%2F%3D%26%25%0A%C3%BC%2A&empty=&"
				       "L.member.12=x&L.member.3.Key=y");
	form_finish(&form);
}

static void a_long_document_is_sent_whole(void **state)
{
	static char document[100001], expected[100001];
	struct form form = {0};

	memset(document, '"', 33333);
	for (size_t i = 0; i < 33333; i++)
		memcpy(expected + 3 * i, "%22", 4);
	form_add(&form, "D", document);
	assert_string_equal(form.text + 2, expected);
	form_finish(&form);
}

static void each_operation_is_its_action(void **state)
{
	static const struct tag tags[] = {{"team", "web"}, {"a b", ""}};

	assert_query(&(struct provider_call){.op = PROVIDER_CREATE_USER,
					     .user = "u",
					     .path = "/p/",
					     .permissions_boundary = "arn:b",
					     .tags = tags,
					     .n_tags = 2},
		     "Action=CreateUser&Version=2010-05-08&UserName=u&Path=%2Fp%2F&"
		     "PermissionsBoundary=arn%3Ab&Tags.member.1.Key=team&Tags.member.1.Value=web&"
		     "Tags.member.2.Key=a+b&Tags.member.2.Value=");
	assert_query(&(struct provider_call){.op = PROVIDER_GET_USER},
		     "Action=GetUser&Version=2010-05-08");
	assert_query(&(struct provider_call){.op = PROVIDER_GET_USER, .user = "u"},
		     "Action=GetUser&Version=2010-05-08&UserName=u");
	assert_query(&(struct provider_call){.op = PROVIDER_DELETE_USER, .user = "u"},
		     "Action=DeleteUser&Version=2010-05-08&UserName=u");
	assert_query(&(struct provider_call){.op = PROVIDER_LIST_USERS, .path = "/", .marker = "m"},
		     "Action=ListUsers&Version=2010-05-08&PathPrefix=%2F&MaxItems=1000&Marker=m");
	assert_query(
		&(struct provider_call){
			.op = PROVIDER_PUT_POLICY, .user = "u", .name = "n", .document = "{}"},
		"Action=PutUserPolicy&Version=2010-05-08&UserName=u&PolicyName=n&"
		"PolicyDocument=%7B%7D");
	assert_query(
		&(struct provider_call){.op = PROVIDER_ATTACH_POLICY, .user = "u", .name = "arn"},
		"Action=AttachUserPolicy&Version=2010-05-08&UserName=u&PolicyArn=arn");
	assert_query(&(struct provider_call){.op = PROVIDER_CREATE_KEY, .user = "u"},
		     "Action=CreateAccessKey&Version=2010-05-08&UserName=u");
	assert_query(&(struct provider_call){.op = PROVIDER_VERIFY_KEY},
		     "Action=GetCallerIdentity&Version=2011-06-15");
	assert_query(&(struct provider_call){.op = PROVIDER_SUMMARY},
		     "Action=GetAccountSummary&Version=2010-05-08");
}

static void each_kind_of_attachment_is_listed_and_removed(void **state)
{
	static const char *const actions[ATTACHMENT_KINDS][3] = {
		[ATTACHMENT_ACCESS_KEY] = {"ListAccessKeys", "DeleteAccessKey", "&AccessKeyId=x"},
		[ATTACHMENT_INLINE_POLICY] = {"ListUserPolicies", "DeleteUserPolicy",
					      "&PolicyName=x"},
		[ATTACHMENT_MANAGED_POLICY] = {"ListAttachedUserPolicies", "DetachUserPolicy",
					       "&PolicyArn=x"},
		[ATTACHMENT_GROUP] = {"ListGroupsForUser", "RemoveUserFromGroup", "&GroupName=x"},
		[ATTACHMENT_LOGIN_PROFILE] = {"GetLoginProfile", "DeleteLoginProfile", ""},
		[ATTACHMENT_MFA_DEVICE] = {"ListMFADevices", "DeactivateMFADevice",
					   "&SerialNumber=x"},
		[ATTACHMENT_SIGNING_CERTIFICATE] = {"ListSigningCertificates",
						    "DeleteSigningCertificate", "&CertificateId=x"},
		[ATTACHMENT_SSH_KEY] = {"ListSSHPublicKeys", "DeleteSSHPublicKey",
					"&SSHPublicKeyId=x"},
		[ATTACHMENT_SERVICE_CREDENTIAL] = {"ListServiceSpecificCredentials",
						   "DeleteServiceSpecificCredential",
						   "&ServiceSpecificCredentialId=x"},
	};

	for (int kind = 0; kind < ATTACHMENT_KINDS; kind++) {
		struct provider_call call = {.op = PROVIDER_LIST,
					     .user = "u",
					     .attachment = (enum provider_attachment)kind,
					     .marker = "m",
					     .name = "x"};
		char text[256];

		snprintf(text, sizeof(text), "Action=%s&Version=2010-05-08&UserName=u&Marker=m",
			 actions[kind][0]);
		assert_query(&call, text);
		call.op = PROVIDER_REMOVE;
		snprintf(text, sizeof(text), "Action=%s&Version=2010-05-08&UserName=u%s",
			 actions[kind][1], actions[kind][2]);
		assert_query(&call, text);
	}
}

static void only_a_virtual_device_is_an_entity_of_its_own(void **state)
{
	assert_true(query_mfa_device_is_virtual("arn:aws:iam::1:mfa/u"));
	assert_true(query_mfa_device_is_virtual("arn:aws-cn:iam::1:mfa/path/u"));
	assert_false(query_mfa_device_is_virtual("arn:aws:iam::1:u2f/user/u/k"));
	assert_false(query_mfa_device_is_virtual("GAHT12345678"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_is_encoded_as_the_pickiest_server_wants_it),
		cmocka_unit_test(a_long_document_is_sent_whole),
		cmocka_unit_test(each_operation_is_its_action),
		cmocka_unit_test(each_kind_of_attachment_is_listed_and_removed),
		cmocka_unit_test(only_a_virtual_device_is_an_entity_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
