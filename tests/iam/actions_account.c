#include <string.h>

#include "actions.h"

#define SESSION_SECONDS_DEFAULT 43200
#define SESSION_SECONDS_MIN     900
#define SESSION_SECONDS_MAX     129600

int action_get_account_summary(struct call *call)
{
	const struct server *server = call->server;
	const struct {
		const char *name;
		size_t value;
	} entries[] = {
		{"Users", server->store->n_users},
		{"UsersQuota", server->settings.users_quota},
		{"UserPolicySizeQuota", QUOTA_INLINE_CHARACTERS},
		{"AccessKeysPerUserQuota", QUOTA_KEYS},
		{"GroupsPerUserQuota", QUOTA_GROUPS},
		{"AttachedPoliciesPerUserQuota", QUOTA_ATTACHED},
		{"SigningCertificatesPerUserQuota", QUOTA_CERTIFICATES},
		{"PolicySizeQuota", QUOTA_MANAGED_CHARACTERS},
	};

	if (!server->settings.account_summary)
		return call_fail(call, FAIL_METHOD,
				 "The specified method is not allowed against this resource.");
	xml_open(&call->xml, "SummaryMap");
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		xml_open(&call->xml, "entry");
		xml_string(&call->xml, "key", entries[i].name);
		xml_number(&call->xml, "value", (int64_t)entries[i].value);
		xml_close(&call->xml);
	}
	xml_close(&call->xml);
	return 0;
}

/* The user whose ARN is PolicySourceArn. */
static struct user *simulated_user(struct call *call)
{
	const char *arn = call_parameter(call, "PolicySourceArn");
	const char *slash = arn ? strrchr(arn, '/') : NULL;
	struct user *user = slash ? store_user(call->server->store, slash + 1, &call->view) : NULL;

	if (!arn)
		return NULL;
	if (user && !strcmp(user->arn, arn))
		return user;
	call_fail(call, FAIL_NO_SUCH_ENTITY, "The user with name %s cannot be found.",
		  slash ? slash + 1 : arn);
	return NULL;
}

/* ContextEntries, each with its first value, for json_decref. */
static json_t *context_keys(const struct call *call)
{
	json_t *keys = json_object();
	const char *name;

	for (unsigned i = 1;
	     (name = form_member(call->form, "ContextEntries", i, "ContextKeyName")); i++) {
		const char *value =
			form_member(call->form, "ContextEntries", i, "ContextKeyValues.member.1");

		json_object_set_new(keys, name, json_string(value ? value : ""));
	}
	return keys;
}

static void write_evaluation(struct call *call, struct user *user, const char *action,
			     const char *resource)
{
	json_t *keys = context_keys(call);
	enum verdict verdict = call_judge(call, user, action, resource, keys);

	json_decref(keys);

	xml_open(&call->xml, "member");
	xml_string(&call->xml, "EvalActionName", action);
	xml_string(&call->xml, "EvalResourceName", resource);
	xml_string(&call->xml, "EvalDecision",
		   verdict == VERDICT_ALLOWED  ? "allowed"
		   : verdict == VERDICT_DENIED ? "explicitDeny"
					       : "implicitDeny");
	xml_empty(&call->xml, "MatchedStatements");
	xml_empty(&call->xml, "MissingContextValues");
	xml_close(&call->xml);
}

int action_simulate_principal_policy(struct call *call)
{
	struct user *user = simulated_user(call);
	const char *action;

	if (!user)
		return -1;
	if (!form_member(call->form, "ActionNames", 1, NULL))
		return call_fail(call, FAIL_VALIDATION,
				 "1 validation error detected: Value null at 'actionNames' failed "
				 "to satisfy constraint: Member must not be null");
	xml_open(&call->xml, "EvaluationResults");
	for (unsigned i = 1; (action = form_member(call->form, "ActionNames", i, NULL)); i++) {
		const char *resource = form_member(call->form, "ResourceArns", 1, NULL);

		if (!resource)
			write_evaluation(call, user, action, "*");
		for (unsigned j = 2; resource; j++) {
			write_evaluation(call, user, action, resource);
			resource = form_member(call->form, "ResourceArns", j, NULL);
		}
	}
	xml_close(&call->xml);
	xml_bool(&call->xml, "IsTruncated", false);
	return 0;
}

int action_get_caller_identity(struct call *call)
{
	xml_string(&call->xml, "Arn", call->user->arn);
	xml_string(&call->xml, "UserId", call->user->id);
	xml_string(&call->xml, "Account", call->server->store->account);
	return 0;
}

int action_get_session_token(struct call *call)
{
	const char *parameter = form_get(call->form, "DurationSeconds");
	long seconds = parameter ? strtol(parameter, NULL, 10) : SESSION_SECONDS_DEFAULT;

	if (call->key->token)
		return call_fail(call, FAIL_ACCESS_DENIED,
				 "Cannot call GetSessionToken with session credentials");
	if (seconds < SESSION_SECONDS_MIN || seconds > SESSION_SECONDS_MAX)
		return call_fail(call, FAIL_VALIDATION,
				 "1 validation error detected: Value '%s' at 'durationSeconds' "
				 "failed to satisfy constraint: Member must have value between %d "
				 "and %d",
				 parameter, SESSION_SECONDS_MIN, SESSION_SECONDS_MAX);

	const struct access_key *session =
		store_add_session(call->server->store, call->user, call->view.now_ms, call->date_ms,
				  call->date_ms + seconds * 1000);

	xml_open(&call->xml, "Credentials");
	xml_string(&call->xml, "AccessKeyId", session->id);
	xml_string(&call->xml, "SecretAccessKey", session->secret);
	xml_string(&call->xml, "SessionToken", session->token);
	xml_date(&call->xml, "Expiration", session->expires_ms);
	xml_close(&call->xml);
	return 0;
}

int action_describe_instances(struct call *call)
{
	xml_empty(&call->xml, "reservationSet");
	return 0;
}
