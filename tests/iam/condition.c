#include "condition.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "policy.h"
#include "text.h"

/* Tells whether the request's value fulfils one of the policy's values. */
typedef bool compare_fn(const char *wanted, const char *actual);

struct comparison {
	const char *name;
	compare_fn *compare; /* NULL: accepted in a policy, but not evaluated here */
	bool negated;        /* fulfilled when no value compares, and when the key is absent */
	bool takes_dates;
};

/* +HH:MM or -HH:MM: takes it off the local time. */
static bool parse_offset(const char *text, int64_t *time_ms)
{
	struct tm tm = {0};
	const char *rest = *text == '+' || *text == '-' ? strptime(text + 1, "%H:%M", &tm) : NULL;
	int64_t offset_ms = (tm.tm_hour * 60LL + tm.tm_min) * 60000;

	if (!rest || *rest)
		return false;
	*time_ms -= *text == '+' ? offset_ms : -offset_ms;
	return true;
}

static bool parse_date(const char *text, int64_t *ret_ms)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
	const char *rest = NULL;
	struct tm tm;

	if (*text && strspn(text, "0123456789") == strlen(text)) {
		*ret_ms = strtoll(text, NULL, 10) * 1000;
		return true;
	}
	for (size_t i = 0; !rest && i < sizeof(formats) / sizeof(formats[0]); i++) {
		tm = (struct tm){.tm_mday = 1};
		rest = strptime(text, formats[i], &tm);
	}
	if (!rest)
		return false;
	*ret_ms = (int64_t)timegm(&tm) * 1000;
	if (*rest == '.') {
		_cleanup_free_ char *fraction = must_printf("0%.4s", rest);

		*ret_ms += (int64_t)(strtod(fraction, NULL) * 1000);
		rest += 1 + strspn(rest + 1, "0123456789");
	}
	if (!*rest || !strcmp(rest, "Z"))
		return true;
	return parse_offset(rest, ret_ms);
}

/* <0, 0, >0: the actual date lies before, on, after the wanted one. */
static int compare_dates(const char *wanted, const char *actual)
{
	int64_t a = 0, b = 0;

	parse_date(wanted, &b);
	parse_date(actual, &a);
	return (a > b) - (a < b);
}

static bool date_equals(const char *wanted, const char *actual)
{
	return compare_dates(wanted, actual) == 0;
}

static bool date_less(const char *wanted, const char *actual)
{
	return compare_dates(wanted, actual) < 0;
}

static bool date_less_equals(const char *wanted, const char *actual)
{
	return compare_dates(wanted, actual) <= 0;
}

static bool date_greater(const char *wanted, const char *actual)
{
	return compare_dates(wanted, actual) > 0;
}

static bool date_greater_equals(const char *wanted, const char *actual)
{
	return compare_dates(wanted, actual) >= 0;
}

static bool string_equals(const char *wanted, const char *actual)
{
	return !strcmp(wanted, actual);
}

static bool string_equals_ignoring_case(const char *wanted, const char *actual)
{
	return !strcasecmp(wanted, actual);
}

static bool string_like(const char *wanted, const char *actual)
{
	return text_matches(wanted, actual, false);
}

/* ADDRESS or ADDRESS/BITS, of either family. */
static bool in_network(const char *wanted, const char *actual)
{
	unsigned char network[16], address[16];
	_cleanup_free_ char *text = must_strdup(wanted);
	char *slash = strchr(text, '/');
	int family = strchr(wanted, ':') ? AF_INET6 : AF_INET;
	unsigned long bits = slash ? strtoul(slash + 1, NULL, 10) : family == AF_INET ? 32 : 128;

	if (slash)
		*slash = '\0';
	if (inet_pton(family, text, network) != 1 || inet_pton(family, actual, address) != 1 ||
	    bits > (family == AF_INET ? 32 : 128))
		return false;
	for (unsigned long i = 0; i < bits; i++)
		if (((network[i / 8] ^ address[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

static const struct comparison comparisons[] = {
	{"StringEquals", string_equals, false, false},
	{"StringNotEquals", string_equals, true, false},
	{"StringEqualsIgnoreCase", string_equals_ignoring_case, false, false},
	{"StringNotEqualsIgnoreCase", string_equals_ignoring_case, true, false},
	{"StringLike", string_like, false, false},
	{"StringNotLike", string_like, true, false},
	{"ArnEquals", string_like, false, false},
	{"ArnLike", string_like, false, false},
	{"ArnNotEquals", string_like, true, false},
	{"ArnNotLike", string_like, true, false},
	{"DateEquals", date_equals, false, true},
	{"DateNotEquals", date_equals, true, true},
	{"DateLessThan", date_less, false, true},
	{"DateLessThanEquals", date_less_equals, false, true},
	{"DateGreaterThan", date_greater, false, true},
	{"DateGreaterThanEquals", date_greater_equals, false, true},
	{"Bool", string_equals_ignoring_case, false, false},
	{"IpAddress", in_network, false, false},
	{"NotIpAddress", in_network, true, false},
	{"Null", NULL, false, false},
	{"BinaryEquals", NULL, false, false},
	{"NumericEquals", NULL, false, false},
	{"NumericNotEquals", NULL, false, false},
	{"NumericLessThan", NULL, false, false},
	{"NumericLessThanEquals", NULL, false, false},
	{"NumericGreaterThan", NULL, false, false},
	{"NumericGreaterThanEquals", NULL, false, false},
};

/* An operator as a policy writes it: [ForAllValues:|ForAnyValue:]NAME[IfExists] */
struct spelled_operator {
	const struct comparison *comparison;
	bool for_all, if_exists;
};

static bool read_operator(const char *spelling, struct spelled_operator *ret)
{
	static const char all[] = "ForAllValues:", any[] = "ForAnyValue:", suffix[] = "IfExists";

	*ret = (struct spelled_operator){.for_all = !strncmp(spelling, all, sizeof(all) - 1)};
	if (ret->for_all)
		spelling += sizeof(all) - 1;
	else if (!strncmp(spelling, any, sizeof(any) - 1))
		spelling += sizeof(any) - 1;

	size_t n = strlen(spelling);

	if (n > sizeof(suffix) - 1 && !strcmp(spelling + n - (sizeof(suffix) - 1), suffix)) {
		ret->if_exists = true;
		n -= sizeof(suffix) - 1;
	}
	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		if (strlen(comparisons[i].name) == n && !strncmp(comparisons[i].name, spelling, n))
			ret->comparison = &comparisons[i];
	return ret->comparison != NULL;
}

static size_t list_size(const json_t *list)
{
	return json_is_array(list) ? json_array_size(list) : 1;
}

static const json_t *list_at(const json_t *list, size_t index)
{
	return json_is_array(list) ? json_array_get(list, index) : list;
}

/* Policies write booleans and numbers with or without quotes. For free(); NULL: no scalar. */
static char *scalar(const json_t *value)
{
	if (json_is_string(value))
		return must_strdup(json_string_value(value));
	if (json_is_boolean(value))
		return must_strdup(json_is_true(value) ? "true" : "false");
	if (json_is_integer(value))
		return must_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return NULL;
}

static bool validate_values(const struct comparison *comparison, const json_t *values, char *reason)
{
	for (size_t i = 0; i < list_size(values); i++) {
		_cleanup_free_ char *value = scalar(list_at(values, i));
		int64_t ignored;

		if (!value || (comparison->takes_dates && !parse_date(value, &ignored))) {
			snprintf(reason, POLICY_REASON_MAX, "Syntax errors in policy.");
			return false;
		}
	}
	return true;
}

bool condition_validate(const json_t *condition, char *reason)
{
	const char *name, *key;
	json_t *keys, *values;

	if (!condition)
		return true;
	if (!json_is_object(condition)) {
		snprintf(reason, POLICY_REASON_MAX, "Syntax errors in policy.");
		return false;
	}
	json_object_foreach((json_t *)condition, name, keys)
	{
		struct spelled_operator spelled;

		if (!read_operator(name, &spelled) || !json_is_object(keys)) {
			snprintf(reason, POLICY_REASON_MAX, "Invalid Condition type : %.64s.",
				 name);
			return false;
		}
		json_object_foreach(keys, key, values)
		{
			if (!validate_values(spelled.comparison, values, reason))
				return false;
		}
	}
	return true;
}

/* The request's values of a condition key, a new reference: a string, an array of strings, or a
 * JSON null for a key that we know and this request has not. NULL: no key that we know. */
static json_t *request_values(const struct policy_request *request, const char *key)
{
	/* Keys of single calls, of which any one call has some (condition.h, `keys`). */
	static const char *const of_calls[] = {"iam:PolicyARN", "iam:PermissionsBoundary",
					       "aws:TagKeys", "aws:MultiFactorAuthPresent"};
	static const char *const prefixes_of_calls[] = {"aws:RequestTag/", "aws:ResourceTag/",
							"iam:ResourceTag/", "aws:PrincipalTag/"};
	const struct {
		const char *name, *value;
	} of_all[] = {
		{"aws:username", request->user_name},
		{"aws:userid", request->user_id},
		{"aws:PrincipalArn", request->user_arn},
		{"aws:PrincipalAccount", request->account},
		{"aws:PrincipalType", "User"},
		{"aws:SourceIp", request->source_ip},
		{"aws:SecureTransport", request->secure_transport ? "true" : "false"},
		{"aws:RequestedRegion", request->region},
	};
	const char *name;
	json_t *value;

	if (!strcasecmp(key, "aws:CurrentTime") || !strcasecmp(key, "aws:EpochTime"))
		return json_sprintf("%lld", (long long)(request->now_ms / 1000));
	for (size_t i = 0; i < sizeof(of_all) / sizeof(of_all[0]); i++)
		if (!strcasecmp(key, of_all[i].name))
			return of_all[i].value ? json_string(of_all[i].value) : json_null();
	json_object_foreach((json_t *)request->keys, name, value)
	{
		if (!strcasecmp(key, name))
			return json_incref(value);
	}
	for (size_t i = 0; i < sizeof(of_calls) / sizeof(of_calls[0]); i++)
		if (!strcasecmp(key, of_calls[i]))
			return json_null();
	for (size_t i = 0; i < sizeof(prefixes_of_calls) / sizeof(prefixes_of_calls[0]); i++)
		if (!strncasecmp(key, prefixes_of_calls[i], strlen(prefixes_of_calls[i])))
			return json_null();
	return NULL;
}

static bool value_compares(const struct comparison *comparison, const json_t *wanted,
			   const char *actual, const struct policy_request *request)
{
	for (size_t i = 0; i < list_size(wanted); i++) {
		_cleanup_free_ char *written = scalar(list_at(wanted, i));
		/* Dates take no variables. */
		_cleanup_free_ char *value = comparison->takes_dates
						     ? must_strdup(written)
						     : condition_expand(written, request);

		if (value && comparison->compare(value, actual))
			return true;
	}
	return false;
}

static enum condition_result judge_null(const json_t *wanted, const json_t *actual)
{
	_cleanup_free_ char *value = scalar(list_at(wanted, 0));
	bool should_be_absent = value && !strcasecmp(value, "true");

	return json_is_null(actual) == should_be_absent ? CONDITION_YES : CONDITION_NO;
}

static enum condition_result judge_values(const struct spelled_operator *spelled,
					  const json_t *wanted, const json_t *actual,
					  const struct policy_request *request)
{
	const struct comparison *comparison = spelled->comparison;
	size_t fulfilled = 0, n = list_size(actual);

	for (size_t i = 0; i < n; i++)
		fulfilled +=
			value_compares(comparison, wanted, json_string_value(list_at(actual, i)),
				       request) != comparison->negated;
	return (spelled->for_all ? fulfilled == n : fulfilled > 0) ? CONDITION_YES : CONDITION_NO;
}

static enum condition_result judge_absence(const struct spelled_operator *spelled)
{
	return spelled->comparison->negated || spelled->if_exists || spelled->for_all
		       ? CONDITION_YES
		       : CONDITION_NO;
}

static enum condition_result judge_key(const struct spelled_operator *spelled, const char *key,
				       const json_t *wanted, const struct policy_request *request)
{
	bool asks_presence = !strcmp(spelled->comparison->name, "Null");
	json_t *actual = request_values(request, key);
	enum condition_result result;

	if (!actual || (!spelled->comparison->compare && !asks_presence))
		result = CONDITION_UNKNOWN;
	else if (asks_presence)
		result = judge_null(wanted, actual);
	else if (json_is_null(actual))
		result = judge_absence(spelled);
	else
		result = judge_values(spelled, wanted, actual, request);
	json_decref(actual);
	return result;
}

enum condition_result condition_judge(const json_t *condition, const struct policy_request *request)
{
	enum condition_result all = CONDITION_YES;
	const char *name, *key;
	json_t *keys, *values;

	json_object_foreach((json_t *)condition, name, keys)
	{
		struct spelled_operator spelled;

		read_operator(name, &spelled);
		json_object_foreach(keys, key, values)
		{
			enum condition_result one = judge_key(&spelled, key, values, request);

			if (one == CONDITION_NO)
				return CONDITION_NO;
			if (one == CONDITION_UNKNOWN)
				all = CONDITION_UNKNOWN;
		}
	}
	return all;
}

char *condition_expand(const char *pattern, const struct policy_request *request)
{
	_cleanup_text_ struct text ret = {0};

	while (*pattern) {
		const char *end = strncmp(pattern, "${", 2) == 0 ? strchr(pattern, '}') : NULL;

		if (!end) {
			text_add_bytes(&ret, pattern++, 1);
			continue;
		}

		_cleanup_free_ char *name = must_strndup(pattern + 2, (size_t)(end - pattern - 2));
		json_t *value = request_values(request, name);
		bool known = json_is_string(value);

		/* ${*} and ${?} stand for the characters themselves, which our matcher cannot
		 * express; no policy of a test needs them. */
		if (known)
			text_add(&ret, json_string_value(value));
		json_decref(value);
		if (!known)
			return NULL;
		pattern = end + 1;
	}
	return text_take(&ret);
}
