#include <string.h>

#include "actions.h"

static void write_tags(struct xml *xml, const struct user *user)
{
	xml_open(xml, "Tags");
	for (size_t i = 0; i < user->n_tags; i++) {
		xml_open(xml, "member");
		xml_string(xml, "Key", user->tags[i].key);
		xml_string(xml, "Value", user->tags[i].value);
		xml_close(xml);
	}
	xml_close(xml);
}

/* `whole`: with what ListUsers leaves out. */
static void write_user(struct xml *xml, const char *element, const struct user *user, bool whole)
{
	xml_open(xml, element);
	xml_string(xml, "Path", user->path);
	xml_string(xml, "UserName", user->name);
	xml_string(xml, "UserId", user->id);
	xml_string(xml, "Arn", user->arn);
	xml_date(xml, "CreateDate", user->created_ms);
	if (whole && user->boundary) {
		xml_open(xml, "PermissionsBoundary");
		xml_string(xml, "PermissionsBoundaryType", "Policy");
		xml_string(xml, "PermissionsBoundaryArn", user->boundary);
		xml_close(xml);
	}
	if (whole && user->n_tags > 0)
		write_tags(xml, user);
	xml_close(xml);
}

static void set_tags(struct call *call, struct user *user, int n_tags)
{
	for (unsigned i = 1; i <= (unsigned)n_tags; i++)
		user_set_tag(user, form_member(call->form, "Tags", i, "Key"),
			     form_member(call->form, "Tags", i, "Value"));
}

int action_create_user(struct call *call)
{
	struct store *store = call->server->store;
	const char *name = call_name(call, "UserName", NAME_MAX_LENGTH);
	const char *path = name ? call_path(call, "Path") : NULL;
	const char *boundary = form_get(call->form, "PermissionsBoundary");
	int n_tags = path ? call_count_tags(call) : -1;

	if (n_tags < 0)
		return -1;
	if (boundary && !store_managed(store, boundary))
		return call_fail(call, FAIL_NO_SUCH_ENTITY,
				 "Scope ARN: %s does not exist or is not "
				 "attachable.",
				 boundary);
	if (store_existing_user(store, name))
		return call_fail(call, FAIL_EXISTS, "User with name %s already exists.", name);
	if (store->n_users >= call->server->settings.users_quota)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for UsersPerAccount: %zu",
				 call->server->settings.users_quota);

	struct user *user = store_add_user(store, name, path, call->view.now_ms, call->date_ms);

	user->boundary = must_strdup(boundary);
	set_tags(call, user, n_tags);
	write_user(&call->xml, "User", user, true);
	return 0;
}

int action_get_user(struct call *call)
{
	struct user *user = call_user(call);

	if (!user)
		return -1;
	write_user(&call->xml, "User", user, true);
	return 0;
}

int action_update_user(struct call *call)
{
	struct store *store = call->server->store;
	struct user *user = call_user_to_change(call);
	const char *name = form_get(call->form, "NewUserName");
	const char *path = form_get(call->form, "NewPath");

	if (!user || (name && !call_name(call, "NewUserName", NAME_MAX_LENGTH)) ||
	    (path && !call_path(call, "NewPath")))
		return -1;

	const struct user *other = name ? store_existing_user(store, name) : NULL;

	if (other && other != user)
		return call_fail(call, FAIL_EXISTS, "User with name %s already exists.", name);
	store_rename_user(store, user, name, path);
	return 0;
}

/* What must go before the user may; NULL: nothing. */
static const char *obstacle(struct user *user)
{
	static const char *const credentials[] = {
		[CREDENTIAL_MFA] = "delete MFA device",
		[CREDENTIAL_CERTIFICATE] = "delete signing certificates",
		[CREDENTIAL_SSH_KEY] = "delete SSH public keys",
		[CREDENTIAL_SERVICE] = "delete service specific credentials",
	};
	const struct access_key *key;
	const struct user_policy *policy;

	/* IAM looks at the truth here, whatever this call sees. */
	TAILQ_FOREACH (key, &user->keys, of_user)
		if (!key->life.removed && !key->token)
			return "delete access keys";
	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (!policy->life.removed)
			return policy->name ? "delete policies" : "detach all policies";
	if (!TAILQ_EMPTY(&user->groups))
		return "remove users from group";
	if (user->has_login)
		return "delete login profile";
	for (enum credential_kind kind = 0; kind < CREDENTIAL_KINDS; kind++)
		if (user_credential(user, kind, NULL))
			return credentials[kind];
	return NULL;
}

int action_delete_user(struct call *call)
{
	struct user *user = call_user_to_change(call);
	const char *first = user ? obstacle(user) : NULL;

	if (!user)
		return -1;
	if (first)
		return call_fail(call, FAIL_DELETE_CONFLICT, "Cannot delete entity, must %s first.",
				 first);
	/* The caller may be deleting itself: nothing of it is used from here on. */
	if (user == call->user) {
		call->user = NULL;
		call->key = NULL;
	}
	store_remove_user(call->server->store, user, call->view.now_ms);
	return 0;
}

int action_list_users(struct call *call)
{
	const char *prefix = form_get(call->form, "PathPrefix");
	const struct user *user;
	struct page page;

	if (prefix && (prefix[0] != '/' || strlen(prefix) > PATH_MAX_LENGTH))
		return call_fail(
			call, FAIL_VALIDATION,
			"The specified value for pathPrefix is invalid. It must begin with "
			"/ and contain only alphanumeric characters and/or / characters.");
	if (page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, "Users");
	TAILQ_FOREACH (user, &call->server->store->users, all) {
		if (!life_visible(&user->life, &call->view) ||
		    (prefix && strncmp(user->path, prefix, strlen(prefix)) != 0))
			continue;
		if (page_takes(&page, user->sequence))
			write_user(&call->xml, "member", user, false);
		if (page.truncated)
			break;
	}
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}

int action_tag_user(struct call *call)
{
	struct user *user = call_user_to_change(call);
	int n_tags = user ? call_count_tags(call) : -1;

	if (n_tags < 0)
		return -1;
	if (user->n_tags + (size_t)n_tags > QUOTA_TAGS)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for TagsPerUser: %d",
				 QUOTA_TAGS);
	set_tags(call, user, n_tags);
	return 0;
}

int action_list_user_tags(struct call *call)
{
	const struct user *user = call_user(call);
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, "Tags");
	for (size_t i = 0; i < user->n_tags; i++) {
		if (!page_takes(&page, i + 1))
			continue;
		xml_open(&call->xml, "member");
		xml_string(&call->xml, "Key", user->tags[i].key);
		xml_string(&call->xml, "Value", user->tags[i].value);
		xml_close(&call->xml);
	}
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}
