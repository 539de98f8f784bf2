#include <string.h>
#include <strings.h>

#include "actions.h"

/* What the user's inline policies count in all, without the one named `but`. */
static size_t inline_size(const struct user *user, const char *but)
{
	const struct user_policy *policy;
	size_t n = 0;

	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (policy->name && !policy->life.removed && strcasecmp(policy->name, but) != 0)
			n += policy_counted_size(policy->document);
	return n;
}

int action_put_user_policy(struct call *call)
{
	struct user *user = call_user_to_change(call);
	const char *name = user ? call_name(call, "PolicyName", NAME_MAX_LENGTH_LONG) : NULL;
	const char *document = NULL;
	struct policy *policy = name ? call_policy_document(call, &document) : NULL;

	if (!policy)
		return -1;
	if (inline_size(user, name) + policy_counted_size(document) > QUOTA_INLINE_CHARACTERS) {
		policy_free(policy);
		return call_fail(call, FAIL_LIMIT,
				 "Maximum policy size of %d bytes exceeded for user %s",
				 QUOTA_INLINE_CHARACTERS, user->name);
	}
	store_put_policy(call->server->store, user, name, NULL, document, policy,
			 call->view.now_ms);
	return 0;
}

static struct user_policy *named_policy(struct call *call, struct user *user)
{
	const char *name = user ? call_name(call, "PolicyName", NAME_MAX_LENGTH_LONG) : NULL;
	struct user_policy *policy = name ? user_inline_policy(user, name, &call->view) : NULL;

	if (name && !policy)
		call_fail(call, FAIL_NO_SUCH_ENTITY,
			  "The user policy with name %s cannot be found.", name);
	return policy;
}

int action_get_user_policy(struct call *call)
{
	struct user *user = call_user(call);
	const struct user_policy *policy = named_policy(call, user);
	_cleanup_text_ struct text encoded = {0};

	if (!policy)
		return -1;
	text_add_encoded(&encoded, policy->document, strlen(policy->document), false);
	xml_string(&call->xml, "UserName", user->name);
	xml_string(&call->xml, "PolicyName", policy->name);
	xml_string(&call->xml, "PolicyDocument", text_string(&encoded));
	return 0;
}

int action_delete_user_policy(struct call *call)
{
	struct user_policy *policy = named_policy(call, call_user_to_change(call));

	if (!policy)
		return -1;
	if (policy->life.removed)
		return call_fail(call, FAIL_NO_SUCH_ENTITY,
				 "The user policy with name %s cannot be found.", policy->name);
	store_remove_policy(call->server->store, policy, call->view.now_ms);
	return 0;
}

int action_list_user_policies(struct call *call)
{
	const struct user *user = call_user(call);
	const struct user_policy *policy;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, "PolicyNames");
	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (policy->name && life_visible(&policy->life, &call->view) &&
		    page_takes(&page, ++position))
			xml_string(&call->xml, "member", policy->name);
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}

static const char *policy_arn(struct call *call)
{
	const char *arn = call_parameter(call, "PolicyArn");

	if (arn && (strncmp(arn, "arn:", 4) != 0 || strlen(arn) < 20)) {
		call_fail(call, FAIL_VALIDATION, "ARN %s is not valid.", arn);
		return NULL;
	}
	return arn;
}

int action_attach_user_policy(struct call *call)
{
	const struct view everything = {.now_ms = call->view.now_ms, .fresh = true};
	struct user *user = call_user_to_change(call);
	const char *arn = user ? policy_arn(call) : NULL;
	const struct user_policy *policy;
	size_t n = 0;

	if (!arn)
		return -1;
	if (!store_managed(call->server->store, arn))
		return call_fail(call, FAIL_NO_SUCH_ENTITY,
				 "Policy %s does not exist or is not attachable.", arn);
	if (user_attached_policy(user, arn, &everything))
		return 0;
	TAILQ_FOREACH (policy, &user->policies, of_user)
		n += policy->arn && !policy->life.removed;
	if (n >= QUOTA_ATTACHED)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for PoliciesPerUser: %d",
				 QUOTA_ATTACHED);
	store_put_policy(call->server->store, user, NULL, arn, NULL, NULL, call->view.now_ms);
	return 0;
}

int action_detach_user_policy(struct call *call)
{
	struct user *user = call_user_to_change(call);
	const char *arn = user ? policy_arn(call) : NULL;
	struct user_policy *policy = arn ? user_attached_policy(user, arn, &call->view) : NULL;

	if (!arn)
		return -1;
	if (!policy || policy->life.removed)
		return call_fail(call, FAIL_NO_SUCH_ENTITY, "Policy %s was not found.", arn);
	store_remove_policy(call->server->store, policy, call->view.now_ms);
	return 0;
}

int action_list_attached_user_policies(struct call *call)
{
	const struct user *user = call_user(call);
	const struct user_policy *policy;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, "AttachedPolicies");
	TAILQ_FOREACH (policy, &user->policies, of_user) {
		if (!policy->arn || !life_visible(&policy->life, &call->view) ||
		    !page_takes(&page, ++position))
			continue;
		xml_open(&call->xml, "member");
		xml_string(&call->xml, "PolicyName", strrchr(policy->arn, '/') + 1);
		xml_string(&call->xml, "PolicyArn", policy->arn);
		xml_close(&call->xml);
	}
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}

int action_create_policy(struct call *call)
{
	struct store *store = call->server->store;
	const char *name = call_name(call, "PolicyName", NAME_MAX_LENGTH_LONG), *document = NULL;
	const char *path = name ? call_path(call, "Path") : NULL;
	struct policy *policy = path ? call_policy_document(call, &document) : NULL;
	const struct managed_policy *other;
	struct xml *xml = &call->xml;

	if (!policy)
		return -1;
	if (policy_counted_size(document) > QUOTA_MANAGED_CHARACTERS) {
		policy_free(policy);
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for PolicySize: %d",
				 QUOTA_MANAGED_CHARACTERS);
	}
	TAILQ_FOREACH (other, &store->managed, all)
		if (!strcasecmp(other->name, name) && !strstr(other->arn, ":iam::aws:")) {
			policy_free(policy);
			return call_fail(call, FAIL_EXISTS,
					 "A policy called %s already exists. Duplicate names are "
					 "not allowed.",
					 name);
		}

	const struct managed_policy *managed =
		store_add_managed(store, name, path, policy, call->date_ms);

	xml_open(xml, "Policy");
	xml_string(xml, "PolicyName", managed->name);
	xml_string(xml, "PolicyId", managed->id);
	xml_string(xml, "Arn", managed->arn);
	xml_string(xml, "Path", managed->path);
	xml_string(xml, "DefaultVersionId", "v1");
	xml_number(xml, "AttachmentCount", 0);
	xml_number(xml, "PermissionsBoundaryUsageCount", 0);
	xml_bool(xml, "IsAttachable", true);
	xml_date(xml, "CreateDate", managed->created_ms);
	xml_date(xml, "UpdateDate", managed->created_ms);
	xml_close(xml);
	return 0;
}
