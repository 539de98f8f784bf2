#include "lease/policy.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lease/clock.h"
#include "lease/json_text.h"
#include "lease/policy_check.h"

/* Reals are written with the digits that a person wrote them with: 0.1, not 0.10000000000000001. */
#define DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* IAM takes U+0020 to U+00FF, tabs and line ends. Controls are escaped in JSON anyway; beyond
 * U+00FF the first byte in UTF-8 is 0xc4 or more. */
static bool characters_valid(const char *json)
{
	for (; *json; json++)
		if ((unsigned char)*json > 0xc3)
			return false;
	return true;
}

int policy_compact(char **ret, const char *json, size_t n, struct dsec_error *err)
{
	json_error_t error;

	if (n > POLICY_TEXT_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the policy has %zu bytes; no policy has more than %d", n,
				      POLICY_TEXT_MAX);
	json_auto_t *policy = json_loadb(json, n, JSON_REJECT_DUPLICATES, &error);
	if (!policy)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "line %d of the policy is no JSON: %s", error.line,
				      json_syntax_message(&error));
	int r = policy_check(policy, err);
	if (r < 0)
		return r;

	char *compact = json_dumps(policy, DUMP_FLAGS);
	if (!compact)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "there is no memory for the policy");
	if (!characters_valid(compact)) {
		free(compact);
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the policy has a character that IAM does not take (beyond "
				      "U+00FF)");
	}
	*ret = compact;
	return 0;
}

/* A policy's Statement as a list of its own, for a statement to be appended to. */
static json_t *statements_of(const json_t *policy)
{
	json_t *statement = json_object_get(policy, "Statement");

	if (json_is_array(statement))
		return json_incref(statement);
	json_t *list = json_array();
	if (statement && json_array_append(list, statement) < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *expiry_statement(int64_t end_ms)
{
	char end[CLOCK_ISO_MAX];

	clock_iso(end, (end_ms + 999) / 1000 * 1000);
	memcpy(strchr(end, '.'), "Z", sizeof("Z"));
	return json_pack("{s:s, s:s, s:s, s:{s:{s:s}}}", "Effect", "Deny", "Action", "*",
			 "Resource", "*", "Condition", "DateGreaterThan", "aws:CurrentTime", end);
}

char *policy_with_expiry(const char *compact, int64_t end_ms)
{
	json_auto_t *policy = *compact ? json_loads(compact, JSON_REJECT_DUPLICATES, NULL)
				       : json_pack("{s:s}", "Version", "2012-10-17");
	json_auto_t *statements = statements_of(policy);

	if (!policy || !statements ||
	    json_array_append_new(statements, expiry_statement(end_ms)) < 0 ||
	    json_object_set(policy, "Statement", statements) < 0)
		return NULL;
	return json_dumps(policy, DUMP_FLAGS);
}

size_t policy_size(const char *policy)
{
	bool in_string = false;
	size_t n = 0;

	for (; *policy; policy++) {
		if (!in_string && strchr(" \t\r\n", *policy))
			continue;
		if (((unsigned char)*policy & 0xc0) != 0x80)
			n++;
		if (*policy == '"')
			in_string = !in_string;
		else if (in_string && *policy == '\\' && policy[1]) {
			policy++;
			n++;
		}
	}
	return n;
}
