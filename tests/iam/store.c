#include "store.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "ids.h"
#include "map.h"
#include "text.h"

#define NEVER INT64_MAX

struct store *store_new(const char *partition, const char *account)
{
	struct store *store = must_alloc(sizeof(*store));

	store->partition = partition;
	store->account = account;
	TAILQ_INIT(&store->users);
	TAILQ_INIT(&store->graves);
	TAILQ_INIT(&store->managed);
	TAILQ_INIT(&store->groups);
	TAILQ_INIT(&store->mfa_devices);
	store->users_by_name = map_new(true);
	store->graves_by_name = map_new(true);
	store->keys_by_id = map_new(false);
	store->managed_by_arn = map_new(false);
	store->groups_by_name = map_new(true);
	return store;
}

/* The elements of a list that goes as a whole: `next` is read before the element is freed. */
#define FOREACH_SAFELY(element, next, list, link)                                                  \
	for ((element) = TAILQ_FIRST(list); (element) && ((next) = TAILQ_NEXT(element, link), 1);  \
	     (element) = (next))

static void free_policy(struct user_policy *policy)
{
	policy_free(policy->policy);
	free(policy->name);
	free(policy->arn);
	free(policy->document);
	free(policy);
}

static void free_key(struct store *store, struct access_key *key)
{
	map_remove(store->keys_by_id, key->id);
	free(key->id);
	explicit_bzero(key->secret, strlen(key->secret));
	free(key->secret);
	free(key->token);
	free(key);
}

static void free_credential(struct credential *credential)
{
	free(credential->id);
	free(credential->body);
	free(credential->service);
	free(credential->login);
	free(credential->status);
	free(credential);
}

static void free_user_lists(struct store *store, struct user *user)
{
	struct access_key *key, *next_key;
	struct user_policy *policy, *next_policy;
	struct membership *membership, *next_membership;
	struct credential *credential, *next_credential;

	FOREACH_SAFELY(key, next_key, &user->keys, of_user)
	free_key(store, key);
	FOREACH_SAFELY(policy, next_policy, &user->policies, of_user)
	free_policy(policy);
	FOREACH_SAFELY(membership, next_membership, &user->groups, of_user)
	free(membership);
	FOREACH_SAFELY(credential, next_credential, &user->credentials, of_user)
	free_credential(credential);
}

static void free_user(struct store *store, struct user *user)
{
	free_user_lists(store, user);
	for (size_t i = 0; i < user->n_tags; i++) {
		free(user->tags[i].key);
		free(user->tags[i].value);
	}
	free(user->tags);
	free(user->name);
	free(user->path);
	free(user->id);
	free(user->arn);
	free(user->boundary);
	free(user);
}

static void free_managed(struct managed_policy *managed)
{
	policy_free(managed->policy);
	free(managed->name);
	free(managed->path);
	free(managed->id);
	free(managed->arn);
	free(managed);
}

static void free_group(struct group *group)
{
	free(group->name);
	free(group->path);
	free(group->id);
	free(group->arn);
	free(group);
}

static void free_mfa_device(struct mfa_device *device)
{
	free(device->serial);
	free(device);
}

struct store *store_free(struct store *store)
{
	struct user *user, *next_user;
	struct managed_policy *managed, *next_managed;
	struct group *group, *next_group;
	struct mfa_device *device, *next_device;

	if (!store)
		return NULL;
	FOREACH_SAFELY(user, next_user, &store->users, all)
	free_user(store, user);
	FOREACH_SAFELY(managed, next_managed, &store->managed, all)
	free_managed(managed);
	FOREACH_SAFELY(group, next_group, &store->groups, all)
	free_group(group);
	FOREACH_SAFELY(device, next_device, &store->mfa_devices, all)
	free_mfa_device(device);
	map_free(store->users_by_name);
	map_free(store->graves_by_name);
	map_free(store->keys_by_id);
	map_free(store->managed_by_arn);
	map_free(store->groups_by_name);
	free(store);
	return NULL;
}

static struct life life_from(int64_t seen_from)
{
	return (struct life){.seen_from = seen_from, .gone_from = NEVER};
}

bool life_visible(const struct life *life, const struct view *view)
{
	return view->fresh ? !life->removed
			   : life->seen_from <= view->now_ms && view->now_ms < life->gone_from;
}

static bool life_over(const struct life *life, int64_t now_ms)
{
	return life->removed && life->gone_from <= now_ms;
}

void store_bury(struct store *store, int64_t now_ms)
{
	struct user *user, *next;

	/* Nearly in order: only a change of the settings can put a later end before a sooner one,
	 * which then waits for it. */
	FOREACH_SAFELY(user, next, &store->graves, grave)
	{
		if (!life_over(&user->life, now_ms))
			break;
		TAILQ_REMOVE(&store->graves, user, grave);
		TAILQ_REMOVE(&store->users, user, all);
		if (map_get(store->graves_by_name, user->name) == user)
			map_remove(store->graves_by_name, user->name);
		free_user(store, user);
	}
}

static void drop_key(struct store *store, struct access_key *key)
{
	TAILQ_REMOVE(&key->user->keys, key, of_user);
	free_key(store, key);
}

static void drop_policy(struct user *user, struct user_policy *policy)
{
	TAILQ_REMOVE(&user->policies, policy, of_user);
	free_policy(policy);
}

static void forget_removed_parts(struct store *store, struct user *user, int64_t now_ms)
{
	struct access_key *key, *next_key;
	struct user_policy *policy, *next_policy;

	FOREACH_SAFELY(key, next_key, &user->keys, of_user)
	if (life_over(&key->life, now_ms))
		drop_key(store, key);
	FOREACH_SAFELY(policy, next_policy, &user->policies, of_user)
	if (life_over(&policy->life, now_ms))
		drop_policy(user, policy);
}

struct user *store_existing_user(struct store *store, const char *name)
{
	return map_get(store->users_by_name, name);
}

struct user *store_user(struct store *store, const char *name, const struct view *view)
{
	struct user *user = map_get(store->users_by_name, name);

	if (!user || !life_visible(&user->life, view))
		user = map_get(store->graves_by_name, name);
	if (!user || !life_visible(&user->life, view))
		return NULL;
	forget_removed_parts(store, user, view->now_ms);
	return user;
}

static char *user_arn(const struct store *store, const char *path, const char *name)
{
	return must_printf("arn:%s:iam::%s:user%s%s", store->partition, store->account, path, name);
}

struct user *store_add_user(struct store *store, const char *name, const char *path, int64_t now_ms,
			    int64_t created_ms)
{
	struct user *user = must_alloc(sizeof(*user));

	user->life = life_from(now_ms + store->consistency.users_ms);
	user->sequence = ++store->sequence;
	user->name = must_strdup(name);
	user->path = must_strdup(path);
	user->id = id_new("AIDA");
	user->arn = user_arn(store, path, name);
	user->created_ms = created_ms;
	TAILQ_INIT(&user->keys);
	TAILQ_INIT(&user->policies);
	TAILQ_INIT(&user->groups);
	TAILQ_INIT(&user->credentials);
	TAILQ_INSERT_TAIL(&store->users, user, all);
	map_put(store->users_by_name, name, user);
	store->n_users++;
	return user;
}

void store_remove_user(struct store *store, struct user *user, int64_t now_ms)
{
	map_remove(store->users_by_name, user->name);
	map_put(store->graves_by_name, user->name, user);
	user->life.removed = true;
	user->life.gone_from = now_ms + store->consistency.deletions_ms;
	TAILQ_INSERT_TAIL(&store->graves, user, grave);
	store->n_users--;
	store_bury(store, now_ms);
}

void store_rename_user(struct store *store, struct user *user, const char *name, const char *path)
{
	if (name) {
		map_remove(store->users_by_name, user->name);
		free(user->name);
		user->name = must_strdup(name);
		map_put(store->users_by_name, name, user);
	}
	if (path) {
		free(user->path);
		user->path = must_strdup(path);
	}
	free(user->arn);
	user->arn = user_arn(store, user->path, user->name);
}

struct access_key *store_add_key(struct store *store, struct user *user, const char *id,
				 const char *secret, int64_t now_ms, int64_t created_ms)
{
	struct access_key *key = must_alloc(sizeof(*key));

	key->life = life_from(now_ms + store->consistency.keys_ms);
	key->user = user;
	key->id = id ? must_strdup(id) : id_new("AKIA");
	key->secret = secret ? must_strdup(secret) : id_secret();
	key->active = true;
	key->created_ms = created_ms;
	TAILQ_INSERT_TAIL(&user->keys, key, of_user);
	map_put(store->keys_by_id, key->id, key);
	return key;
}

struct access_key *store_add_session(struct store *store, struct user *user, int64_t now_ms,
				     int64_t created_ms, int64_t expires_ms)
{
	_cleanup_free_ char *id = id_new("ASIA");
	struct access_key *key = store_add_key(store, user, id, NULL, now_ms, created_ms);

	key->token = id_token();
	key->expires_ms = expires_ms;
	key->iam_refused = true;
	return key;
}

void store_remove_key(struct store *store, struct access_key *key, int64_t now_ms)
{
	key->life.removed = true;
	key->life.gone_from = now_ms + store->consistency.deletions_ms;
	if (life_over(&key->life, now_ms))
		drop_key(store, key);
}

struct access_key *store_key(struct store *store, const char *id, const struct view *view)
{
	struct access_key *key = map_get(store->keys_by_id, id);

	return key && life_visible(&key->life, view) && life_visible(&key->user->life, view) ? key
											     : NULL;
}

static bool same_policy(const struct user_policy *policy, const char *name, const char *arn)
{
	return name ? policy->name && !strcasecmp(policy->name, name)
		    : arn && policy->arn && !strcmp(policy->arn, arn);
}

static struct user_policy *find_policy(struct user *user, const char *name, const char *arn,
				       const struct view *view)
{
	struct user_policy *policy;

	TAILQ_FOREACH (policy, &user->policies, of_user)
		if (same_policy(policy, name, arn) && life_visible(&policy->life, view))
			return policy;
	return NULL;
}

struct user_policy *user_inline_policy(struct user *user, const char *name, const struct view *view)
{
	return find_policy(user, name, NULL, view);
}

struct user_policy *user_attached_policy(struct user *user, const char *arn,
					 const struct view *view)
{
	return find_policy(user, NULL, arn, view);
}

static void end_policy(struct user *user, struct user_policy *policy, int64_t gone_from,
		       int64_t now_ms)
{
	policy->life.removed = true;
	policy->life.gone_from = gone_from;
	if (life_over(&policy->life, now_ms))
		drop_policy(user, policy);
}

void store_put_policy(struct store *store, struct user *user, const char *name, const char *arn,
		      const char *document, struct policy *policy, int64_t now_ms)
{
	const struct view everything = {.now_ms = now_ms, .fresh = true};
	struct user_policy *old = find_policy(user, name, arn, &everything);
	struct user_policy *put = must_alloc(sizeof(*put));

	put->life = life_from(now_ms + store->consistency.policies_ms);
	put->name = must_strdup(name);
	put->arn = must_strdup(arn);
	put->document = must_strdup(document);
	put->policy = policy;
	TAILQ_INSERT_TAIL(&user->policies, put, of_user);
	/* The old one is in force until the new one is. */
	if (old)
		end_policy(user, old, put->life.seen_from, now_ms);
}

void store_remove_policy(struct store *store, struct user_policy *policy, int64_t now_ms)
{
	policy->life.removed = true;
	policy->life.gone_from = now_ms + store->consistency.deletions_ms;
}

struct credential *user_add_credential(struct user *user, enum credential_kind kind, const char *id,
				       int64_t created_ms)
{
	struct credential *credential = must_alloc(sizeof(*credential));

	credential->kind = kind;
	credential->id = must_strdup(id);
	credential->status = must_strdup("Active");
	credential->created_ms = created_ms;
	TAILQ_INSERT_TAIL(&user->credentials, credential, of_user);
	return credential;
}

struct credential *user_credential(struct user *user, enum credential_kind kind, const char *id)
{
	struct credential *credential;

	TAILQ_FOREACH (credential, &user->credentials, of_user)
		if (credential->kind == kind && (!id || !strcmp(credential->id, id)))
			return credential;
	return NULL;
}

void user_remove_credential(struct user *user, struct credential *credential)
{
	TAILQ_REMOVE(&user->credentials, credential, of_user);
	free_credential(credential);
}

void user_set_tag(struct user *user, const char *key, const char *value)
{
	size_t i = 0;

	while (i < user->n_tags && strcasecmp(user->tags[i].key, key) != 0)
		i++;
	if (i < user->n_tags) {
		free(user->tags[i].key);
		free(user->tags[i].value);
	} else {
		user->tags = must_realloc(user->tags, ++user->n_tags * sizeof(*user->tags));
	}
	user->tags[i] = (struct tag){.key = must_strdup(key), .value = must_strdup(value)};
}

struct mfa_device *store_add_mfa_device(struct store *store, const char *serial)
{
	struct mfa_device *device = must_alloc(sizeof(*device));

	device->serial = must_strdup(serial);
	TAILQ_INSERT_TAIL(&store->mfa_devices, device, all);
	return device;
}

struct mfa_device *store_mfa_device(struct store *store, const char *serial)
{
	struct mfa_device *device;

	TAILQ_FOREACH (device, &store->mfa_devices, all)
		if (!strcmp(device->serial, serial))
			return device;
	return NULL;
}

void store_remove_mfa_device(struct store *store, struct mfa_device *device)
{
	TAILQ_REMOVE(&store->mfa_devices, device, all);
	free_mfa_device(device);
}

struct group *store_add_group(struct store *store, const char *name, const char *path,
			      int64_t created_ms)
{
	struct group *group = must_alloc(sizeof(*group));

	group->name = must_strdup(name);
	group->path = must_strdup(path);
	group->id = id_new("AGPA");
	group->arn = must_printf("arn:%s:iam::%s:group%s%s", store->partition, store->account, path,
				 name);
	group->created_ms = created_ms;
	TAILQ_INSERT_TAIL(&store->groups, group, all);
	map_put(store->groups_by_name, name, group);
	return group;
}

struct membership *user_membership(struct user *user, const struct group *group)
{
	struct membership *membership;

	TAILQ_FOREACH (membership, &user->groups, of_user)
		if (membership->group == group)
			return membership;
	return NULL;
}

void user_join(struct user *user, struct group *group)
{
	struct membership *membership = must_alloc(sizeof(*membership));

	membership->group = group;
	TAILQ_INSERT_TAIL(&user->groups, membership, of_user);
}

void user_leave(struct user *user, struct membership *membership)
{
	TAILQ_REMOVE(&user->groups, membership, of_user);
	free(membership);
}

static struct managed_policy *add_managed(struct store *store, const char *owner, const char *name,
					  const char *path, struct policy *policy,
					  int64_t created_ms)
{
	struct managed_policy *managed = must_alloc(sizeof(*managed));

	managed->name = must_strdup(name);
	managed->path = must_strdup(path);
	managed->id = id_new("ANPA");
	managed->arn =
		must_printf("arn:%s:iam::%s:policy%s%s", store->partition, owner, path, name);
	managed->created_ms = created_ms;
	managed->policy = policy;
	TAILQ_INSERT_TAIL(&store->managed, managed, all);
	map_put(store->managed_by_arn, managed->arn, managed);
	return managed;
}

struct managed_policy *store_add_managed(struct store *store, const char *name, const char *path,
					 struct policy *policy, int64_t created_ms)
{
	return add_managed(store, store->account, name, path, policy, created_ms);
}

/* Those of AWS's own that tests use. Any other exists too, and allows nothing. */
static const char *aws_managed_actions(const char *name)
{
	static const struct {
		const char *name, *actions;
	} known[] = {
		{"AdministratorAccess", "\"*\""},
		{"ReadOnlyAccess", "[\"ec2:Describe*\", \"iam:Get*\", \"iam:List*\"]"},
		{"AmazonEC2ReadOnlyAccess", "\"ec2:Describe*\""},
		{"IAMReadOnlyAccess", "[\"iam:Get*\", \"iam:List*\", \"iam:Simulate*\"]"},
		{"IAMFullAccess", "\"iam:*\""},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].name, name))
			return known[i].actions;
	return "\"none:None\"";
}

struct managed_policy *store_managed(struct store *store, const char *arn)
{
	_cleanup_free_ char *prefix = must_printf("arn:%s:iam::aws:policy/", store->partition);
	struct managed_policy *managed = map_get(store->managed_by_arn, arn);

	if (managed || strncmp(arn, prefix, strlen(prefix)) != 0 || arn[strlen(arn) - 1] == '/')
		return managed;

	const char *slash = strrchr(arn, '/');
	_cleanup_free_ char *path =
		must_strndup(arn + strlen(prefix) - 1, (size_t)(slash + 2 - arn) - strlen(prefix));
	_cleanup_free_ char *document = must_printf("{\"Version\": \"2012-10-17\", \"Statement\": "
						    "{\"Effect\": \"Allow\", \"Action\": %s, "
						    "\"Resource\": \"*\"}}",
						    aws_managed_actions(slash + 1));
	char reason[POLICY_REASON_MAX];

	return add_managed(store, "aws", slash + 1, path, policy_parse(document, reason), 0);
}
