/* policy_undo.c: what in a policy lets a leased user undo its own end. */
#include <jansson.h>
#include <string.h>

#include "lease/policy.h"

#define UNDO(action, why)                                                                          \
	{                                                                                          \
		action, "it allows " action ", which " why                                         \
	}

#define OTHERS  "gives rights to users that no lease ends"
#define ROLES   "gives rights to roles that no lease ends"
#define SESSION "makes a session that goes on after the lease"
#define LOGIN   "makes credentials that dsec does not know of"
#define TRUST   "lets outsiders assume roles"

static const struct undo {
	const char *action, *text;
} undos[] = {
	UNDO("iam:PutUserPolicy", "can take the end out of the leased user's own policy"),
	UNDO("iam:DeleteUserPolicy", "can remove the leased user's end with its policy"),
	UNDO("iam:UpdateUser", "can take the leased user out of dsec's path"),
	UNDO("iam:CreateUser", "makes users that no lease ends"),
	UNDO("iam:CreateAccessKey", "makes keys for users that no lease ends"),
	UNDO("iam:UpdateAccessKey", "can change the keys of users that no lease ends"),
	UNDO("iam:CreateLoginProfile", LOGIN),
	UNDO("iam:UpdateLoginProfile", LOGIN),
	UNDO("iam:CreateServiceSpecificCredential", LOGIN),
	UNDO("iam:ResetServiceSpecificCredential", LOGIN),
	UNDO("iam:UploadSSHPublicKey", LOGIN),
	UNDO("iam:UploadSigningCertificate", LOGIN),
	UNDO("iam:AttachUserPolicy", OTHERS),
	UNDO("iam:AddUserToGroup", OTHERS),
	UNDO("iam:AttachGroupPolicy", OTHERS),
	UNDO("iam:PutGroupPolicy", OTHERS),
	UNDO("iam:CreatePolicyVersion", OTHERS),
	UNDO("iam:SetDefaultPolicyVersion", OTHERS),
	UNDO("iam:CreateRole", ROLES),
	UNDO("iam:AttachRolePolicy", ROLES),
	UNDO("iam:PutRolePolicy", ROLES),
	UNDO("iam:UpdateAssumeRolePolicy", ROLES),
	UNDO("iam:PassRole", "hands a role to a service that goes on after the lease"),
	UNDO("iam:CreateSAMLProvider", TRUST),
	UNDO("iam:UpdateSAMLProvider", TRUST),
	UNDO("iam:CreateOpenIDConnectProvider", TRUST),
	UNDO("iam:AddClientIDToOpenIDConnectProvider", TRUST),
	UNDO("iam:UpdateOpenIDConnectProviderThumbprint", TRUST),
	UNDO("sts:AssumeRole", SESSION),
	UNDO("sts:AssumeRoot", SESSION),
};

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* IAM's wildcards, in any case of letters. A '*' that fits too little takes one more character. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *behind = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			behind = text;
		} else if (*pattern == '?' || lower(*pattern) == lower(*text)) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++behind;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* A string, or a list of them. */
static bool any_matches(const json_t *patterns, const char *text)
{
	if (json_is_string(patterns))
		return matches(json_string_value(patterns), text);
	for (size_t i = 0; i < json_array_size(patterns); i++) {
		const char *pattern = json_string_value(json_array_get(patterns, i));
		if (pattern && matches(pattern, text))
			return true;
	}
	return false;
}

static bool covers(const json_t *statement, const char *action)
{
	const json_t *not_action = json_object_get(statement, "NotAction");

	if (not_action)
		return !any_matches(not_action, action);
	return any_matches(json_object_get(statement, "Action"), action);
}

static bool has_effect(const json_t *statement, const char *effect)
{
	const char *text = json_string_value(json_object_get(statement, "Effect"));

	return text && strcmp(text, effect) == 0;
}

static bool denies_for_good(const json_t *statement)
{
	const json_t *resource = json_object_get(statement, "Resource");

	if (!has_effect(statement, "Deny") || json_object_get(statement, "Condition"))
		return false;
	/* Among the things that only "*" fits is this one. */
	return any_matches(resource, "");
}

static bool allowed(const json_t *statements, const char *action)
{
	bool allowed = false;

	for (size_t i = 0; i < json_array_size(statements); i++) {
		const json_t *statement = json_array_get(statements, i);
		if (!covers(statement, action))
			continue;
		if (denies_for_good(statement))
			return false;
		allowed = allowed || has_effect(statement, "Allow");
	}
	return allowed;
}

const char *policy_self_undo(const char *compact)
{
	json_auto_t *policy = json_loads(compact, JSON_REJECT_DUPLICATES, NULL);
	json_t *statement = json_object_get(policy, "Statement");
	json_auto_t *statements =
		json_is_array(statement) ? json_incref(statement) : json_pack("[O?]", statement);

	for (size_t i = 0; i < sizeof(undos) / sizeof(undos[0]); i++)
		if (allowed(statements, undos[i].action))
			return undos[i].text;
	return NULL;
}
