#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "api/api_private.h"
#include "lease/owner.h"
#include "lease/secret.h"

#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */
#define TOKEN_HOLDERS   (UINT64_C(1) << 40)

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
bool asker_is_ours(const struct client *client)
{
	uid_t uid = client->peer.caller.uid;

	return client->peer.local && uid != (uid_t)-1 && (uid == 0 || uid == owner_uid());
}

static void identify_peer(struct call *call)
{
	const struct client *client = call->client;
	const struct api *api = call->api;
	struct asker *asker = &call->asker;

	asker->caller = client->peer.caller;
	snprintf(asker->id, sizeof(asker->id), "%s", client->peer.id);
	asker->admin = asker_is_ours(client) || (client->peer.local && api->has_admin_group &&
						 is_member(client, api->admin_group));
}

/* Tokens. */

void asker_token_id(char to[PEER_ID_MAX], const char *token_id)
{
	snprintf(to, PEER_ID_MAX, "token:%.64s", token_id);
}

static void tell(const struct call *call, const struct api_token_event *event)
{
	if (call->api->token_event)
		call->api->token_event(call->api->token_event_arg, event);
}

void asker_tell_lease(const struct call *call, enum api_token_what what, const char *lease_id)
{
	const struct api_token_event event = {
		.what = what,
		.token_id = call->asker.id,
		.peer = call->client ? call->client->peer.id : "",
		.caller = &call->asker.caller,
		.lease_id = lease_id,
	};

	tell(call, &event);
}

void asker_tell(const struct call *call, enum api_token_what what, const char *token_id,
		const struct lease *lease)
{
	const struct api_token_event event = {
		.what = what,
		.token_id = token_id,
		.peer = call->client ? call->client->peer.id : "",
		.caller = &call->asker.caller,
		.lease = lease,
	};

	tell(call, &event);
}

static void tell_refused(const struct call *call, const char *project, const char *config,
			 const char *why)
{
	const char *peer = call->client->peer.id;
	const struct api_token_event event = {
		.what = API_REFUSED,
		.token_id = call->asker.id,
		.peer = peer,
		.caller = &call->asker.caller,
		.project = project,
		.config = config,
		.why = why,
	};

	/* Everybody may ask, and nobody may fill the log. */
	if (bucket_take(&visitor_get(call->api, peer)->told, api_now(call->api)))
		tell(call, &event);
}

void asker_refuse(struct call *call, unsigned status, const char *project, const char *config,
		  const char *format, ...)
{
	char why[DSEC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	tell_refused(call, project, config, why);
	answer_error(call, status, "%s", why);
}

static void refuse_now(struct call *call)
{
	call->answer.challenge = true;
	answer_error(call, MHD_HTTP_UNAUTHORIZED, "Invalid Auth token");
}

static void refusal_due(struct timer *timer)
{
	refuse_now(container_of(timer, struct call, delay));
}

static unsigned n_delayed(const struct client *of)
{
	unsigned n = 0;

	list_each (at, &of->api->clients) {
		const struct client *client = container_of(at, struct client, link);

		n += client->call && client->call->delay.place != 0 &&
		     strcmp(client->peer.id, of->peer.id) == 0;
	}
	return n;
}

/* The more often, the later. Those who have a token wait for nobody. */
static void refuse_slowly(struct call *call)
{
	struct api *api = call->api;
	struct visitor *visitor = visitor_get(api, call->client->peer.id);
	int64_t now_at = api_now(api);

	if (now_at - visitor->refused_at > API_REFUSAL_FORGET_MS)
		visitor->n_refused = 0;
	visitor->refused_at = now_at;
	unsigned doublings = visitor->n_refused < API_REFUSAL_DOUBLINGS ? visitor->n_refused
									: API_REFUSAL_DOUBLINGS;
	visitor->n_refused++;
	asker_tell(call, API_TOKEN_REFUSED, NULL, NULL);
	if (n_delayed(call->client) >= API_REFUSALS_MAX) {
		call->answer.retry = true;
		answer_error(call, MHD_HTTP_TOO_MANY_REQUESTS, "too many wrong tokens from here");
		return;
	}
	call->delay.fire = refusal_due;
	timer_arm(&api->timers, &call->delay, now_at + (API_REFUSAL_MS << doublings));
}

static bool skip_word(const char **at, const char *word)
{
	size_t n = strlen(word);

	if (strncasecmp(*at, word, n) != 0)
		return false;
	*at += n;
	return true;
}

/* The user's name of HTTP Basic. Returns its length; 0: there is none. */
static size_t decode_basic(const char *text, unsigned char *to, size_t size)
{
	size_t n = strcspn(text, " \t\r\n");

	if (n % 4 != 0 || n / 4 * 3 > size)
		return 0;
	int decoded = EVP_DecodeBlock(to, (const unsigned char *)text, (int)n);
	const unsigned char *colon = decoded > 0 ? memchr(to, ':', (size_t)decoded) : NULL;
	return colon ? (size_t)(colon - to) : 0;
}

/* "Bearer TOKEN"; "Basic …"; and the bare token, as AWS's SDKs send what their token file holds. */
static const struct token *find_token(const struct call *call, const char *header)
{
	unsigned char decoded[2 * TOKEN_TEXT_MAX];
	const struct token *token = NULL;

	if (!call->api->tokens)
		return NULL;
	if (skip_word(&header, "Basic ")) {
		size_t n = decode_basic(header, decoded, sizeof(decoded));

		token = n ? tokens_check(call->api->tokens, (const char *)decoded, n) : NULL;
		secret_wipe(decoded, sizeof(decoded));
		return token;
	}
	skip_word(&header, "Bearer ");
	header += strspn(header, " \t");
	return tokens_check(call->api->tokens, header, strcspn(header, " \t\r\n"));
}

static void identify_token(struct call *call, const struct token *token)
{
	struct asker *asker = &call->asker;

	*asker = (struct asker){.caller = call->client->peer.caller, .token = token->number};
	asker_token_id(asker->id, token->id);
	asker->caller.name = asker->id;
	snprintf(asker->project, sizeof(asker->project), "%s", token->project);
	snprintf(asker->config, sizeof(asker->config), "%s", token->config);
}

bool asker_identify(struct call *call)
{
	const char *header = call_header(call, MHD_HTTP_HEADER_AUTHORIZATION);

	identify_peer(call);
	if (!header && call->client->peer.local)
		return true;
	if (!header) {
		call->answer.challenge = true;
		answer_error(call, MHD_HTTP_UNAUTHORIZED,
			     "this needs a token: 'dsec tokens create' makes one");
		return false;
	}
	const struct token *token = find_token(call, header);
	if (token)
		identify_token(call, token);
	else
		refuse_slowly(call);
	return token != NULL;
}

/* By its lists. Which unit or container a socket's peer is in is not certain here: whom the lists
 * name by these alone reads the files. */
static bool is_listed(const struct client *client, const struct access *access)
{
	const struct allow *allow = &access->allow;
	bool listed = !access->restricted;

	for (size_t i = 0; i < allow->n_uids && !listed; i++)
		listed = client->peer.caller.uid == allow->uids[i];
	for (size_t i = 0; i < allow->n_gids && !listed; i++)
		listed = is_member(client, allow->gids[i]);
	return listed;
}

static bool may_read(const struct call *call, const struct config *config)
{
	const struct client *client = call->client;
	const struct access *access = &config->access;

	if (!is_listed(client, access)) /* root is no exception */
		return false;
	if (asker_is_ours(client))
		return true;
	/* As the kernel reads a file's mode: the first class that fits decides. */
	if (client->peer.caller.uid == access->uid)
		return access->mode & 0400;
	if (is_member(client, access->gid))
		return access->mode & 0040;
	return access->mode & 0004;
}

/* A token is for one config, and need not say which. */
static bool is_tokens(struct call *call, const char **project, const char **name)
{
	const struct asker *asker = &call->asker;

	if (!*project || !**project)
		*project = asker->project;
	if (!*name || !**name)
		*name = asker->config;
	if (strcmp(*project, asker->project) == 0 && strcmp(*name, asker->config) == 0)
		return true;
	asker_refuse(call, MHD_HTTP_FORBIDDEN, *project, *name,
		     "This token does not have access to requested config '%.128s' of project "
		     "'%.128s'",
		     *name, *project);
	return false;
}

static void refuse_config(struct call *call, const char *project, const char *name)
{
	/* Hidden from this caller: as if it were not there. */
	if (call->config->access.hide) {
		tell_refused(call, project, name, "it may not read it, and does not see it");
		answer_error(call, MHD_HTTP_NOT_FOUND, "Could not find requested config '%.128s'",
			     name);
		return;
	}
	asker_refuse(call, MHD_HTTP_FORBIDDEN, project, name,
		     "user %u may not read %s/%s: its access is for others",
		     (unsigned)call->asker.caller.uid, project, name);
}

bool asker_find_config(struct call *call, const char *project, const char *name)
{
	if (call->asker.token && !is_tokens(call, &project, &name))
		return false;
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
	if (!call->asker.token && !may_read(call, call->config)) {
		refuse_config(call, project, name);
		return false;
	}
	return true;
}

bool asker_need_admin(struct call *call)
{
	if (call->asker.admin)
		return true;
	asker_refuse(call, MHD_HTTP_FORBIDDEN, NULL, NULL,
		     "only root, the daemon's user and members of api.admin_group may do this, on "
		     "the Unix socket");
	return false;
}

/* Whose another one is, and whether it is, is not told. */
bool asker_holds(struct call *call, const char *lease_id)
{
	if (call->asker.admin || issued_to(call->api, lease_id, call->asker.id))
		return true;
	asker_refuse(call, MHD_HTTP_NOT_FOUND, NULL, NULL,
		     "there is no lease %.36s of yours: it has ended, or it was issued to somebody "
		     "else",
		     lease_id);
	return false;
}

lease_holder asker_holder(const struct call *call, enum lease_scope scope)
{
	if (scope == SCOPE_SHARED)
		return 0;
	/* Numbers that no user has. */
	if (call->asker.token)
		return lease_holder_of(HOLDER_USERS, TOKEN_HOLDERS + call->asker.token);
	return lease_holder_user(call->asker.caller.uid);
}
