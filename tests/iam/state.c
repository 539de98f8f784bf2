#include "server.h"

static json_t *keys_json(const struct user *user)
{
	json_t *ret = json_array();
	const struct access_key *key;

	TAILQ_FOREACH (key, &user->keys, of_user)
		if (!key->life.removed)
			json_array_append_new(ret, json_string(key->id));
	return ret;
}

static json_t *inline_json(const struct user *user)
{
	json_t *ret = json_object();
	const struct user_policy *policy;

	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (policy->name && !policy->life.removed)
			json_object_set_new(ret, policy->name, json_string(policy->document));
	return ret;
}

static json_t *attached_json(const struct user *user)
{
	json_t *ret = json_array();
	const struct user_policy *policy;

	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (policy->arn && !policy->life.removed)
			json_array_append_new(ret, json_string(policy->arn));
	return ret;
}

static json_t *groups_json(const struct user *user)
{
	json_t *ret = json_array();
	const struct membership *membership;

	TAILQ_FOREACH (membership, &user->groups, of_user)
		json_array_append_new(ret, json_string(membership->group->name));
	return ret;
}

static json_t *credentials_json(const struct user *user)
{
	static const char *const kinds[] = {
		[CREDENTIAL_MFA] = "mfa_device",
		[CREDENTIAL_CERTIFICATE] = "signing_certificate",
		[CREDENTIAL_SSH_KEY] = "ssh_public_key",
		[CREDENTIAL_SERVICE] = "service_specific_credential",
	};
	json_t *ret = json_array();
	const struct credential *credential;

	TAILQ_FOREACH (credential, &user->credentials, of_user)
		json_array_append_new(ret, json_pack("{s:s s:s}", "kind", kinds[credential->kind],
						     "id", credential->id));
	return ret;
}

static json_t *tags_json(const struct user *user)
{
	json_t *ret = json_object();

	for (size_t i = 0; i < user->n_tags; i++)
		json_object_set_new(ret, user->tags[i].key, json_string(user->tags[i].value));
	return ret;
}

static json_t *user_json(const struct user *user)
{
	return json_pack("{s:s s:s s:s s:s s:I s:s? s:b s:o s:o s:o s:o s:o s:o}", "name",
			 user->name, "path", user->path, "arn", user->arn, "id", user->id,
			 "created_ms", (json_int_t)user->created_ms, "permissions_boundary",
			 user->boundary, "login_profile", (int)user->has_login, "access_keys",
			 keys_json(user), "inline_policies", inline_json(user), "attached_policies",
			 attached_json(user), "groups", groups_json(user), "credentials",
			 credentials_json(user), "tags", tags_json(user));
}

json_t *server_state(const struct server *server)
{
	json_t *users = json_array();
	const struct user *user;

	TAILQ_FOREACH (user, &server->store->users, all)
		if (!user->life.removed)
			json_array_append_new(users, user_json(user));
	return json_pack("{s:s s:o s:o s:O*}", "account", server->store->account, "users", users,
			 "held", calls_held(server), "calls", server->record.totals);
}
