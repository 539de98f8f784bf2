#include "actions.h"
#include "map.h"

static void write_group(struct xml *xml, const char *element, const struct group *group)
{
	xml_open(xml, element);
	xml_string(xml, "Path", group->path);
	xml_string(xml, "GroupName", group->name);
	xml_string(xml, "GroupId", group->id);
	xml_string(xml, "Arn", group->arn);
	xml_date(xml, "CreateDate", group->created_ms);
	xml_close(xml);
}

int action_create_group(struct call *call)
{
	struct store *store = call->server->store;
	const char *name = call_name(call, "GroupName", NAME_MAX_LENGTH_LONG);
	const char *path = name ? call_path(call, "Path") : NULL;

	if (!path)
		return -1;
	if (map_get(store->groups_by_name, name))
		return call_fail(call, FAIL_EXISTS, "Group with name %s already exists.", name);
	write_group(&call->xml, "Group", store_add_group(store, name, path, call->date_ms));
	return 0;
}

static struct group *named_group(struct call *call)
{
	const char *name = call_name(call, "GroupName", NAME_MAX_LENGTH_LONG);
	struct group *group = map_get(call->server->store->groups_by_name, name);

	if (name && !group)
		call_fail(call, FAIL_NO_SUCH_ENTITY, "The group with name %s cannot be found.",
			  name);
	return group;
}

int action_add_user_to_group(struct call *call)
{
	struct group *group = named_group(call);
	struct user *user = group ? call_user_to_change(call) : NULL;
	const struct membership *membership;
	size_t n = 0;

	if (!user)
		return -1;
	if (user_membership(user, group))
		return 0;
	TAILQ_FOREACH (membership, &user->groups, of_user)
		n++;
	if (n >= QUOTA_GROUPS)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for GroupsPerUser: %d",
				 QUOTA_GROUPS);
	user_join(user, group);
	return 0;
}

int action_remove_user_from_group(struct call *call)
{
	struct group *group = named_group(call);
	struct user *user = group ? call_user_to_change(call) : NULL;
	struct membership *membership = user ? user_membership(user, group) : NULL;

	if (!user)
		return -1;
	if (!membership)
		return call_fail(call, FAIL_NO_SUCH_ENTITY, "User %s not in group %s", user->name,
				 group->name);
	user_leave(user, membership);
	return 0;
}

int action_list_groups_for_user(struct call *call)
{
	const struct user *user = call_user(call);
	const struct membership *membership;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, "Groups");
	TAILQ_FOREACH (membership, &user->groups, of_user)
		if (page_takes(&page, ++position))
			write_group(&call->xml, "member", membership->group);
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}
