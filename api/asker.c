#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/owner.h"

#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

static bool is_member(const struct client *client, gid_t group)
{
	if (client->peer.caller.gid == group)
		return true;

	gid_t *groups = malloc(PEER_GROUPS_MAX * sizeof(*groups));
	socklen_t size = PEER_GROUPS_MAX * sizeof(*groups);
	bool found = false;

	if (!groups)
		return false;
	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
		for (size_t i = 0; i < size / sizeof(*groups) && !found; i++)
			found = groups[i] == group;
	free(groups);
	return found;
}

/* Root, and whoever the daemon runs as, could have all this without asking. */
static bool is_ours(const struct client *client)
{
	uid_t uid = client->peer.caller.uid;

	return client->peer.local && uid != (uid_t)-1 && (uid == 0 || uid == owner_uid());
}

bool asker_identify(struct call *call)
{
	const struct client *client = call->client;
	const struct api *api = call->api;
	struct asker *asker = &call->asker;

	asker->caller = client->peer.caller;
	snprintf(asker->id, sizeof(asker->id), "%s", client->peer.id);
	asker->admin =
		is_ours(client) || (api->has_admin_group && is_member(client, api->admin_group));
	return true;
}

static bool may_read(const struct call *call, const struct config *config)
{
	const struct client *client = call->client;
	const struct access *access = &config->access;

	if (is_ours(client))
		return true;
	/* As the kernel reads a file's mode: the first class that fits decides. */
	if (client->peer.caller.uid == access->uid)
		return access->mode & 0400;
	if (is_member(client, access->gid))
		return access->mode & 0040;
	return access->mode & 0004;
}

bool asker_find_config(struct call *call, const char *project, const char *name)
{
	if (!project || !*project || !name || !*name) {
		answer_error(call, MHD_HTTP_BAD_REQUEST, "say which project and which config");
		return false;
	}
	if (!catalog_project(call->catalog, project)) {
		answer_error(call, MHD_HTTP_NOT_FOUND, "Could not find requested project '%.128s'",
			     project);
		return false;
	}
	call->config = catalog_config(call->catalog, project, name);
	if (!call->config) {
		answer_error(call, MHD_HTTP_NOT_FOUND, "Could not find requested config '%.128s'",
			     name);
		return false;
	}
	if (!may_read(call, call->config)) {
		answer_error(call, MHD_HTTP_FORBIDDEN,
			     "user %u may not read %s/%s: its access is for others",
			     (unsigned)call->asker.caller.uid, project, name);
		return false;
	}
	return true;
}

bool asker_need_admin(struct call *call)
{
	if (call->asker.admin)
		return true;
	answer_error(call, MHD_HTTP_FORBIDDEN,
		     "only root, the daemon's user and members of api.admin_group may do this, on "
		     "the Unix socket");
	return false;
}

bool asker_holds(struct call *call, const char *lease_id)
{
	if (call->asker.admin || issued_to(call->api, lease_id, call->asker.id))
		return true;
	answer_error(call, MHD_HTTP_FORBIDDEN,
		     "this lease is not yours: whoever it was issued to, root, the daemon's user "
		     "and members of api.admin_group may do this");
	return false;
}

lease_holder asker_holder(const struct call *call, enum lease_scope scope)
{
	return scope == SCOPE_SHARED ? 0 : lease_holder_user(call->asker.caller.uid);
}
