#include "cli/lacking.h"

#include <stdio.h>
#include <string.h>

#include "cli/log.h"
#include "lease/alloc.h"

#define ACCOUNT_MAX 64

struct lacking {
	const char *integration, *resource;
	size_t n;
};

static void print_denied(void *arg, const struct provider_answer *answer)
{
	struct lacking *lacking = arg;

	for (size_t i = 0; i < answer->n_names; i++)
		printf("%s: lacks %s on %s\n", lacking->integration, answer->names[i],
		       lacking->resource);
	lacking->n += answer->n_names;
}

/* arn:PARTITION:iam::ACCOUNT:user/NAME */
static bool account_of(const char *arn, char account[ACCOUNT_MAX])
{
	return sscanf(arn, "arn:%*[^:]:iam::%63[^:]:", account) == 1;
}

/* Each way in which the actions will be asked for; an action that is denied in one of them is
 * lacking. */
static int simulate(struct cloud *cloud, struct provider *provider, const char *arn,
		    const struct aws_permissions *permissions, struct lacking *lacking,
		    struct dsec_error *err)
{
	struct tag context = {.key = permissions->condition};
	struct provider_call call = {
		.op = PROVIDER_SIMULATE,
		.name = arn,
		.actions = permissions->actions,
		.n_actions = permissions->n_actions,
		.resource = permissions->self ? arn : permissions->resources[0],
		.tags = &context,
		.n_tags = permissions->condition ? 1 : 0,
	};
	size_t ways = permissions->condition ? permissions->n_values : 1;

	lacking->resource = call.resource;
	for (size_t i = 0; i < ways; i++) {
		if (permissions->condition)
			context.value = permissions->values[i];
		int r = cloud_ask(cloud, provider, &call, print_denied, lacking, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void print_unknown(const char *integration, const char *why)
{
	printf("%s: which permissions it lacks is not known: %s\n", integration, why);
}

bool lacking_check(struct cloud *cloud, struct provider *provider,
		   const struct integration *integration, const char *arn)
{
	struct lacking lacking = {.integration = integration->name};
	char account[ACCOUNT_MAX], text[ERROR_TEXT_MAX];
	struct dsec_error err;
	size_t n;
	int r = 0;

	if (!account_of(arn, account)) {
		print_unknown(integration->name, "these are not the credentials of an IAM user");
		return true;
	}
	struct aws_permissions *list =
		aws_permissions_new(cloud->catalog, integration, account, &n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = simulate(cloud, provider, arn, &list[i], &lacking, &err);
	aws_permissions_free(list, n);
	if (r < 0) {
		log_error_text(text, &err);
		print_unknown(integration->name, text);
	} else if (lacking.n == 0) {
		printf("%s: the permissions are sufficient\n", integration->name);
	}
	if (lacking.n > 0)
		printf("%s: 'dsec integration policy %s' prints the policy that it needs\n",
		       integration->name, integration->name);
	return lacking.n == 0;
}
