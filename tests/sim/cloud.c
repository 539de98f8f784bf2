#include "tests/sim/cloud.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lease/alloc.h"

#define KEYS_MAX 2

/* A call on its way: what it asks, owned; then what it is answered. */
struct cloud_call {
	struct list link;
	struct cloud *cloud;
	uint64_t handle;
	struct timer effect, answer;
	struct cloud_fate fate;
	provider_done *done; /* NULL: nobody waits */
	void *arg;

	enum provider_op op;
	enum provider_attachment attachment;
	char *user, *path, *name, *document, *marker, *key_id;

	bool failed;
	struct dsec_error err;
	struct provider_user *users;
	char **texts; /* all that the answer's pointers point to */
	size_t n_texts;
	const char **names;
	struct provider_answer said;
	struct secret *secret;
};

static char *text(struct cloud_call *call, const char *from)
{
	call->texts = alloc_resized(call->texts, call->n_texts + 1, sizeof(*call->texts));
	return call->texts[call->n_texts++] = alloc_copy(from);
}

static void call_free(struct cloud_call *call)
{
	world_disarm(call->cloud->world, &call->effect);
	world_disarm(call->cloud->world, &call->answer);
	list_remove(&call->link);
	for (size_t i = 0; i < call->n_texts; i++)
		free(call->texts[i]);
	free(call->texts);
	free(call->names);
	free(call->users);
	secret_unref(call->secret);
	free(call->user);
	free(call->path);
	free(call->name);
	free(call->document);
	free(call->marker);
	free(call->key_id);
	free(call);
}

static void refuse(struct cloud_call *call, enum dsec_error_kind kind, const char *code)
{
	call->failed = true;
	dsec_error_set(&call->err, kind, "%s: %s", provider_op_name(call->op), code);
	snprintf(call->err.code, sizeof(call->err.code), "%s", code);
	snprintf(call->err.request_id, sizeof(call->err.request_id), "request-%llu",
		 (unsigned long long)call->handle);
}

static bool is_at(int64_t since_at, int64_t until_at, int64_t at)
{
	return since_at <= at && at < until_at;
}

static bool same_name(const struct table_node *node, const void *key)
{
	const struct cloud_user *user = container_of(node, struct cloud_user, by_name);

	return user->until_at == DSEC_NEVER && strcmp(user->name, key) == 0;
}

struct cloud_user *cloud_user(const struct cloud *cloud, const char *name)
{
	struct table_node *node = table_find(
		&cloud->by_name, table_hash_text(&cloud->by_name, name), same_name, name);

	return node ? container_of(node, struct cloud_user, by_name) : NULL;
}

struct cloud_thing *cloud_thing(const struct cloud_user *user, enum provider_attachment kind,
				const char *name)
{
	list_each (at, &user->things) {
		struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		if (thing->kind == kind && thing->until_at == DSEC_NEVER &&
		    (!name || strcmp(thing->name, name) == 0))
			return thing;
	}
	return NULL;
}

size_t cloud_count(const struct cloud_user *user, enum provider_attachment kind)
{
	size_t n = 0;

	list_each (at, &user->things) {
		const struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		n += thing->kind == kind && thing->until_at == DSEC_NEVER;
	}
	return n;
}

static void user_free(struct cloud *cloud, struct cloud_user *user)
{
	table_remove(&cloud->by_name, &user->by_name);
	list_remove(&user->link);
	list_each (at, &user->things) {
		struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		free(thing->name);
		free(thing);
	}
	free(user->name);
	free(user->path);
	free(user->arn);
	free(user);
}

struct cloud_user *cloud_make_user(struct cloud *cloud, const char *name, const char *path)
{
	struct cloud_user *user = alloc_zeroed(1, sizeof(*user));
	char arn[700];

	snprintf(arn, sizeof(arn), "arn:aws:iam::%s:user%s%s", cloud->account, path, name);
	user->serial = ++cloud->last_serial;
	user->name = alloc_copy(name);
	user->path = alloc_copy(path);
	user->arn = alloc_copy(arn);
	user->since_at = cloud->world->now_at;
	user->until_at = DSEC_NEVER;
	user->created_ms = world_cloud_ms(cloud->world);
	list_init(&user->things);
	list_append(&cloud->users, &user->link);
	table_insert(&cloud->by_name, &user->by_name, table_hash_text(&cloud->by_name, name));
	cloud->n_users++;
	return user;
}

static struct cloud_thing *put(struct cloud *cloud, struct cloud_user *user,
			       enum provider_attachment kind, const char *name)
{
	struct cloud_thing *thing = cloud_thing(user, kind, name);

	if (thing)
		return thing;
	thing = alloc_zeroed(1, sizeof(*thing));
	thing->kind = kind;
	thing->name = alloc_copy(name);
	thing->since_at = cloud->world->now_at;
	thing->until_at = DSEC_NEVER;
	thing->allows = kind == ATTACHMENT_MANAGED_POLICY || kind == ATTACHMENT_GROUP;
	list_append(&user->things, &thing->link);
	return thing;
}

void cloud_put(struct cloud *cloud, struct cloud_user *user, enum provider_attachment kind,
	       const char *name)
{
	user->tampered = true;
	put(cloud, user, kind, name);
}

void cloud_remove_user(struct cloud *cloud, struct cloud_user *user)
{
	user->tampered = true;
	user->until_at = cloud->world->now_at;
	list_each (at, &user->things) {
		struct cloud_thing *thing = container_of(at, struct cloud_thing, link);

		if (thing->until_at == DSEC_NEVER)
			thing->until_at = cloud->world->now_at;
	}
	cloud->n_users--;
}

/* The moment that a copy shows. */
static int64_t copy_at(struct cloud *cloud)
{
	return cloud->world->now_at - world_between(cloud->world, 0, cloud->consistency_ms);
}

/* The user that a call acts upon. A young one may not have come to the copy that is asked. */
static struct cloud_user *target(struct cloud_call *call)
{
	struct cloud_user *user = cloud_user(call->cloud, call->user);

	if (user && copy_at(call->cloud) >= user->since_at)
		return user;
	refuse(call, DSEC_ERROR_NO_SUCH_ENTITY, "NoSuchEntity");
	return NULL;
}

static void say_user(struct cloud_call *call, const struct cloud_user *user)
{
	call->users[call->said.n_users++] = (struct provider_user){
		.name = text(call, user->name),
		.path = text(call, user->path),
		.arn = text(call, user->arn),
		.created_ms = user->created_ms - user->created_ms % 1000,
	};
}

static void say_one_user(struct cloud_call *call, const struct cloud_user *user)
{
	call->users = alloc_zeroed(1, sizeof(*call->users));
	say_user(call, user);
}

static struct cloud_user *create_user(struct cloud_call *call)
{
	struct cloud *cloud = call->cloud;

	if (cloud_user(cloud, call->user)) {
		refuse(call, DSEC_ERROR_EXISTS, "EntityAlreadyExists");
		return NULL;
	}
	if (cloud->n_users >= cloud->quota) {
		refuse(call, DSEC_ERROR_QUOTA, "LimitExceeded");
		return NULL;
	}

	struct cloud_user *user = cloud_make_user(cloud, call->user, call->path);

	say_one_user(call, user);
	return user;
}

static void get_user(struct cloud_call *call)
{
	struct cloud_user *user = target(call);

	if (user)
		say_one_user(call, user);
}

static struct cloud_user *delete_user(struct cloud_call *call)
{
	struct cloud_user *user = target(call);

	if (!user)
		return NULL;
	list_each (at, &user->things)
		if (container_of(at, struct cloud_thing, link)->until_at == DSEC_NEVER) {
			refuse(call, DSEC_ERROR_CONFLICT, "DeleteConflict");
			return NULL;
		}
	user->until_at = call->cloud->world->now_at;
	call->cloud->n_users--;
	return user;
}

/* Who has been gone for longer than any copy shows is forgotten. */
static void prune(struct cloud *cloud)
{
	list_each (at, &cloud->users) {
		struct cloud_user *user = container_of(at, struct cloud_user, link);

		if (user->until_at != DSEC_NEVER &&
		    user->until_at + cloud->consistency_ms < cloud->world->now_at)
			user_free(cloud, user);
	}
}

static void list_users(struct cloud_call *call)
{
	struct cloud *cloud = call->cloud;
	uint64_t after = call->marker ? strtoull(call->marker, NULL, 10) : 0;
	int64_t at = copy_at(cloud);

	prune(cloud);
	call->users = alloc_zeroed(cloud->page, sizeof(*call->users));
	if (cloud->empty_pages && world_chance(cloud->world, 0.2)) {
		call->said.marker = text(call, call->marker ? call->marker : "0");
		return;
	}
	list_each (link, &cloud->users) {
		struct cloud_user *user = container_of(link, struct cloud_user, link);

		if (user->serial <= after || !is_at(user->since_at, user->until_at, at) ||
		    strncmp(user->path, call->path, strlen(call->path)) != 0)
			continue;
		if (call->said.n_users == cloud->page) {
			char marker[24];

			snprintf(marker, sizeof(marker), "%llu", (unsigned long long)after);
			call->said.marker = text(call, marker);
			return;
		}
		say_user(call, user);
		after = user->serial;
	}
}

/* The end in aws:CurrentTime's Deny; -1: there is none. */
static int64_t deny_of(const char *document)
{
	static const char before[] = "\"DateGreaterThan\":{\"aws:CurrentTime\":\"";
	const char *at = strstr(document, before);
	struct tm tm = {0};

	if (!at || !strptime(at + sizeof(before) - 1, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return -1;
	return (int64_t)timegm(&tm) * 1000;
}

static struct cloud_user *put_policy(struct cloud_call *call)
{
	struct cloud_user *user = target(call);

	if (!user)
		return NULL;

	struct cloud_thing *policy = put(call->cloud, user, ATTACHMENT_INLINE_POLICY, call->name);

	policy->allows = strstr(call->document, "\"Allow\"") != NULL;
	policy->deny_ms = deny_of(call->document);
	policy->denies = policy->deny_ms >= 0;
	return user;
}

static struct cloud_user *attach_policy(struct cloud_call *call)
{
	struct cloud_user *user = target(call);

	if (user)
		put(call->cloud, user, ATTACHMENT_MANAGED_POLICY, call->name);
	return user;
}

void cloud_secret(char secret[CLOUD_SECRET_MAX], const char *access_key_id)
{
	snprintf(secret, CLOUD_SECRET_MAX, "secret-of-%-30s", access_key_id);
}

static struct cloud_user *create_key(struct cloud_call *call)
{
	struct cloud *cloud = call->cloud;
	struct cloud_user *user = target(call);
	char id[32], secret[CLOUD_SECRET_MAX];

	if (!user)
		return NULL;
	if (cloud_count(user, ATTACHMENT_ACCESS_KEY) >= KEYS_MAX) {
		refuse(call, DSEC_ERROR_QUOTA, "LimitExceeded");
		return NULL;
	}
	snprintf(id, sizeof(id), "AKIA%016llX", (unsigned long long)++cloud->last_key);
	cloud_secret(secret, id);
	put(cloud, user, ATTACHMENT_ACCESS_KEY, id);
	if (secret_new(&call->secret, secret, CLOUD_SECRET_MAX - 1, NULL) < 0)
		abort();
	call->said.access_key_id = text(call, id);
	call->said.secret_access_key = call->secret;
	return user;
}

static void list_things(struct cloud_call *call)
{
	struct cloud_user *user = target(call);
	int64_t at = copy_at(call->cloud);

	if (!user)
		return;
	list_each (link, &user->things) {
		const struct cloud_thing *thing = container_of(link, struct cloud_thing, link);

		if (thing->kind != call->attachment || !is_at(thing->since_at, thing->until_at, at))
			continue;
		call->names =
			alloc_resized(call->names, call->said.n_names + 1, sizeof(*call->names));
		call->names[call->said.n_names++] = text(call, thing->name);
	}
}

static struct cloud_user *remove_thing(struct cloud_call *call)
{
	struct cloud_user *user = target(call);
	struct cloud_thing *thing = user ? cloud_thing(user, call->attachment, call->name) : NULL;

	if (user && !thing)
		refuse(call, DSEC_ERROR_NO_SUCH_ENTITY, "NoSuchEntity");
	if (!thing)
		return NULL;
	thing->until_at = call->cloud->world->now_at;
	return user;
}

static void verify_key(struct cloud_call *call)
{
	struct cloud_user *user = cloud_user(call->cloud, call->user);
	struct cloud_thing *key =
		user ? cloud_thing(user, ATTACHMENT_ACCESS_KEY, call->key_id) : NULL;

	if (key && copy_at(call->cloud) >= key->since_at) {
		key->n_verified++;
		return;
	}
	if (key)
		key->n_verified = 0;
	refuse(call, DSEC_ERROR_KEY_NOT_READY, "InvalidClientTokenId");
}

static struct cloud_user *act(struct cloud_call *call)
{
	switch (call->op) {
	case PROVIDER_CREATE_USER:
		return create_user(call);
	case PROVIDER_DELETE_USER:
		return delete_user(call);
	case PROVIDER_PUT_POLICY:
		return put_policy(call);
	case PROVIDER_ATTACH_POLICY:
		return attach_policy(call);
	case PROVIDER_CREATE_KEY:
		return create_key(call);
	case PROVIDER_REMOVE:
		return remove_thing(call);
	case PROVIDER_GET_USER:
		get_user(call);
		return NULL;
	case PROVIDER_LIST_USERS:
		list_users(call);
		return NULL;
	case PROVIDER_LIST:
		list_things(call);
		return NULL;
	case PROVIDER_VERIFY_KEY:
		verify_key(call);
		return NULL;
	case PROVIDER_SUMMARY:
		call->said.users_used = (int64_t)call->cloud->n_users;
		call->said.users_quota = (int64_t)call->cloud->quota;
		return NULL;
	case PROVIDER_SIMULATE: /* "dsec check" alone asks this; here nothing is denied */
		return NULL;
	}
	return NULL;
}

static void take_effect(struct timer *timer)
{
	struct cloud_call *call = container_of(timer, struct cloud_call, effect);
	struct cloud_user *user = act(call);

	if (user && call->cloud->changed)
		call->cloud->changed(call->cloud->arg, user, call->op);
	if (call->answer.place == 0)
		call_free(call); /* it was answered, or nobody waits */
}

static void lose(struct cloud_call *call)
{
	static const char *const codes[] = {
		[DSEC_ERROR_THROTTLED] = "Throttling",
		[DSEC_ERROR_BUSY] = "ServiceFailure",
		[DSEC_ERROR_DENIED] = "AccessDenied",
		[DSEC_ERROR_CREDENTIALS] = "InvalidClientTokenId",
		[DSEC_ERROR_INVALID] = "MalformedPolicyDocument",
		[DSEC_ERROR_KEY_NOT_READY] = "InvalidClientTokenId",
		[DSEC_ERROR_CLOCK_SKEW] = "",
	};
	const char *code = codes[call->fate.kind];

	refuse(call, call->fate.kind, code ? code : "");
	call->err.ambiguous = call->fate.ambiguous;
}

static void give_answer(struct timer *timer)
{
	struct cloud_call *call = container_of(timer, struct cloud_call, answer);
	struct cloud *cloud = call->cloud;

	if (call->fate.fails) {
		call->said = (struct provider_answer){0};
		lose(call);
	}
	if (!call->fate.fails || call->fate.kind == DSEC_ERROR_THROTTLED)
		call->said.server_ms =
			world_cloud_ms(cloud->world) - world_cloud_ms(cloud->world) % 1000;
	call->said.users = call->users;
	call->said.names = call->names;
	if (call->done)
		call->done(call->arg, &call->said, call->failed ? &call->err : NULL);
	call->done = NULL;
	if (call->effect.place == 0)
		call_free(call);
}

static uint64_t submit(struct provider *provider, const struct provider_call *asked,
		       provider_done *done, void *arg)
{
	struct cloud *cloud = container_of(provider, struct cloud, provider);
	struct cloud_call *call = alloc_zeroed(1, sizeof(*call));

	cloud->n_calls[asked->op]++;
	call->cloud = cloud;
	call->handle = ++cloud->last_handle;
	call->effect.fire = take_effect;
	call->answer.fire = give_answer;
	call->done = done;
	call->arg = arg;
	call->op = asked->op;
	call->attachment = asked->attachment;
	call->user = alloc_copy(asked->user);
	call->path = alloc_copy(asked->path);
	call->name = alloc_copy(asked->name);
	call->document = alloc_copy(asked->document);
	call->marker = alloc_copy(asked->marker);
	call->key_id = alloc_copy(asked->access_key_id);
	call->fate = cloud->fate ? cloud->fate(cloud->arg, asked)
				 : (struct cloud_fate){.latency_ms = 20};
	if (call->fate.latency_ms > asked->timeout_ms) {
		call->fate.latency_ms = asked->timeout_ms;
		if (!call->fate.fails) {
			call->fate.fails = call->fate.ambiguous = call->fate.effect = true;
			call->fate.kind = DSEC_ERROR_TIMEOUT;
		}
	}
	list_append(&cloud->calls, &call->link);
	if (!call->fate.fails)
		world_arm(cloud->world, &call->effect, call->fate.latency_ms / 2);
	else if (call->fate.effect)
		world_arm(cloud->world, &call->effect, call->fate.effect_delay_ms);
	world_arm(cloud->world, &call->answer, call->fate.latency_ms);
	return call->handle;
}

static void forget_caller(struct cloud_call *call)
{
	call->done = NULL;
	world_disarm(call->cloud->world, &call->answer);
	if (call->effect.place == 0)
		call_free(call);
}

static void cancel(struct provider *provider, uint64_t handle)
{
	struct cloud *cloud = container_of(provider, struct cloud, provider);

	list_each (at, &cloud->calls) {
		struct cloud_call *call = container_of(at, struct cloud_call, link);

		if (call->handle == handle) {
			forget_caller(call);
			return;
		}
	}
	abort(); /* the engine cancels what was answered */
}

void cloud_forget_callers(struct cloud *cloud)
{
	list_each (at, &cloud->calls)
		forget_caller(container_of(at, struct cloud_call, link));
}

void cloud_init(struct cloud *cloud, struct world *world, const char *account)
{
	static const struct provider_ops ops = {submit, cancel};

	*cloud = (struct cloud){
		.provider.ops = &ops,
		.world = world,
		.account = account,
		.quota = 5000,
		.page = 100,
	};
	list_init(&cloud->users);
	list_init(&cloud->calls);
	table_init(&cloud->by_name, 3);
}

void cloud_finish(struct cloud *cloud)
{
	list_each (at, &cloud->calls)
		call_free(container_of(at, struct cloud_call, link));
	list_each (at, &cloud->users)
		user_free(cloud, container_of(at, struct cloud_user, link));
	table_finish(&cloud->by_name);
}
