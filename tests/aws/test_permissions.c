#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "aws/aws.h"
#include "lease/alloc.h"
#include "lease/policy.h"

static const struct integration integration = {
	.name = "main", .region = "us-east-1", .path = "/doppler/"};
static const struct tag tags[] = {{"a", "b"}};
static const char *const arns[] = {"arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"};

/* The policy for an integration with these dynamic secrets. */
static json_t *policy_of(const struct integration *of, const struct dynamic_secret *secrets,
			 size_t n, const char *account)
{
	const struct config config = {.dynamics = secrets, .n_dynamics = n};
	const struct project project = {.configs = &config, .n_configs = 1};
	const struct catalog catalog = {.projects = &project, .n_projects = 1};
	_cleanup_free_ char *text = aws_integration_policy(&catalog, of, account);
	json_t *policy = json_loads(text, 0, NULL);

	assert_non_null(policy);
	return policy;
}

/* Does the text stand in a list, or alone? */
static bool has(const json_t *list, const char *text)
{
	const json_t *entry;
	size_t i;

	if (json_is_string(list))
		return strcmp(json_string_value(list), text) == 0;
	json_array_foreach(list, i,
			   entry) if (strcmp(json_string_value(entry), text) == 0) return true;
	return false;
}

/* The statement that allows the action; NULL: none does. */
static const json_t *statement_of(const json_t *policy, const char *action)
{
	const json_t *statement;
	size_t i;

	json_array_foreach(
		json_object_get(policy, "Statement"), i,
		statement) if (has(json_object_get(statement, "Action"), action)) return statement;
	return NULL;
}

static void assert_allowed(const json_t *policy, const char *action, const char *resource)
{
	const json_t *statement = statement_of(policy, action);

	assert_non_null(statement);
	assert_true(has(json_object_get(statement, "Resource"), resource));
	assert_string_equal(json_string_value(json_object_get(statement, "Effect")), "Allow");
}

#define USERS "arn:aws:iam::123456789012:user/doppler/*"

static void nothing_is_allowed_beyond_the_path(void **state)
{
	static const struct dynamic_secret secret = {.integration = &integration};
	json_t *policy = policy_of(&integration, &secret, 1, "123456789012");
	const json_t *statement;
	size_t i;

	assert_allowed(policy, "iam:CreateUser", USERS);
	assert_allowed(policy, "iam:PutUserPolicy", USERS);
	assert_allowed(policy, "iam:CreateAccessKey", USERS);
	assert_allowed(policy, "iam:DeleteUser", USERS);
	assert_allowed(policy, "iam:ListUsers", USERS);
	assert_allowed(policy, "iam:GetAccountSummary", "*");
	json_array_foreach(json_object_get(policy, "Statement"), i, statement)
	{
		const json_t *actions = json_object_get(statement, "Action");

		assert_false(has(actions, "*"));
		assert_false(has(actions, "iam:*"));
		if (has(json_object_get(statement, "Resource"), "*"))
			assert_true(json_is_string(actions)); /* GetAccountSummary alone */
	}
	json_decref(policy);
}

static void every_attachment_can_be_listed_and_removed(void **state)
{
	static const struct dynamic_secret secret = {.integration = &integration};
	static const char *const of_users[] = {
		"iam:ListAccessKeys",
		"iam:DeleteAccessKey",
		"iam:ListUserPolicies",
		"iam:DeleteUserPolicy",
		"iam:ListAttachedUserPolicies",
		"iam:DetachUserPolicy",
		"iam:ListGroupsForUser",
		"iam:GetLoginProfile",
		"iam:DeleteLoginProfile",
		"iam:ListMFADevices",
		"iam:DeactivateMFADevice",
		"iam:ListSigningCertificates",
		"iam:DeleteSigningCertificate",
		"iam:ListSSHPublicKeys",
		"iam:DeleteSSHPublicKey",
		"iam:ListServiceSpecificCredentials",
		"iam:DeleteServiceSpecificCredential",
	};
	json_t *policy = policy_of(&integration, &secret, 1, "123456789012");

	for (size_t i = 0; i < sizeof(of_users) / sizeof(of_users[0]); i++)
		assert_allowed(policy, of_users[i], USERS);
	assert_allowed(policy, "iam:RemoveUserFromGroup", "arn:aws:iam::123456789012:group/*");
	assert_allowed(policy, "iam:DeleteVirtualMFADevice", "arn:aws:iam::123456789012:mfa/*");
	json_decref(policy);
}

static void what_is_not_configured_is_not_allowed(void **state)
{
	static const struct integration other = {.region = "us-east-1", .path = "/other/"};
	static const struct dynamic_secret secrets[] = {
		{.integration = &integration},
		{.integration = &other,
		 .tags = tags,
		 .n_tags = 1,
		 .policy_arns = arns,
		 .n_policy_arns = 2,
		 .permissions_boundary = "arn:b"},
	};
	json_t *policy = policy_of(&integration, secrets, 2, NULL);

	assert_null(statement_of(policy, "iam:TagUser"));
	assert_null(statement_of(policy, "iam:AttachUserPolicy"));
	assert_null(statement_of(policy, "iam:PutUserPermissionsBoundary"));
	assert_allowed(policy, "iam:CreateUser", "arn:aws:iam::*:user/doppler/*");
	json_decref(policy);
}

static const json_t *condition(const json_t *policy, const char *action, const char *key)
{
	const json_t *statement = statement_of(policy, action);

	assert_non_null(statement);
	return json_object_get(
		json_object_get(json_object_get(statement, "Condition"), "StringEquals"), key);
}

static void only_the_configured_policies_may_be_attached(void **state)
{
	static const struct dynamic_secret secrets[] = {
		{.integration = &integration, .policy_arns = arns, .n_policy_arns = 1},
		{.integration = &integration, .policy_arns = arns, .n_policy_arns = 2},
	};
	json_t *policy = policy_of(&integration, secrets, 2, "1");
	const json_t *allowed = condition(policy, "iam:AttachUserPolicy", "iam:PolicyARN");

	assert_int_equal(json_array_size(allowed), 2);
	assert_true(has(allowed, arns[0]) && has(allowed, arns[1]));
	assert_null(condition(policy, "iam:DetachUserPolicy", "iam:PolicyARN"));
	json_decref(policy);
}

static void a_boundary_that_all_have_must_be_set(void **state)
{
	static const struct dynamic_secret secrets[] = {
		{.integration = &integration, .permissions_boundary = "arn:b"},
		{.integration = &integration, .permissions_boundary = "arn:b"},
		{.integration = &integration},
	};
	json_t *policy = policy_of(&integration, secrets, 2, "1");

	assert_true(has(condition(policy, "iam:CreateUser", "iam:PermissionsBoundary"), "arn:b"));
	json_decref(policy);
	policy = policy_of(&integration, secrets, 3, "1");
	assert_null(condition(policy, "iam:CreateUser", "iam:PermissionsBoundary"));
	assert_non_null(statement_of(policy, "iam:PutUserPermissionsBoundary"));
	json_decref(policy);
}

static void each_partition_has_its_own_arns(void **state)
{
	static const struct {
		const char *region, *resource;
	} known[] = {
		{"eu-central-1", "arn:aws:iam::1:user/doppler/*"},
		{"cn-north-1", "arn:aws-cn:iam::1:user/doppler/*"},
		{"us-gov-east-1", "arn:aws-us-gov:iam::1:user/doppler/*"},
		{"eusc-de-east-1", "arn:aws-eusc:iam::1:user/doppler/*"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct integration of = {.region = known[i].region, .path = "/doppler/"};
		json_t *policy = policy_of(&of, NULL, 0, "1");

		assert_allowed(policy, "iam:CreateUser", known[i].resource);
		json_decref(policy);
	}
}

static void the_policy_fits_a_users_inline_policy(void **state)
{
	static const struct dynamic_secret secret = {.integration = &integration,
						     .tags = tags,
						     .n_tags = 1,
						     .policy_arns = arns,
						     .n_policy_arns = 2,
						     .permissions_boundary =
							     "arn:aws:iam::123456789012:policy/b"};
	json_t *policy = policy_of(&integration, &secret, 1, "123456789012");
	_cleanup_free_ char *text = json_dumps(policy, JSON_COMPACT);

	assert_true(policy_size(text) <= POLICY_SIZE_MAX);
	json_decref(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_allowed_beyond_the_path),
		cmocka_unit_test(every_attachment_can_be_listed_and_removed),
		cmocka_unit_test(what_is_not_configured_is_not_allowed),
		cmocka_unit_test(only_the_configured_policies_may_be_attached),
		cmocka_unit_test(a_boundary_that_all_have_must_be_set),
		cmocka_unit_test(each_partition_has_its_own_arns),
		cmocka_unit_test(the_policy_fits_a_users_inline_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
