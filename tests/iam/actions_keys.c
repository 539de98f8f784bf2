#include <string.h>

#include "actions.h"

static size_t count_keys(const struct user *user)
{
	const struct access_key *key;
	size_t n = 0;

	TAILQ_FOREACH (key, &user->keys, of_user)
		n += !key->token && !key->life.removed;
	return n;
}

static void write_key(struct xml *xml, const char *element, const struct access_key *key,
		      bool with_secret)
{
	xml_open(xml, element);
	xml_string(xml, "UserName", key->user->name);
	xml_string(xml, "AccessKeyId", key->id);
	xml_string(xml, "Status", key->active ? "Active" : "Inactive");
	if (with_secret)
		xml_string(xml, "SecretAccessKey", key->secret);
	xml_date(xml, "CreateDate", key->created_ms);
	xml_close(xml);
}

int action_create_access_key(struct call *call)
{
	struct user *user = call_user(call);

	if (user && user->life.removed)
		return call_fail(call, FAIL_NO_SUCH_ENTITY,
				 "The user with name %s cannot be found.", user->name);
	if (!user)
		return -1;
	if (count_keys(user) >= QUOTA_KEYS)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for AccessKeysPerUser: %d",
				 QUOTA_KEYS);
	write_key(&call->xml, "AccessKey",
		  store_add_key(call->server->store, user, NULL, NULL, call->view.now_ms,
				call->date_ms),
		  true);
	return 0;
}

int action_list_access_keys(struct call *call)
{
	const struct user *user = call_user(call);
	const struct access_key *key;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_string(&call->xml, "UserName", user->name);
	xml_open(&call->xml, "AccessKeyMetadata");
	TAILQ_FOREACH (key, &user->keys, of_user)
		if (!key->token && life_visible(&key->life, &call->view) &&
		    page_takes(&page, ++position))
			write_key(&call->xml, "member", key, false);
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}

/* The user's key AccessKeyId that is to be changed: in truth, not as this call sees it. */
static struct access_key *key_to_change(struct call *call)
{
	const struct view everything = {.now_ms = call->view.now_ms, .fresh = true};
	const struct user *user = call_user(call);
	const char *id = user ? call_parameter(call, "AccessKeyId") : NULL;
	struct access_key *key = id ? store_key(call->server->store, id, &everything) : NULL;

	if (!id)
		return NULL;
	if (key && key->user == user && !key->token)
		return key;
	call_fail(call, FAIL_NO_SUCH_ENTITY, "The Access Key with id %s cannot be found.", id);
	return NULL;
}

int action_update_access_key(struct call *call)
{
	struct access_key *key = key_to_change(call);
	const char *status = key ? call_parameter(call, "Status") : NULL;

	if (!status)
		return -1;
	if (strcmp(status, "Active") != 0 && strcmp(status, "Inactive") != 0)
		return call_fail(call, FAIL_VALIDATION,
				 "1 validation error detected: Value '%s' at 'status' failed to "
				 "satisfy constraint: Member must satisfy enum value set: [Active, "
				 "Inactive]",
				 status);
	key->active = !strcmp(status, "Active");
	return 0;
}

int action_delete_access_key(struct call *call)
{
	struct access_key *key = key_to_change(call);

	if (!key)
		return -1;
	/* The caller may be deleting the key that it calls with. */
	if (key == call->key)
		call->key = NULL;
	store_remove_key(call->server->store, key, call->view.now_ms);
	return 0;
}
