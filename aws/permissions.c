/*
 * permissions.c: what an integration's own user must be allowed to do, and nothing more.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/aws.h"
#include "lease/alloc.h"

/* What the actions are done to; each is a statement of the policy. */
enum target {
	ON_CREATED, /* leased users, as they are made */
	ON_USERS,   /* leased users */
	ON_ATTACHED,
	ON_GROUPS,
	ON_DEVICES,
	ON_SELF, /* the integration's own user */
	ON_ALL,  /* what IAM cannot limit to a resource */
	N_TARGETS,
};

/* Which dynamic secrets of the integration make it necessary. */
enum need { NEED_ALWAYS, NEED_TAGS, NEED_BOUNDARY, NEED_POLICY_ARNS };

static const struct {
	const char *action;
	enum target target;
	enum need need;
} table[] = {
	{"iam:CreateUser", ON_CREATED, NEED_ALWAYS},
	{"iam:PutUserPermissionsBoundary", ON_CREATED, NEED_BOUNDARY},
	{"iam:TagUser", ON_USERS, NEED_TAGS},
	{"iam:GetUser", ON_USERS, NEED_ALWAYS},
	{"iam:ListUsers", ON_USERS, NEED_ALWAYS},
	{"iam:PutUserPolicy", ON_USERS, NEED_ALWAYS},
	{"iam:CreateAccessKey", ON_USERS, NEED_ALWAYS},
	{"iam:AttachUserPolicy", ON_ATTACHED, NEED_POLICY_ARNS},
	/* Whatever somebody attached to a leased user is removed with it. */
	{"iam:ListAccessKeys", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteAccessKey", ON_USERS, NEED_ALWAYS},
	{"iam:ListUserPolicies", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteUserPolicy", ON_USERS, NEED_ALWAYS},
	{"iam:ListAttachedUserPolicies", ON_USERS, NEED_ALWAYS},
	{"iam:DetachUserPolicy", ON_USERS, NEED_ALWAYS},
	{"iam:ListGroupsForUser", ON_USERS, NEED_ALWAYS},
	{"iam:RemoveUserFromGroup", ON_GROUPS, NEED_ALWAYS},
	{"iam:GetLoginProfile", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteLoginProfile", ON_USERS, NEED_ALWAYS},
	{"iam:ListMFADevices", ON_USERS, NEED_ALWAYS},
	{"iam:DeactivateMFADevice", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteVirtualMFADevice", ON_DEVICES, NEED_ALWAYS},
	{"iam:ListSigningCertificates", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteSigningCertificate", ON_USERS, NEED_ALWAYS},
	{"iam:ListSSHPublicKeys", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteSSHPublicKey", ON_USERS, NEED_ALWAYS},
	{"iam:ListServiceSpecificCredentials", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteServiceSpecificCredential", ON_USERS, NEED_ALWAYS},
	{"iam:DeleteUser", ON_USERS, NEED_ALWAYS},
	/* What "dsec check" asks. */
	{"iam:GetUser", ON_SELF, NEED_ALWAYS},
	{"iam:SimulatePrincipalPolicy", ON_SELF, NEED_ALWAYS},
	{"iam:GetAccountSummary", ON_ALL, NEED_ALWAYS},
};
#define N_ACTIONS (sizeof(table) / sizeof(table[0]))

static const char *const names[N_TARGETS] = {
	[ON_CREATED] = "DsecCreate", [ON_USERS] = "DsecUsers",     [ON_ATTACHED] = "DsecAttach",
	[ON_GROUPS] = "DsecGroups",  [ON_DEVICES] = "DsecDevices", [ON_SELF] = "DsecSelf",
	[ON_ALL] = "DsecAccount",
};

/* What the integration's dynamic secrets have in common. */
struct summary {
	bool tags, boundary;
	const char *one_boundary; /* all have this one; NULL: they have not */
	size_t n_secrets;
	const char **policy_arns; /* each once */
	size_t n_policy_arns;
};

static void add_policy_arn(struct summary *summary, const char *arn)
{
	for (size_t i = 0; i < summary->n_policy_arns; i++)
		if (strcmp(summary->policy_arns[i], arn) == 0)
			return;
	summary->policy_arns = alloc_resized(summary->policy_arns, summary->n_policy_arns + 1,
					     sizeof(*summary->policy_arns));
	summary->policy_arns[summary->n_policy_arns++] = arn;
}

static void add_secret(struct summary *summary, const struct dynamic_secret *secret)
{
	const char *boundary = secret->permissions_boundary;

	if (summary->n_secrets++ == 0)
		summary->one_boundary = boundary;
	else if (!boundary || !summary->one_boundary ||
		 strcmp(summary->one_boundary, boundary) != 0)
		summary->one_boundary = NULL;
	summary->boundary = summary->boundary || boundary;
	summary->tags = summary->tags || secret->n_tags > 0;
	for (size_t i = 0; i < secret->n_policy_arns; i++)
		add_policy_arn(summary, secret->policy_arns[i]);
}

static void add_config(struct summary *summary, const struct config *config,
		       const struct integration *integration)
{
	for (size_t i = 0; i < config->n_dynamics; i++)
		if (config->dynamics[i].integration == integration)
			add_secret(summary, &config->dynamics[i]);
}

static struct summary summarize(const struct catalog *catalog,
				const struct integration *integration)
{
	struct summary summary = {0};

	for (size_t i = 0; i < catalog->n_projects; i++)
		for (size_t j = 0; j < catalog->projects[i].n_configs; j++)
			add_config(&summary, &catalog->projects[i].configs[j], integration);
	return summary;
}

static bool is_needed(enum need need, const struct summary *summary)
{
	switch (need) {
	case NEED_ALWAYS:
		return true;
	case NEED_TAGS:
		return summary->tags;
	case NEED_BOUNDARY:
		return summary->boundary;
	case NEED_POLICY_ARNS:
		return summary->n_policy_arns > 0;
	}
	return false;
}

static const char *partition(const struct integration *integration)
{
	const char *region = integration->region;

	if (strncmp(region, "cn-", 3) == 0)
		return "aws-cn";
	if (strncmp(region, "us-gov-", 7) == 0)
		return "aws-us-gov";
	if (strncmp(region, "eusc-", 5) == 0)
		return "aws-eusc";
	return "aws";
}

static const char *make_arn(const struct integration *integration, const char *account,
			    const char *type, const char *path, const char *rest)
{
	char *arn;

	if (asprintf(&arn, "arn:%s:iam::%s:%s%s%s", partition(integration), account ? account : "*",
		     type, path, rest) < 0)
		abort();
	return arn;
}

static void set_resources(struct aws_permissions *permissions, enum target target,
			  const struct integration *integration, const char *account)
{
	const char **resources = alloc_zeroed(2, sizeof(*resources));
	size_t n = 0;

	switch (target) {
	case ON_CREATED:
	case ON_USERS:
	case ON_ATTACHED:
		resources[n++] = make_arn(integration, account, "user", integration->path, "*");
		break;
	case ON_GROUPS: /* IAM asks for the group alone, not for whom it loses */
		resources[n++] = make_arn(integration, account, "group", "/", "*");
		break;
	case ON_DEVICES: /* of those, one in use cannot be deleted */
		resources[n++] = make_arn(integration, account, "mfa", "/", "*");
		break;
	case ON_SELF:
		resources[n++] = make_arn(integration, account, "user", "/", "${aws:username}");
		resources[n++] = make_arn(integration, account, "user", "/*/", "${aws:username}");
		break;
	case ON_ALL:
	case N_TARGETS:
		resources[n++] = alloc_copy("*");
		break;
	}
	permissions->resources = resources;
	permissions->n_resources = n;
	permissions->self = target == ON_SELF;
}

static void set_actions(struct aws_permissions *permissions, enum target target,
			const struct summary *summary)
{
	const char **actions = alloc_zeroed(N_ACTIONS, sizeof(*actions));
	size_t n = 0;

	for (size_t i = 0; i < N_ACTIONS; i++)
		if (table[i].target == target && is_needed(table[i].need, summary))
			actions[n++] = table[i].action;
	permissions->actions = actions;
	permissions->n_actions = n;
}

static void set_condition(struct aws_permissions *permissions, enum target target,
			  const struct summary *summary)
{
	const char **values;
	size_t n = target == ON_CREATED ? 1 : summary->n_policy_arns;

	if (target != ON_ATTACHED && !(target == ON_CREATED && summary->one_boundary))
		return;
	values = alloc_zeroed(n, sizeof(*values));
	if (target == ON_CREATED)
		values[0] = summary->one_boundary;
	else
		memcpy(values, summary->policy_arns, n * sizeof(*values));
	permissions->condition = target == ON_CREATED ? "iam:PermissionsBoundary" : "iam:PolicyARN";
	permissions->values = values;
	permissions->n_values = n;
}

static void finish(struct aws_permissions *permissions)
{
	for (size_t i = 0; i < permissions->n_resources; i++)
		free((char *)permissions->resources[i]);
	free((void *)permissions->resources);
	free((void *)permissions->actions);
	free((void *)permissions->values);
}

struct aws_permissions *aws_permissions_new(const struct catalog *catalog,
					    const struct integration *integration,
					    const char *account, size_t *ret_n)
{
	struct aws_permissions *list = alloc_zeroed(N_TARGETS, sizeof(*list));
	struct summary summary = summarize(catalog, integration);
	size_t n = 0;

	for (enum target target = 0; target < N_TARGETS; target++) {
		struct aws_permissions permissions = {.name = names[target]};

		set_actions(&permissions, target, &summary);
		if (permissions.n_actions > 0) {
			set_resources(&permissions, target, integration, account);
			set_condition(&permissions, target, &summary);
			list[n++] = permissions;
		} else {
			finish(&permissions);
		}
	}
	free(summary.policy_arns);
	*ret_n = n;
	return list;
}

struct aws_permissions *aws_permissions_free(struct aws_permissions *permissions, size_t n)
{
	for (size_t i = 0; permissions && i < n; i++)
		finish(&permissions[i]);
	free(permissions);
	return NULL;
}

/* One value stands alone, as people write it. */
static json_t *list_json(const char *const *texts, size_t n)
{
	json_t *list;

	if (n == 1)
		return json_string(texts[0]);
	list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *statement_json(const struct aws_permissions *permissions)
{
	json_t *statement = json_object();

	json_object_set_new(statement, "Sid", json_string(permissions->name));
	json_object_set_new(statement, "Effect", json_string("Allow"));
	json_object_set_new(statement, "Action",
			    list_json(permissions->actions, permissions->n_actions));
	json_object_set_new(statement, "Resource",
			    list_json(permissions->resources, permissions->n_resources));
	if (permissions->condition)
		json_object_set_new(
			statement, "Condition",
			json_pack("{s:{s:o}}", "StringEquals", permissions->condition,
				  list_json(permissions->values, permissions->n_values)));
	return statement;
}

char *aws_integration_policy(const struct catalog *catalog, const struct integration *integration,
			     const char *account)
{
	json_t *policy = json_object(), *statements = json_array();
	struct aws_permissions *list;
	size_t n;
	char *text;

	list = aws_permissions_new(catalog, integration, account, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(statements, statement_json(&list[i]));
	aws_permissions_free(list, n);
	json_object_set_new(policy, "Version", json_string("2012-10-17"));
	json_object_set_new(policy, "Statement", statements);
	text = json_dumps(policy, JSON_INDENT(4));
	json_decref(policy);
	return text;
}
