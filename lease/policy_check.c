#include "lease/policy_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lease/json_text.h"

/* A statement that is being looked at, and where it stands. */
struct place {
	char name[32]; /* "Statement[2]" */
	const json_t *statement;
	const json_t *statements; /* all of them, or NULL for a single one */
	size_t index;
	struct dsec_error *err;
};

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static int refuse_type(const struct place *at, const char *member, const json_t *value,
		       const char *expected)
{
	return dsec_error_set(at->err, DSEC_ERROR_INVALID, "%s.%s is %s; it has to be %s", at->name,
			      member, json_type_name(value), expected);
}

static int check_members(const struct place *at)
{
	static const char *const known[] = {"Sid",      "Effect",      "Action",    "NotAction",
					    "Resource", "NotResource", "Condition", NULL};
	void *iter = json_object_iter((json_t *)at->statement);

	for (; iter; iter = json_object_iter_next((json_t *)at->statement, iter)) {
		const char *key = json_object_iter_key(iter);
		if (strcmp(key, "Principal") == 0 || strcmp(key, "NotPrincipal") == 0)
			return dsec_error_set(at->err, DSEC_ERROR_INVALID,
					      "%s has a %s, which a user's policy must not have: "
					      "it applies to the leased user",
					      at->name, key);
		if (!one_of(key, known))
			return dsec_error_set(at->err, DSEC_ERROR_INVALID,
					      "%s has an unknown member \"%.64s\"", at->name, key);
	}
	return 0;
}

/* Empty Sids may repeat: Terraform writes them. */
static int check_sid(const struct place *at)
{
	const json_t *sid = json_object_get(at->statement, "Sid");

	if (!sid)
		return 0;
	if (!json_is_string(sid))
		return refuse_type(at, "Sid", sid, "a string of letters and digits");
	const char *text = json_string_value(sid);
	if (text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")])
		return dsec_error_set(at->err, DSEC_ERROR_INVALID,
				      "%s.Sid may have letters and digits only", at->name);
	for (size_t i = 0; *text && i < at->index; i++) {
		const json_t *other = json_object_get(json_array_get(at->statements, i), "Sid");
		if (other && strcmp(json_string_value(other), text) == 0)
			return dsec_error_set(at->err, DSEC_ERROR_INVALID,
					      "%s.Sid is that of Statement[%zu] too; a Sid has to "
					      "be unique",
					      at->name, i);
	}
	return 0;
}

static int check_effect(const struct place *at)
{
	const json_t *effect = json_object_get(at->statement, "Effect");
	const char *text = json_string_value(effect);

	if (!effect)
		return dsec_error_set(at->err, DSEC_ERROR_INVALID,
				      "%s has no Effect; it has to be \"Allow\" or \"Deny\"",
				      at->name);
	if (!text || (strcmp(text, "Allow") != 0 && strcmp(text, "Deny") != 0))
		return dsec_error_set(at->err, DSEC_ERROR_INVALID,
				      "%s.Effect has to be \"Allow\" or \"Deny\", so written",
				      at->name);
	return 0;
}

/* "*", or SERVICE:NAME. */
static bool action_valid(const char *text)
{
	size_t service = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-");

	if (strcmp(text, "*") == 0)
		return true;
	if (service == 0 || text[service] != ':')
		return false;
	text += service + 1;
	return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789-_*?")];
}

static bool resource_valid(const char *text)
{
	return strcmp(text, "*") == 0 || (strncmp(text, "arn:", 4) == 0 && text[4]);
}

/* What a statement says one way or the other: Action or NotAction, Resource or NotResource. */
struct subject {
	const char *yes, *no;
	bool (*valid)(const char *text);
	const char *expected;
};

static const struct subject action = {
	"Action",
	"NotAction",
	action_valid,
	"\"*\" or SERVICE:ACTION, such as \"ec2:Describe*\"",
};
static const struct subject resource = {
	"Resource",
	"NotResource",
	resource_valid,
	"\"*\" or an ARN, such as \"arn:aws:s3:::bucket/*\"",
};

static int check_text(const struct place *at, const char *member, const json_t *value,
		      const struct subject *subject)
{
	const char *text = json_string_value(value);

	if (!text)
		return refuse_type(at, member, value, "a string or a list of strings");
	if (!subject->valid(text))
		return dsec_error_set(at->err, DSEC_ERROR_INVALID, "%s.%s: \"%.128s\" is not %s",
				      at->name, member, text, subject->expected);
	return 0;
}

static int check_subject(const struct place *at, const struct subject *subject)
{
	const json_t *yes = json_object_get(at->statement, subject->yes);
	const json_t *no = json_object_get(at->statement, subject->no);
	const json_t *value = yes ? yes : no;
	const char *member = yes ? subject->yes : subject->no;

	if (!value)
		return dsec_error_set(at->err, DSEC_ERROR_INVALID, "%s has neither %s nor %s",
				      at->name, subject->yes, subject->no);
	if (yes && no)
		return dsec_error_set(at->err, DSEC_ERROR_INVALID,
				      "%s has both %s and %s; it can have only one", at->name,
				      subject->yes, subject->no);
	if (!json_is_array(value))
		return check_text(at, member, value, subject);
	if (json_array_size(value) == 0)
		return dsec_error_set(at->err, DSEC_ERROR_INVALID, "%s.%s is an empty list",
				      at->name, member);
	for (size_t i = 0; i < json_array_size(value); i++) {
		int r = check_text(at, member, json_array_get(value, i), subject);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An object of operators, each an object of keys. Which operators and keys there are is AWS's to
 * know: they grow. */
static int check_condition(const struct place *at)
{
	const json_t *condition = json_object_get(at->statement, "Condition");

	if (!condition)
		return 0;
	if (!json_is_object(condition))
		return refuse_type(at, "Condition", condition,
				   "an object such as {\"StringEquals\": {\"aws:…\": \"…\"}}");
	void *iter = json_object_iter((json_t *)condition);
	for (; iter; iter = json_object_iter_next((json_t *)condition, iter))
		if (!json_is_object(json_object_iter_value(iter)))
			return dsec_error_set(at->err, DSEC_ERROR_INVALID,
					      "%s.Condition.%.64s is %s; it has to be an object "
					      "of condition keys",
					      at->name, json_object_iter_key(iter),
					      json_type_name(json_object_iter_value(iter)));
	return 0;
}

static int check_statement(const struct place *at)
{
	int r;

	if (!json_is_object(at->statement))
		return dsec_error_set(at->err, DSEC_ERROR_INVALID,
				      "%s is %s; it has to be an object", at->name,
				      json_type_name(at->statement));
	if ((r = check_members(at)) < 0 || (r = check_sid(at)) < 0 || (r = check_effect(at)) < 0 ||
	    (r = check_subject(at, &action)) < 0 || (r = check_subject(at, &resource)) < 0)
		return r;
	return check_condition(at);
}

static int check_statements(const json_t *statements, struct dsec_error *err)
{
	if (!statements)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the policy has no Statement");
	if (!json_is_array(statements)) {
		struct place at = {"Statement", statements, NULL, 0, err};
		return check_statement(&at);
	}
	if (json_array_size(statements) == 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "Statement is an empty list");
	for (size_t i = 0; i < json_array_size(statements); i++) {
		struct place at = {"", json_array_get(statements, i), statements, i, err};
		snprintf(at.name, sizeof(at.name), "Statement[%zu]", i);
		int r = check_statement(&at);
		if (r < 0)
			return r;
	}
	return 0;
}

int policy_check(const json_t *policy, struct dsec_error *err)
{
	static const char *const known[] = {"Version", "Id", "Statement", NULL};
	static const char *const versions[] = {"2012-10-17", "2008-10-17", NULL};

	if (!json_is_object(policy))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the policy is %s; it has to be an object",
				      json_type_name(policy));
	void *iter = json_object_iter((json_t *)policy);
	for (; iter; iter = json_object_iter_next((json_t *)policy, iter))
		if (!one_of(json_object_iter_key(iter), known))
			return dsec_error_set(err, DSEC_ERROR_INVALID,
					      "the policy has an unknown member \"%.64s\"",
					      json_object_iter_key(iter));

	const json_t *version = json_object_get(policy, "Version");
	if (!json_is_string(version) || !one_of(json_string_value(version), versions))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s; it has to be \"2012-10-17\" (or \"2008-10-17\")",
				      version ? "Version is none that IAM knows"
					      : "the policy has no Version");
	const json_t *id = json_object_get(policy, "Id");
	if (id && !json_is_string(id))
		return dsec_error_set(err, DSEC_ERROR_INVALID, "Id is %s; it has to be a string",
				      json_type_name(id));
	return check_statements(json_object_get(policy, "Statement"), err);
}
