#include "policy.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

struct policy {
	json_t *root;
	const json_t *statements; /* an object or an array of objects, within `root` */
};

static bool refuse(char *reason, const char *text)
{
	snprintf(reason, POLICY_REASON_MAX, "%s", text);
	return false;
}

/* A policy's lists may be written as their only element. */
static size_t list_size(const json_t *list)
{
	return json_is_array(list) ? json_array_size(list) : 1;
}

static const json_t *list_at(const json_t *list, size_t index)
{
	return json_is_array(list) ? json_array_get(list, index) : list;
}

static bool is_string_list(const json_t *list)
{
	if (json_is_array(list) && json_array_size(list) == 0)
		return false;
	for (size_t i = 0; i < list_size(list); i++)
		if (!json_is_string(list_at(list, i)))
			return false;
	return true;
}

static bool validate_actions(const json_t *actions, char *reason)
{
	if (!actions)
		return refuse(reason, "Policy statement must contain actions.");
	if (!is_string_list(actions))
		return refuse(reason, "Syntax errors in policy.");
	for (size_t i = 0; i < list_size(actions); i++) {
		const char *action = json_string_value(list_at(actions, i));
		const char *colon = strchr(action, ':');

		if (strcmp(action, "*") != 0 && (!colon || colon == action || !colon[1]))
			return refuse(reason, "Actions/Conditions must be prefaced by a vendor, "
					      "e.g., iam, sdb, ec2, etc.");
	}
	return true;
}

/* arn:partition:service:region:account:resource */
static bool is_arn(const char *text)
{
	size_t colons = 0;

	if (strncmp(text, "arn:", 4) != 0)
		return false;
	for (; *text && colons < 5; text++)
		colons += *text == ':';
	return colons == 5 && *text;
}

static bool validate_resources(const json_t *resources, char *reason)
{
	if (!resources)
		return refuse(reason, "Policy statement must contain resources.");
	if (!is_string_list(resources))
		return refuse(reason, "Syntax errors in policy.");
	for (size_t i = 0; i < list_size(resources); i++) {
		const char *resource = json_string_value(list_at(resources, i));

		if (strcmp(resource, "*") != 0 && !is_arn(resource)) {
			snprintf(reason, POLICY_REASON_MAX,
				 "Resource %.128s must be in ARN format or \"*\".", resource);
			return false;
		}
	}
	return true;
}

static bool has_only(const json_t *object, const char *const *names, size_t n)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		bool known = false;

		for (size_t i = 0; i < n; i++)
			known = known || !strcmp(key, names[i]);
		if (!known)
			return false;
	}
	return true;
}

/* Of two members that exclude each other, the one that is there; NULL where both are. */
static const json_t *either(const json_t *object, const char *one, const char *other,
			    bool *ret_both)
{
	const json_t *a = json_object_get(object, one), *b = json_object_get(object, other);

	*ret_both = a && b;
	return a ? a : b;
}

static bool validate_statement(const json_t *statement, char *reason)
{
	static const char *const members[] = {"Sid",       "Effect",    "Action",
					      "NotAction", "Resource",  "NotResource",
					      "Condition", "Principal", "NotPrincipal"};
	const char *effect = json_string_value(json_object_get(statement, "Effect"));
	const json_t *sid = json_object_get(statement, "Sid");
	bool both_actions, both_resources;

	if (!json_is_object(statement) ||
	    !has_only(statement, members, sizeof(members) / sizeof(members[0])))
		return refuse(reason, "Syntax errors in policy.");
	if (json_object_get(statement, "Principal") || json_object_get(statement, "NotPrincipal"))
		return refuse(reason, "Policy document should not specify a principal.");
	if (!effect || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
		return refuse(reason, "Syntax errors in policy.");

	const json_t *actions = either(statement, "Action", "NotAction", &both_actions);
	const json_t *resources = either(statement, "Resource", "NotResource", &both_resources);

	if (both_actions || both_resources || (sid && !json_is_string(sid)))
		return refuse(reason, "Syntax errors in policy.");
	for (const char *at = sid ? json_string_value(sid) : ""; *at; at++)
		if (!isalnum((unsigned char)*at))
			return refuse(reason, "Statement IDs (SID) must be alpha-numeric. Check "
					      "that your input satisfies the regular expression "
					      "[0-9A-Za-z]*");
	return validate_actions(actions, reason) && validate_resources(resources, reason) &&
	       condition_validate(json_object_get(statement, "Condition"), reason);
}

static bool sids_are_unique(const json_t *statements)
{
	for (size_t i = 0; i < list_size(statements); i++)
		for (size_t j = 0; j < i; j++) {
			const char *a =
				json_string_value(json_object_get(list_at(statements, i), "Sid"));
			const char *b =
				json_string_value(json_object_get(list_at(statements, j), "Sid"));

			if (a && b && *a && !strcmp(a, b))
				return false;
		}
	return true;
}

static bool validate(const json_t *root, char *reason)
{
	static const char *const members[] = {"Version", "Id", "Statement"};
	const char *version = json_string_value(json_object_get(root, "Version"));
	const json_t *statements = json_object_get(root, "Statement");

	if (!json_is_object(root) || !has_only(root, members, sizeof(members) / sizeof(members[0])))
		return refuse(reason, "Syntax errors in policy.");
	if (!version || (strcmp(version, "2012-10-17") != 0 && strcmp(version, "2008-10-17") != 0))
		return refuse(reason, "Policy document must be version 2012-10-17 or greater.");
	if (!statements || (json_is_array(statements) && json_array_size(statements) == 0))
		return refuse(reason, "Syntax errors in policy.");
	for (size_t i = 0; i < list_size(statements); i++)
		if (!validate_statement(list_at(statements, i), reason))
			return false;
	return sids_are_unique(statements) ||
	       refuse(reason, "Statement IDs (SID) in a single policy must be unique.");
}

struct policy *policy_parse(const char *document, char *reason)
{
	json_t *root = json_loads(document, JSON_REJECT_DUPLICATES, NULL);

	if (!root) {
		refuse(reason, "Syntax errors in policy.");
		return NULL;
	}
	if (!validate(root, reason)) {
		json_decref(root);
		return NULL;
	}

	struct policy *policy = must_alloc(sizeof(*policy));

	policy->root = root;
	policy->statements = json_object_get(root, "Statement");
	return policy;
}

struct policy *policy_free(struct policy *policy)
{
	if (!policy)
		return NULL;
	json_decref(policy->root);
	free(policy);
	return NULL;
}

static bool action_matches(const json_t *actions, const char *action)
{
	for (size_t i = 0; i < list_size(actions); i++)
		if (text_matches(json_string_value(list_at(actions, i)), action, true))
			return true;
	return false;
}

static bool resource_matches(const json_t *resources, const struct policy_request *request)
{
	for (size_t i = 0; i < list_size(resources); i++) {
		_cleanup_free_ char *pattern =
			condition_expand(json_string_value(list_at(resources, i)), request);

		if (pattern && text_matches(pattern, request->resource, false))
			return true;
	}
	return false;
}

static bool statement_applies(const json_t *statement, const struct policy_request *request)
{
	const json_t *actions = json_object_get(statement, "Action");
	const json_t *resources = json_object_get(statement, "Resource");

	if (actions ? !action_matches(actions, request->action)
		    : action_matches(json_object_get(statement, "NotAction"), request->action))
		return false;
	return resources ? resource_matches(resources, request)
			 : !resource_matches(json_object_get(statement, "NotResource"), request);
}

enum policy_verdict policy_judge(const struct policy *policy, const struct policy_request *request)
{
	enum policy_verdict verdict = POLICY_SILENT;

	for (size_t i = 0; i < list_size(policy->statements); i++) {
		const json_t *statement = list_at(policy->statements, i);
		const char *effect = json_string_value(json_object_get(statement, "Effect"));

		if (!statement_applies(statement, request))
			continue;

		enum condition_result result =
			condition_judge(json_object_get(statement, "Condition"), request);

		if (!strcmp(effect, "Deny") && result != CONDITION_NO)
			return POLICY_DENIES;
		if (!strcmp(effect, "Allow") && result == CONDITION_YES)
			verdict = POLICY_ALLOWS;
	}
	return verdict;
}

size_t policy_counted_size(const char *document)
{
	size_t n = 0;

	for (; *document; document++)
		n += !isspace((unsigned char)*document) &&
		     (*document & 0xc0) != 0x80; /* characters, not UTF-8's further bytes */
	return n;
}
