#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "call.h"

/* Messages name a parameter as IAM's Java does: userName for UserName. */
static char *java_name(const char *parameter)
{
	char *ret = must_strdup(parameter);

	ret[0] = (char)tolower((unsigned char)ret[0]);
	return ret;
}

const char *call_parameter(struct call *call, const char *name)
{
	const char *value = form_get(call->form, name);
	_cleanup_free_ char *java = java_name(name);

	if (!value)
		call_fail(call, FAIL_VALIDATION,
			  "1 validation error detected: Value null at '%s' failed to satisfy "
			  "constraint: Member must not be null",
			  java);
	return value;
}

static bool check_length(struct call *call, const char *parameter, const char *value, size_t max)
{
	_cleanup_free_ char *java = java_name(parameter);

	if (*value && strlen(value) <= max)
		return true;
	call_fail(call, FAIL_VALIDATION,
		  "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: "
		  "Member must have length %s than or equal to %zu",
		  value, java, *value ? "less" : "greater", *value ? max : 1);
	return false;
}

const char *call_name(struct call *call, const char *parameter, size_t max)
{
	const char *value = call_parameter(call, parameter);

	if (!value || !check_length(call, parameter, value, max))
		return NULL;
	for (const char *at = value; *at; at++) {
		if (isalnum((unsigned char)*at) || strchr("+=,.@_-", *at))
			continue;

		_cleanup_free_ char *java = java_name(parameter);

		call_fail(call, FAIL_VALIDATION,
			  "The specified value for %s is invalid. It must contain only "
			  "alphanumeric characters and/or the following: +=,.@_-",
			  java);
		return NULL;
	}
	return value;
}

const char *call_path(struct call *call, const char *parameter)
{
	const char *value = form_get(call->form, parameter);

	if (!value)
		return "/";
	if (!check_length(call, parameter, value, PATH_MAX_LENGTH))
		return NULL;

	bool ok = value[0] == '/' && value[strlen(value) - 1] == '/';

	for (const char *at = value; *at; at++)
		ok = ok && *at >= 0x21 && *at <= 0x7e;
	if (ok)
		return value;

	_cleanup_free_ char *java = java_name(parameter);

	call_fail(call, FAIL_VALIDATION,
		  "The specified value for %s is invalid. It must begin and end with / and contain "
		  "only alphanumeric characters and/or / characters.",
		  java);
	return NULL;
}

static struct user *no_such_user(struct call *call, const char *name)
{
	call_fail(call, FAIL_NO_SUCH_ENTITY, "The user with name %s cannot be found.", name);
	return NULL;
}

struct user *call_user(struct call *call)
{
	if (!form_get(call->form, "UserName"))
		return call->user;

	const char *name = call_name(call, "UserName", NAME_MAX_LENGTH_LONG);

	if (!name)
		return NULL;

	struct user *user = store_user(call->server->store, name, &call->view);

	return user ? user : no_such_user(call, name);
}

struct user *call_user_to_change(struct call *call)
{
	if (!call_parameter(call, "UserName"))
		return NULL;

	struct user *user = call_user(call);

	return user && user->life.removed ? no_such_user(call, user->name) : user;
}

struct policy *call_policy_document(struct call *call, const char **ret_document)
{
	const char *document = call_parameter(call, "PolicyDocument");
	char reason[POLICY_REASON_MAX];

	if (!document)
		return NULL;

	struct policy *policy = policy_parse(document, reason);

	if (!policy)
		call_fail(call, FAIL_MALFORMED_POLICY, "%s", reason);
	else
		*ret_document = document;
	return policy;
}

static bool check_tag(struct call *call, unsigned index)
{
	const char *key = form_member(call->form, "Tags", index, "Key");
	const char *value = form_member(call->form, "Tags", index, "Value");

	if (key && *key && value && strlen(key) <= 128 && strlen(value) <= 256)
		return true;
	call_fail(call, FAIL_VALIDATION,
		  "1 validation error detected: Value at 'tags.%u.member' failed to satisfy "
		  "constraint: Member must have a key of 1 to 128 and a value of up to 256 "
		  "characters",
		  index);
	return false;
}

int call_count_tags(struct call *call)
{
	unsigned n = 0;

	while (form_member(call->form, "Tags", n + 1, "Key")) {
		n++;
		if (!check_tag(call, n))
			return -1;
		for (unsigned i = 1; i < n; i++)
			if (!strcasecmp(form_member(call->form, "Tags", i, "Key"),
					form_member(call->form, "Tags", n, "Key")))
				return call_fail(call, FAIL_INVALID_INPUT,
						 "Duplicate tag keys found. Please note that Tag "
						 "keys are case insensitive.");
	}
	if (n > QUOTA_TAGS)
		return call_fail(call, FAIL_VALIDATION,
				 "1 validation error detected: Value at 'tags' failed to satisfy "
				 "constraint: Member must have length less than or equal to %d",
				 QUOTA_TAGS);
	return (int)n;
}
