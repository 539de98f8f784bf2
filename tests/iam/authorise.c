#include <string.h>

#include "call.h"
#include "map.h"

static const char *const service_prefixes[] = {
	[SERVICE_IAM] = "iam",
	[SERVICE_STS] = "sts",
	[SERVICE_EC2] = "ec2",
};

static enum policy_verdict judge_one(struct call *call, const struct user_policy *policy,
				     const struct policy_request *request)
{
	if (policy->policy)
		return policy_judge(policy->policy, request);

	const struct managed_policy *managed = store_managed(call->server->store, policy->arn);

	return managed ? policy_judge(managed->policy, request) : POLICY_SILENT;
}

/* Whether the user's boundary leaves room for it; one that does not exist leaves none. */
static enum policy_verdict judge_boundary(struct call *call, const struct user *user,
					  const struct policy_request *request)
{
	if (!user->boundary)
		return POLICY_ALLOWS;

	const struct managed_policy *managed = store_managed(call->server->store, user->boundary);

	return managed ? policy_judge(managed->policy, request) : POLICY_SILENT;
}

enum verdict call_judge(struct call *call, struct user *user, const char *action,
			const char *resource, const json_t *keys)
{
	const struct server *server = call->server;
	const struct policy_request request = {
		.action = action,
		.resource = resource,
		.now_ms = clock_wall_ms() + server->settings.policy_off_ms,
		.user_name = user->name,
		.user_id = user->id,
		.user_arn = user->arn,
		.account = server->store->account,
		.source_ip = call->exchange->source_ip,
		.secure_transport = call->exchange->secure,
		.region = call->claim.region,
		.keys = keys,
	};
	enum policy_verdict boundary = judge_boundary(call, user, &request);
	const struct user_policy *policy;
	bool allowed = false;

	if (boundary == POLICY_DENIES)
		return VERDICT_DENIED;
	TAILQ_FOREACH (policy, &user->policies, of_user) {
		if (!life_visible(&policy->life, &call->view))
			continue;

		enum policy_verdict verdict = judge_one(call, policy, &request);

		if (verdict == POLICY_DENIES)
			return VERDICT_DENIED;
		allowed = allowed || verdict == POLICY_ALLOWS;
	}
	return !allowed                    ? VERDICT_NOT_ALLOWED
	       : boundary == POLICY_ALLOWS ? VERDICT_ALLOWED
					   : VERDICT_NOT_WITHIN_BOUNDARY;
}

static const char *parameter(const struct call *call, const char *name, const char *otherwise)
{
	const char *value = form_get(call->form, name);

	return value ? value : otherwise;
}

/* An ARN of IAM's in this account, for free(). */
static char *arn(const struct call *call, const char *kind, const char *path, const char *name)
{
	const struct store *store = call->server->store;

	return must_printf("arn:%s:iam::%s:%s%s%s", store->partition, store->account, kind, path,
			   name);
}

static struct user *target_user(const struct call *call)
{
	const char *name = form_get(call->form, "UserName");

	return name ? store_existing_user(call->server->store, name) : call->user;
}

/* The ARN that the action is authorised on, for free(). */
static char *resource_arn(const struct call *call)
{
	const struct user *user = target_user(call);
	const struct group *group;
	const char *name;

	switch (call->action->resource) {
	case RESOURCE_USER:
		if (user && strcmp(call->name, "CreateUser") != 0)
			return must_strdup(user->arn);
		return arn(call, "user", parameter(call, "Path", "/"),
			   parameter(call, "UserName", ""));
	case RESOURCE_USERS:
		return arn(call, "user", parameter(call, "PathPrefix", "/"), "");
	case RESOURCE_SUBJECT:
		return must_strdup(parameter(call, "PolicySourceArn", "*"));
	case RESOURCE_GROUP:
		group = map_get(call->server->store->groups_by_name,
				form_get(call->form, "GroupName"));
		if (group && strcmp(call->name, "CreateGroup") != 0)
			return must_strdup(group->arn);
		return arn(call, "group", parameter(call, "Path", "/"),
			   parameter(call, "GroupName", ""));
	case RESOURCE_POLICY:
		return arn(call, "policy", parameter(call, "Path", "/"),
			   parameter(call, "PolicyName", ""));
	case RESOURCE_MFA:
		name = form_get(call->form, "SerialNumber");
		return name ? must_strdup(name)
			    : arn(call, "mfa", parameter(call, "Path", "/"),
				  parameter(call, "VirtualMFADeviceName", ""));
	case RESOURCE_NONE:
	case RESOURCE_ANY:
		break;
	}
	return must_strdup("*");
}

static void set_tag_key(json_t *keys, const char *prefix, const char *tag, const char *value)
{
	_cleanup_free_ char *key = must_printf("%s/%s", prefix, tag);

	json_object_set_new(keys, key, json_string(value));
}

static void set_string_key(json_t *keys, const char *key, const char *value)
{
	if (value)
		json_object_set_new(keys, key, json_string(value));
}

/* The condition keys that this call has besides those of all calls; a new reference. */
static json_t *condition_keys(const struct call *call)
{
	const struct user *target = target_user(call);
	bool creates = !strcmp(call->name, "CreateUser");
	json_t *keys = json_object(), *tag_keys = json_array();

	set_string_key(keys, "iam:PolicyARN", form_get(call->form, "PolicyArn"));
	set_string_key(keys, "iam:PermissionsBoundary",
		       creates  ? form_get(call->form, "PermissionsBoundary")
		       : target ? target->boundary
				: NULL);
	for (unsigned i = 1; form_member(call->form, "Tags", i, "Key"); i++) {
		const char *key = form_member(call->form, "Tags", i, "Key");
		const char *value = form_member(call->form, "Tags", i, "Value");

		json_array_append_new(tag_keys, json_string(key));
		set_tag_key(keys, "aws:RequestTag", key, value ? value : "");
	}
	if (json_array_size(tag_keys) > 0)
		json_object_set(keys, "aws:TagKeys", tag_keys);
	json_decref(tag_keys);
	for (size_t i = 0; target && !creates && i < target->n_tags; i++) {
		set_tag_key(keys, "aws:ResourceTag", target->tags[i].key, target->tags[i].value);
		set_tag_key(keys, "iam:ResourceTag", target->tags[i].key, target->tags[i].value);
	}
	for (size_t i = 0; i < call->user->n_tags; i++)
		set_tag_key(keys, "aws:PrincipalTag", call->user->tags[i].key,
			    call->user->tags[i].value);
	return keys;
}

static int deny(struct call *call, const char *action, const char *resource, enum verdict verdict)
{
	if (call->service == SERVICE_EC2)
		return call_fail(
			call, FAIL_UNAUTHORIZED,
			"You are not authorized to perform this operation. User: %s is not "
			"authorized to perform: %s",
			call->user->arn, action);
	if (verdict == VERDICT_DENIED)
		return call_fail(
			call, FAIL_ACCESS_DENIED,
			"User: %s is not authorized to perform: %s on resource: %s with an "
			"explicit deny in an identity-based policy",
			call->user->arn, action, resource);
	return call_fail(call, FAIL_ACCESS_DENIED,
			 "User: %s is not authorized to perform: %s on resource: %s because no %s "
			 "allows the %s action",
			 call->user->arn, action, resource,
			 verdict == VERDICT_NOT_ALLOWED ? "identity-based policy"
							: "permissions boundary",
			 action);
}

static int authorise_one(struct call *call, const char *action, const char *resource,
			 const json_t *keys)
{
	_cleanup_free_ char *full = must_printf("%s:%s", service_prefixes[call->service], action);
	enum verdict verdict = call_judge(call, call->user, full, resource, keys);

	return verdict == VERDICT_ALLOWED ? 0 : deny(call, full, resource, verdict);
}

/* A user that moves must be allowed at both ends. */
static int authorise_move(struct call *call, const json_t *keys)
{
	const struct user *user = target_user(call);
	const char *name = form_get(call->form, "NewUserName"),
		   *path = form_get(call->form, "NewPath");

	if (!user || (!name && !path))
		return 0;

	_cleanup_free_ char *there =
		arn(call, "user", path ? path : user->path, name ? name : user->name);

	return authorise_one(call, call->name, there, keys);
}

int call_authorise(struct call *call)
{
	if (call->action->resource == RESOURCE_NONE)
		return 0;

	_cleanup_free_ char *resource = resource_arn(call);
	json_t *keys = condition_keys(call);
	int result = authorise_one(call, call->name, resource, keys);

	if (!result && !strcmp(call->name, "CreateUser") && json_object_get(keys, "aws:TagKeys"))
		result = authorise_one(call, "TagUser", resource, keys);
	if (!result && !strcmp(call->name, "UpdateUser"))
		result = authorise_move(call, keys);
	json_decref(keys);
	return result;
}
