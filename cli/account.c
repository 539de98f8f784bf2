#include "cli/account.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/lacking.h"
#include "cli/log.h"

struct room {
	int64_t used, quota;
};

static void keep_room(void *arg, const struct provider_answer *answer)
{
	struct room *room = arg;

	room->used = answer->users_used;
	room->quota = answer->users_quota;
}

struct identity {
	char arn[600]; /* "": these are no IAM user's */
};

static void keep_identity(void *arg, const struct provider_answer *answer)
{
	struct identity *identity = arg;

	if (answer->n_users > 0)
		snprintf(identity->arn, sizeof(identity->arn), "%s", answer->users[0].arn);
}

static void print_failure(const char *name, const char *what, const struct dsec_error *err)
{
	char text[ERROR_TEXT_MAX];

	log_error_text(text, err);
	printf("%s: %s: %s\n", name, what, text);
}

/* A refusal of the question by a permission or by its form (a role has no user) is an answer to
 * what was asked: these credentials are known. */
static bool check_credentials(struct cloud *cloud, struct provider *provider, const char *name,
			      struct identity *identity)
{
	const struct provider_call call = {.op = PROVIDER_GET_USER};
	struct dsec_error err;

	if (cloud_ask(cloud, provider, &call, keep_identity, identity, &err) < 0 &&
	    err.kind != DSEC_ERROR_DENIED && err.kind != DSEC_ERROR_INVALID &&
	    err.kind != DSEC_ERROR_NO_SUCH_ENTITY) {
		print_failure(name, "the credentials do not work", &err);
		return false;
	}
	if (identity->arn[0])
		printf("%s: the credentials are those of %s\n", name, identity->arn);
	else
		printf("%s: the credentials are accepted\n", name);
	return true;
}

/* The most users that the configuration lets this integration have at once. */
static uint64_t wanted(const struct catalog *catalog, const struct integration *integration)
{
	uint64_t n = 0;

	for (size_t i = 0; i < catalog->n_projects; i++) {
		const struct project *project = &catalog->projects[i];
		for (size_t j = 0; j < project->n_configs; j++) {
			const struct config *config = &project->configs[j];
			for (size_t k = 0; k < config->n_dynamics; k++)
				if (config->dynamics[k].integration == integration)
					n += config->dynamics[k].max_leases;
		}
	}
	return n;
}

/* Only a hint: a server that does not tell its quota may well have room. */
static bool check_room(struct cloud *cloud, struct provider *provider,
		       const struct integration *integration)
{
	const struct provider_call call = {.op = PROVIDER_SUMMARY};
	struct room room = {.used = -1, .quota = -1};
	struct dsec_error err;

	if (cloud_ask(cloud, provider, &call, keep_room, &room, &err) < 0) {
		print_failure(integration->name, "how many users there is room for is not known",
			      &err);
		return true;
	}
	if (room.used < 0 || room.quota < 0)
		return true;
	int64_t left = room.quota > room.used ? room.quota - room.used : 0;
	uint64_t most = wanted(cloud->catalog, integration);
	printf("%s: the account has %" PRId64 " of its %" PRId64 " users, %" PRId64 " are left\n",
	       integration->name, room.used, room.quota, left);
	if (left > 0 && most > (uint64_t)left)
		printf("%s: warning: the max_leases of its secrets add up to %" PRIu64
		       ", more than that\n",
		       integration->name, most);
	return left > 0;
}

bool account_check(struct cloud *cloud, const struct integration *integration)
{
	struct provider *provider = aws_provider(cloud->aws, cloud->catalog, integration);
	struct identity identity = {0};

	if (!check_credentials(cloud, provider, integration->name, &identity))
		return false;
	bool room = check_room(cloud, provider, integration);
	return lacking_check(cloud, provider, integration, identity.arn) && room;
}
