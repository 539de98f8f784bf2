#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/engine_private.h"

struct account *account_find(const struct engine *engine, const char *name)
{
	list_each (at, &engine->accounts) {
		struct account *account = container_of(at, struct account, link);

		if (account->configured && strcmp(account->name, name) == 0)
			return account;
	}
	return NULL;
}

int64_t account_ms(const struct account *account)
{
	return server_clock_ms(&account->limiter.calendar);
}

/* What was adopted before AWS's clock was known has its end by the local calendar. */
static void calendar_learnt(struct limiter *limiter)
{
	struct account *account = container_of(limiter, struct account, limiter);

	list_each (at, &account->engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		/* A renewal does this itself when it is through. */
		if (principal->account == account && principal->adopted &&
		    principal->state == PRINCIPAL_ACTIVE && !principal->renewal)
			principal_set_expiry(principal);
	}
}

/* The same account of the same server: what the users of one are, the other can remove. A new
 * endpoint may be another account's, whose NoSuchEntity says nothing about users of the old one. */
static bool is_same(const struct account *account, const struct integration *integration)
{
	return strcmp(account->name, integration->name) == 0 &&
	       strcmp(account->endpoint, integration->endpoint) == 0 &&
	       strcmp(account->path, integration->path) == 0;
}

static struct account *account_new(struct engine *engine, const struct integration *integration,
				   struct provider *provider)
{
	struct account *account = alloc_zeroed(1, sizeof(*account));

	account->engine = engine;
	account->name = alloc_copy(integration->name);
	account->endpoint = alloc_copy(integration->endpoint);
	account->path = alloc_copy(integration->path);
	limiter_init(&account->limiter, engine->env.clock, &engine->timers, provider,
		     integration->rate);
	account->limiter.calendar_learnt = calendar_learnt;
	list_append(&engine->accounts, &account->link);
	return account;
}

static void account_free(struct account *account)
{
	reconcile_cancel(account);
	limiter_finish(&account->limiter);
	list_remove(&account->link);
	free(account->name);
	free(account->endpoint);
	free(account->path);
	free(account);
}

static void configure(struct engine *engine, const struct integration *integration)
{
	struct provider *provider = engine->env.provider(engine->env.provider_arg, integration);
	struct account *account = NULL;

	list_each (at, &engine->accounts) {
		struct account *known = container_of(at, struct account, link);

		if (is_same(known, integration))
			account = known;
	}
	if (!account)
		account = account_new(engine, integration, provider);
	account->configured = true;
	account->verify = integration->verify;
	account->expiry_in_policy = integration->expiry_in_policy;
	account->limiter.provider = provider;
	limiter_set_rate(&account->limiter, integration->rate);
	if (engine->started && account->reconcile.round == 0)
		reconcile_begin(account);
}

/* Records whose integration was not configured until now. */
static void claim_orphans(struct engine *engine)
{
	list_each (at, &engine->principals) {
		struct principal *principal = container_of(at, struct principal, link);

		if (principal->account)
			continue;
		principal->account = account_find(engine, principal->record.integration);
		if (!principal->account)
			continue;
		principal->account->n_principals++;
		principal->account->n_keys += principal->key_left;
		if (principal->state == PRINCIPAL_REVOKING)
			principal_remove(principal);
	}
}

void accounts_configure(struct engine *engine)
{
	list_each (at, &engine->accounts)
		container_of(at, struct account, link)->configured = false;
	for (size_t i = 0; i < engine->catalog->n_integrations; i++)
		configure(engine, &engine->catalog->integrations[i]);
	claim_orphans(engine);
}

void accounts_prune(struct engine *engine)
{
	list_each (at, &engine->accounts) {
		struct account *account = container_of(at, struct account, link);

		if (!account->configured && account->n_principals == 0)
			account_free(account);
	}
}

void accounts_free(struct engine *engine)
{
	list_each (at, &engine->accounts)
		account_free(container_of(at, struct account, link));
}
