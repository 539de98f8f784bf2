/* catalog_policy.c: what a leased user may do: "policy" or "policy_file", "policy_arns" and
 * "permissions_boundary" of a dynamic secret. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"
#include "lease/policy.h"

#define POLICY_ARNS_MAX 10 /* IAM's quota of managed policies a user */
#define ARN_MAX         600

/* Any end: all are of one length. */
#define SOME_END_MS 0

static void check_policy_size(const struct dynamic_secret *secret, const struct cursor *at)
{
	size_t n = policy_size(secret->policy), expiry = 0;

	if (secret->integration && secret->integration->expiry_in_policy) {
		char *whole = policy_with_expiry(secret->policy, SOME_END_MS);
		if (!whole) {
			at->reader->no_memory = true;
			return;
		}
		expiry = policy_size(whole) - n;
		free(whole);
	}
	if (n + expiry <= POLICY_SIZE_MAX)
		return;
	if (expiry > 0)
		cursor_refuse(at,
			      "is too long: %zu characters, and %zu for the statement that "
			      "ends the lease; IAM allows %d together",
			      n, expiry, POLICY_SIZE_MAX);
	else
		cursor_refuse(at, "is too long: %zu characters; IAM allows %d", n, POLICY_SIZE_MAX);
}

static void compact_policy(struct dynamic_secret *ret, const struct cursor *at, const char *json,
			   size_t n)
{
	char *compact;
	struct dsec_error err;

	if (policy_compact(&compact, json, n, &err) < 0) {
		cursor_refuse(at, "%s", err.message);
		return;
	}
	ret->policy = reader_string(at->reader, compact);
	free(compact);
	check_policy_size(ret, at);
}

static void read_policy_file(struct dynamic_secret *ret, const struct cursor *at, const char *name)
{
	const struct catalog_system *system = at->reader->system;
	char *json;
	size_t n;
	int r = system->read_file(system, reader_path(at->reader, name), POLICY_TEXT_MAX, false,
				  &json, &n);

	if (r == -EFBIG)
		cursor_refuse(at, "the file is longer than %d bytes; no policy is",
			      POLICY_TEXT_MAX);
	else if (r < 0)
		cursor_refuse(at, "the file cannot be read: %s", strerror(-r));
	if (r < 0)
		return;
	compact_policy(ret, at, json, n);
	free(json);
}

static void read_inline(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor at, file_at;
	bool here = cursor_object(object, "policy", "{\"Version\": \"2012-10-17\", …}", &at);
	const char *file = cursor_string(object, "policy_file", "\"policy.json\"", &file_at);

	if (here) {
		char *json = json_dumps(at.value, JSON_COMPACT | JSON_REAL_PRECISION(15));
		if (json)
			compact_policy(ret, &at, json, strlen(json));
		else
			at.reader->no_memory = true;
		free(json);
	}
	if (file)
		read_policy_file(ret, &file_at, file);
	if (cursor_member(object, "policy", &at) && cursor_member(object, "policy_file", &file_at))
		cursor_refuse(&file_at,
			      "policy stands beside it; only one of the two can be right");
}

/* arn:PARTITION:iam::ACCOUNT:policy/NAME. ACCOUNT is "aws" for AWS's own policies, and other
 * servers have longer ones than 12 digits. */
static bool policy_arn_valid(const char *arn)
{
	char copy[ARN_MAX], *rest = copy;
	const char *fields[6];

	if (strlen(arn) >= sizeof(copy))
		return false;
	memcpy(copy, arn, strlen(arn) + 1);
	for (size_t i = 0; i < 6; i++)
		fields[i] = i < 5 ? strsep(&rest, ":") : rest;
	if (!fields[5] || strncmp(fields[5], "policy/", 7) != 0)
		return false;
	const char *name = fields[5] + 7;
	return strcmp(fields[0], "arn") == 0 && *fields[1] && catalog_made_of(fields[1], "-") &&
	       strcmp(fields[2], "iam") == 0 && !*fields[3] && *fields[4] &&
	       catalog_made_of(fields[4], "-_") && *name && catalog_made_of(name, "/+=,.@_-") &&
	       name[strlen(name) - 1] != '/';
}

static const char *read_arn(const struct cursor *at)
{
	const char *arn = cursor_text(at, "\"arn:aws:iam::aws:policy/ReadOnlyAccess\"");

	if (!arn || policy_arn_valid(arn))
		return arn;
	cursor_refuse(at,
		      "\"%.128s\" is no ARN of a policy; one looks like "
		      "\"arn:aws:iam::aws:policy/ReadOnlyAccess\"",
		      arn);
	return NULL;
}

static void read_arns(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor list, at;

	if (!cursor_list(object, "policy_arns", "[\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]",
			 &list))
		return;
	size_t n = json_array_size(list.value);
	if (n > POLICY_ARNS_MAX) {
		cursor_refuse(&list, "has %zu policies; IAM allows %d a user", n, POLICY_ARNS_MAX);
		return;
	}
	const char **arns = reader_array(object->reader, n, sizeof(*arns));
	for (size_t i = 0; arns && cursor_element(&list, i, &at); i++) {
		const char *arn = read_arn(&at);
		for (size_t j = 0; arn && j < ret->n_policy_arns; j++)
			if (strcmp(arns[j], arn) == 0) {
				cursor_refuse(&at, "is there twice");
				arn = NULL;
			}
		if (arn)
			arns[ret->n_policy_arns++] = reader_string(object->reader, arn);
	}
	ret->policy_arns = arns;
}

static void read_boundary(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor at;

	if (!cursor_member(object, "permissions_boundary", &at))
		return;
	const char *arn = read_arn(&at);
	if (arn)
		ret->permissions_boundary = reader_string(object->reader, arn);
}

static void check_rights(const struct dynamic_secret *secret, const struct cursor *object)
{
	/* AWS's own policies that include rights that policy_self_undo looks for. */
	static const struct {
		const char *name, *allows;
	} strong[] = {
		{"/AdministratorAccess", "everything"},
		{"/IAMFullAccess", "iam:*"},
		{"/PowerUserAccess", "sts:AssumeRole"},
	};
	struct cursor at;

	if (!cursor_member(object, "policy", &at) && !cursor_member(object, "policy_file", &at) &&
	    (!cursor_member(object, "policy_arns", &at) || json_array_size(at.value) == 0)) {
		cursor_refuse(object, "has neither policy, policy_file nor policy_arns: whoever "
				      "leased it could do nothing");
		return;
	}
	if (secret->permissions_boundary)
		return;
	const char *reason = *secret->policy ? policy_self_undo(secret->policy) : NULL;
	if (reason)
		cursor_warn(&at,
			    "whoever leases it could go on after the lease: %s; a "
			    "permissions_boundary prevents that",
			    reason);
	for (size_t i = 0; i < secret->n_policy_arns; i++)
		for (size_t j = 0; j < sizeof(strong) / sizeof(strong[0]); j++) {
			const char *name = strrchr(secret->policy_arns[i], '/');
			if (name && strcmp(name, strong[j].name) == 0)
				cursor_warn(object,
					    "whoever leases it could go on after the lease: %s "
					    "allows %s; a permissions_boundary prevents that",
					    name + 1, strong[j].allows);
		}
}

void read_policies(struct dynamic_secret *ret, const struct cursor *object)
{
	read_inline(ret, object);
	read_arns(ret, object);
	read_boundary(ret, object);
	check_rights(ret, object);
}
