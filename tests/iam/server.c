#include "server.h"

#include <limits.h>
#include <string.h>
#include <time.h>

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

void server_default_settings(struct server *server)
{
	server->settings = (struct settings){
		.users_quota = 5000,
		.sts = true,
		.account_summary = true,
	};
	server->store->consistency = (struct consistency){0};
}

void server_init(struct server *server, const char *region, const char *account)
{
	static const struct {
		const char *prefix, *partition, *iam_region;
	} partitions[] = {
		{"cn-", "aws-cn", "cn-north-1"},
		{"us-gov-", "aws-us-gov", "us-gov-west-1"},
		{"eusc-", "aws-eusc", "eusc-de-east-1"},
		{"", "aws", "us-east-1"},
	};
	size_t i = 0;

	while (strncmp(region, partitions[i].prefix, strlen(partitions[i].prefix)) != 0)
		i++;
	*server = (struct server){
		.region = region,
		.iam_region = partitions[i].iam_region,
		.store = store_new(partitions[i].partition, account),
	};
	TAILQ_INIT(&server->pending);
	faults_init(&server->faults);
	server_default_settings(server);
}

void server_finish(struct server *server)
{
	faults_clear(&server->faults);
	record_finish(&server->record);
	server->store = store_free(server->store);
}

static char *add_principal(struct server *server, const json_t *principal)
{
	static const char everything[] =
		"{\"Version\": \"2012-10-17\", \"Statement\": "
		"{\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}";
	struct store *store = server->store;
	const char *name, *path = "/", *id, *secret, *token = NULL;
	const json_t *wanted = NULL;
	char reason[POLICY_REASON_MAX];
	json_error_t error;

	if (json_unpack_ex((json_t *)principal, &error, JSON_STRICT, "{s:s s?s s:s s:s s?s s?o}",
			   "name", &name, "path", &path, "access_key_id", &id, "secret_access_key",
			   &secret, "session_token", &token, "policy", &wanted) < 0)
		return must_printf("principal: %s", error.text);
	if (store_existing_user(store, name))
		return must_printf("principal: there is a user %s already", name);

	_cleanup_free_ char *document =
		wanted ? json_dumps(wanted, JSON_COMPACT) : must_strdup(everything);
	struct policy *policy = policy_parse(document ? document : "", reason);

	if (!policy)
		return must_printf("principal %s: policy: %s", name, reason);

	/* Neither seen late nor anything else that a test may ask for later. */
	struct consistency later = store->consistency;
	int64_t now_ms = clock_monotonic_ms(), wall_ms = clock_wall_ms();

	store->consistency = (struct consistency){0};

	struct user *user = store_add_user(store, name, path, now_ms, wall_ms);
	struct access_key *key = store_add_key(store, user, id, secret, now_ms, wall_ms);

	key->token = must_strdup(token);
	store_put_policy(store, user, "principal", NULL, document, policy, now_ms);
	store->consistency = later;
	return NULL;
}

char *server_add_principals(struct server *server, const json_t *principals)
{
	if (!json_is_array(principals))
		return must_strdup("principals: not an array");
	for (size_t i = 0; i < json_array_size(principals); i++) {
		char *wrong = add_principal(server, json_array_get(principals, i));

		if (wrong)
			return wrong;
	}
	return NULL;
}

void server_begin(struct server *server, struct exchange *exchange)
{
	exchange->wake_at = INT64_MAX;
	exchange->answer.date_ms = clock_wall_ms() + server->settings.date_off_ms;
	TAILQ_INSERT_TAIL(&server->pending, exchange, pending);
	if (!strncmp(exchange->target, "/_", 2))
		control_begin(server, exchange);
	else
		call_begin(server, exchange);
	exchange->step(server, exchange);
}

void server_forget(struct server *server, struct exchange *exchange)
{
	TAILQ_REMOVE(&server->pending, exchange, pending);
	if (exchange->free_work)
		exchange->free_work(exchange->work);
	exchange->work = NULL;
}

int64_t server_tick(struct server *server)
{
	struct exchange *exchange;
	int64_t next = INT64_MAX;

	TAILQ_FOREACH (exchange, &server->pending, pending) {
		if (!exchange->done)
			exchange->step(server, exchange);
		if (!exchange->done && exchange->wake_at < next)
			next = exchange->wake_at;
	}
	return next;
}
