#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

struct recipe *recipe_new(const struct dynamic_secret *secret)
{
	struct recipe *recipe = alloc_zeroed(1, sizeof(*recipe));
	const char **arns = alloc_zeroed(secret->n_policy_arns, sizeof(*arns));
	struct tag *tags = alloc_zeroed(secret->n_tags, sizeof(*tags));

	for (size_t i = 0; i < secret->n_policy_arns; i++)
		arns[i] = alloc_copy(secret->policy_arns[i]);
	for (size_t i = 0; i < secret->n_tags; i++)
		tags[i] = (struct tag){.key = alloc_copy(secret->tags[i].key),
				       .value = alloc_copy(secret->tags[i].value)};
	recipe->references = 1;
	recipe->secret = *secret;
	recipe->secret.integration = NULL; /* the catalog's */
	recipe->secret.name = alloc_copy(secret->name);
	recipe->secret.policy = alloc_copy(secret->policy);
	recipe->secret.policy_arns = arns;
	recipe->secret.permissions_boundary = alloc_copy(secret->permissions_boundary);
	recipe->secret.tags = tags;
	recipe->secret.on_rotate_command = NULL; /* the catalog's; it is for the daemon */
	return recipe;
}

struct recipe *recipe_ref(struct recipe *recipe)
{
	recipe->references++;
	return recipe;
}

static void free_const(const void *bytes)
{
	free((void *)bytes);
}

struct recipe *recipe_unref(struct recipe *recipe)
{
	if (!recipe || --recipe->references > 0)
		return NULL;
	for (size_t i = 0; i < recipe->secret.n_policy_arns; i++)
		free_const(recipe->secret.policy_arns[i]);
	for (size_t i = 0; i < recipe->secret.n_tags; i++) {
		free_const(recipe->secret.tags[i].key);
		free_const(recipe->secret.tags[i].value);
	}
	free_const(recipe->secret.policy_arns);
	free_const(recipe->secret.tags);
	free_const(recipe->secret.name);
	free_const(recipe->secret.policy);
	free_const(recipe->secret.permissions_boundary);
	free(recipe);
	return NULL;
}

struct pool_name {
	const char *project, *config, *secret;
};

static bool same_name(const struct table_node *node, const void *key)
{
	const struct pool *pool = container_of(node, struct pool, by_name);
	const struct pool_name *name = key;

	return strcmp(pool->project, name->project) == 0 &&
	       strcmp(pool->config, name->config) == 0 && strcmp(pool->secret, name->secret) == 0;
}

static uint64_t hash_name(const struct engine *engine, const struct pool_name *name)
{
	uint64_t parts[] = {
		table_hash_text(&engine->pools_by_name, name->project),
		table_hash_text(&engine->pools_by_name, name->config),
		table_hash_text(&engine->pools_by_name, name->secret),
	};
	return table_hash(&engine->pools_by_name, parts, sizeof(parts));
}

struct pool *pool_find(const struct engine *engine, const char *project, const char *config,
		       const char *secret)
{
	const struct pool_name name = {project, config, secret};
	struct table_node *node =
		table_find(&engine->pools_by_name, hash_name(engine, &name), same_name, &name);

	return node ? container_of(node, struct pool, by_name) : NULL;
}

static void token_has_come(struct timer *timer);

struct pool *pool_get(struct engine *engine, const char *project, const char *config,
		      const char *secret)
{
	const struct pool_name name = {project, config, secret};
	struct pool *pool = pool_find(engine, project, config, secret);

	if (pool)
		return pool;
	pool = alloc_zeroed(1, sizeof(*pool));
	pool->engine = engine;
	pool->project = alloc_copy(project);
	pool->config = alloc_copy(config);
	pool->secret = alloc_copy(secret);
	pool->token.fire = token_has_come;
	list_init(&pool->principals);
	list_init(&pool->slots);
	list_init(&pool->payers);
	list_init(&pool->thirsty);
	list_init(&pool->places);
	list_append(&engine->pools, &pool->link);
	table_insert(&engine->pools_by_name, &pool->by_name, hash_name(engine, &name));
	return pool;
}

static void pool_free(struct pool *pool)
{
	warm_finish(pool);
	payers_forget(pool);
	list_each (at, &pool->slots)
		slot_free(container_of(at, struct slot, link));
	timer_disarm(&pool->engine->timers, &pool->token);
	table_remove(&pool->engine->pools_by_name, &pool->by_name);
	list_remove(&pool->link);
	recipe_unref(pool->recipe);
	free(pool->project);
	free(pool->config);
	free(pool->secret);
	free(pool);
}

static void set_recipe(struct pool *pool, const struct dynamic_secret *secret)
{
	double per_ms = (double)secret->max_rate / (double)secret->max_rate_per_ms;
	int64_t now = engine_now(pool->engine);

	if (pool->recipe)
		bucket_change(&pool->rate, secret->max_rate, per_ms, now);
	else
		bucket_init(&pool->rate, secret->max_rate, per_ms, now);
	recipe_unref(pool->recipe);
	pool->recipe = recipe_new(secret);
	payers_change(pool);
	pool->account = account_find(pool->engine, secret->integration->name);
}

static void configure_config(struct engine *engine, const struct project *project,
			     const struct config *config)
{
	for (size_t i = 0; i < config->n_dynamics; i++)
		set_recipe(pool_get(engine, project->name, config->name, config->dynamics[i].name),
			   &config->dynamics[i]);
}

static bool in_catalog(const struct pool *pool)
{
	const struct config *config =
		catalog_config(pool->engine->catalog, pool->project, pool->config);
	size_t index;

	return config && config_dynamic(config, pool->secret, &index);
}

static void unconfigure(struct pool *pool)
{
	pool->recipe = recipe_unref(pool->recipe);
	pool->account = NULL;
	list_each (at, &pool->slots)
		slot_fail_unconfigured(container_of(at, struct slot, link));
	/* What the journal held of an unknown secret is kept to its end: nobody has removed it from
	 * the configuration. */
	if (pool->secret[0] != '\0')
		list_each (one, &pool->principals)
			principal_revoke(container_of(one, struct principal, in_pool),
					 "removed from the configuration");
}

void pools_configure(struct engine *engine)
{
	const struct catalog *catalog = engine->catalog;

	for (size_t i = 0; i < catalog->n_projects; i++)
		for (size_t j = 0; j < catalog->projects[i].n_configs; j++)
			configure_config(engine, &catalog->projects[i],
					 &catalog->projects[i].configs[j]);

	list_each (at, &engine->pools) {
		struct pool *pool = container_of(at, struct pool, link);

		if (!in_catalog(pool))
			unconfigure(pool);
		list_each (each, &pool->slots)
			slot_drop_stale(container_of(each, struct slot, link));
		warm_configure(pool);
		if (!pool->recipe && list_empty(&pool->principals) && list_empty(&pool->slots))
			pool_free(pool);
	}
}

void pools_free(struct engine *engine)
{
	list_each (at, &engine->pools)
		pool_free(container_of(at, struct pool, link));
}

void pool_failed(struct pool *pool, const struct dsec_error *err)
{
	pool->error = *err;
	pool->error_ms = pool->account
				 ? account_ms(pool->account)
				 : pool->engine->env.clock->calendar_ms(pool->engine->env.clock);
}

bool pool_full(const struct pool *pool)
{
	return pool->n_principals >= pool->recipe->secret.max_leases;
}

static size_t n_in_memory(const struct pool *pool)
{
	size_t n = 0;

	list_each (at, &pool->principals) {
		const struct principal *principal = container_of(at, struct principal, in_pool);

		n += principal->grant || (principal->state < PRINCIPAL_REVOKING &&
					  principal->lease && principal->lease->secret_access_key);
	}
	return n;
}

/* Where there is room for all, as a rule, nothing is counted. */
size_t engine_room(const struct engine *engine)
{
	size_t n = 0;

	if (engine->env.leases_max == 0)
		return SIZE_MAX;
	list_each (at, &engine->pools)
		n += n_in_memory(container_of(at, struct pool, link));
	return n < engine->env.leases_max ? engine->env.leases_max - n : 0;
}

static void wait_for_token(struct pool *pool)
{
	timer_arm(&pool->engine->timers, &pool->token,
		  list_empty(&pool->thirsty)
			  ? DSEC_NEVER
			  : bucket_next_at(&pool->rate, engine_now(pool->engine)));
}

bool pool_take_token(struct pool *pool, struct slot *slot)
{
	/* Who has waited longer has the first token. */
	bool first = list_empty(&pool->thirsty);

	if (first && bucket_take(&pool->rate, engine_now(pool->engine)))
		return true;
	list_append(&pool->thirsty, &slot->thirsty);
	wait_for_token(pool);
	return false;
}

static void token_has_come(struct timer *timer)
{
	struct pool *pool = container_of(timer, struct pool, token);

	if (!list_empty(&pool->thirsty) && bucket_take(&pool->rate, engine_now(pool->engine))) {
		struct slot *slot = list_first(&pool->thirsty, struct slot, thirsty);

		list_remove(&slot->thirsty);
		slot_make_now(slot);
	}
	wait_for_token(pool);
}
