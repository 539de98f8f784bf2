/* catalog_integration.c: one member of "integrations". */
#include <string.h>

#include "lease/catalog_reader.h"

/* IAM's paths have at most 512 characters; below the integration's stand the daemon's id and the
 * lease's end, of 16 characters and a '/' each. */
#define PATH_MAX_LENGTH (512 - 2 * (16 + 1))

#define RATE_DEFAULT 10.0
#define RATE_MIN     0.1
#define RATE_MAX     10000.0

/* Credentials. None of these messages shows a value: what stands here by mistake may be a secret.
 */

#define ACCESS_KEY_ID_MAX 128

/* Credentials have no blanks; one would come from pasting. */
static bool no_blanks(const struct cursor *at, const char *text)
{
	if (!strchr(text, ' '))
		return true;
	cursor_refuse(at, "has a blank in it");
	return false;
}

static struct secret *read_secret(const struct cursor *object, const char *key)
{
	struct cursor at;
	const char *text = cursor_string(object, key, "\"…\"", &at);

	if (!text || !no_blanks(&at, text))
		return NULL;
	if (!at.reader->private) {
		cursor_refuse(&at, "a secret may stand in this file only if its owner alone can "
				   "read it: chmod 600");
		return NULL;
	}
	return cursor_secret(&at, text, strlen(text));
}

static void read_static(struct credentials *ret, const struct cursor *object)
{
	static const char *const known[] = {"source",
					    "access_key_id",
					    "secret_access_key",
					    "secret_access_key_file",
					    "session_token",
					    NULL};
	struct cursor at;

	cursor_known(object, known);
	cursor_need(object, "access_key_id", "the id of the integration's key, such as \"AKIA…\"");
	const char *id = cursor_string(object, "access_key_id", "\"AKIA…\"", &at);
	if (id && strlen(id) > ACCESS_KEY_ID_MAX)
		cursor_refuse(&at, "has more than %d characters", ACCESS_KEY_ID_MAX);
	else if (id && no_blanks(&at, id))
		ret->access_key_id = reader_string(at.reader, id);

	bool here = cursor_member(object, "secret_access_key", &at);
	bool in_file = cursor_member(object, "secret_access_key_file", &at);
	if (here && in_file)
		cursor_refuse(&at, "secret_access_key stands beside it; only one of the two can be "
				   "right");
	if (!here && !in_file)
		cursor_refuse(object, "member \"secret_access_key_file\" is missing: the name of a "
				      "file that holds the secret access key (or "
				      "\"secret_access_key\", the key itself)");
	ret->secret_access_key = read_secret(object, "secret_access_key");
	ret->secret_access_key_file = cursor_file_name(object, "secret_access_key_file",
						       "\"/etc/dsec/aws-main.key\"", true);
	ret->session_token = read_secret(object, "session_token");
}

static void read_environment(struct credentials *ret, const struct cursor *object)
{
	static const char *const known[] = {"source", NULL};

	cursor_known(object, known);
}

static void read_profile(struct credentials *ret, const struct cursor *object)
{
	static const char *const known[] = {"source", "profile", "shared_credentials_file",
					    "config_file", NULL};
	struct cursor at;

	cursor_known(object, known);
	const char *profile = cursor_string(object, "profile", "\"default\"", &at);
	ret->profile = profile ? reader_string(object->reader, profile) : "default";
	ret->shared_credentials_file = cursor_file_name(object, "shared_credentials_file",
							"\"/etc/dsec/credentials\"", false);
	ret->config_file = cursor_file_name(object, "config_file", "\"/etc/dsec/config\"", false);
}

static void read_process(struct credentials *ret, const struct cursor *object)
{
	static const char *const known[] = {"source", "command", NULL};
	struct cursor at;

	cursor_known(object, known);
	cursor_need(object, "command", "what to run, such as \"/usr/bin/aws-vault export …\"");
	const char *command = cursor_string(object, "command", "\"/usr/bin/aws-vault …\"", &at);
	if (command && command[strspn(command, " ")] == '\0')
		cursor_refuse(&at, "has nothing but blanks");
	else if (command)
		ret->command = reader_string(object->reader, command);
}

void read_credentials(struct credentials *ret, const struct cursor *integration)
{
	static const struct {
		const char *name;
		enum credentials_source source;
		void (*read)(struct credentials *ret, const struct cursor *object);
	} sources[] = {
		{"static", CREDENTIALS_STATIC, read_static},
		{"environment", CREDENTIALS_ENVIRONMENT, read_environment},
		{"profile", CREDENTIALS_PROFILE, read_profile},
		{"process", CREDENTIALS_PROCESS, read_process},
	};
	struct cursor object, at;

	*ret = (struct credentials){.access_key_id = "", .profile = "", .command = ""};
	cursor_need(integration, "credentials", "how dsec itself signs in");
	if (!cursor_object(integration, "credentials", "{\"source\": \"environment\"}", &object))
		return;
	cursor_need(&object, "source", "\"static\", \"environment\", \"profile\" or \"process\"");
	const char *name = cursor_string(&object, "source", "\"static\"", &at);
	for (size_t i = 0; name && i < sizeof(sources) / sizeof(sources[0]); i++)
		if (strcmp(sources[i].name, name) == 0) {
			ret->source = sources[i].source;
			sources[i].read(ret, &object);
			return;
		}
	if (name)
		cursor_refuse(&at, "has to be \"static\", \"environment\", \"profile\" or "
				   "\"process\"");
}

/* The rest. */

static void read_type(const struct cursor *object)
{
	struct cursor at;

	cursor_need(object, "type", "\"aws-iam\"");
	const char *type = cursor_string(object, "type", "\"aws-iam\"", &at);
	if (type && strcmp(type, "aws-iam") != 0)
		cursor_refuse(&at, "\"%.64s\" is unknown; this version knows \"aws-iam\" only",
			      type);
}

static void read_path(struct integration *ret, const struct cursor *object)
{
	struct cursor at;
	const char *path = cursor_string(object, "path", "\"/doppler/\"", &at);

	if (!path)
		return;
	size_t n = strlen(path);
	/* No wildcard may get in: the integration's own rights end at this path. */
	if (path[0] != '/' || path[n - 1] != '/')
		cursor_refuse(&at, "\"%.64s\" has to begin and end with '/'", path);
	else if (!catalog_made_of(path, "/+=,.@_-") || strstr(path, "//"))
		cursor_refuse(&at,
			      "\"%.64s\" may have letters, digits and +=,.@_- only between "
			      "single slashes",
			      path);
	else if (n > PATH_MAX_LENGTH)
		cursor_refuse(&at,
			      "has %zu characters; at most %d leave room for what dsec puts "
			      "behind it",
			      n, PATH_MAX_LENGTH);
	else
		ret->path = reader_string(at.reader, path);
}

static void read_rate(struct integration *ret, const struct cursor *object)
{
	struct cursor at;

	if (!cursor_member(object, "rate", &at))
		return;
	if (!json_is_number(at.value)) {
		cursor_refuse(&at, "has to be a number of calls a second, such as %g, and no text",
			      RATE_DEFAULT);
		return;
	}
	double rate = json_number_value(at.value);
	if (rate < RATE_MIN || rate > RATE_MAX)
		cursor_refuse(&at, "has to be from %g to %g calls a second", RATE_MIN, RATE_MAX);
	else
		ret->rate = rate;
}

void read_integration(struct integration *ret, const struct cursor *at)
{
	static const char *const known[] = {
		"type",         "credentials",      "region", "endpoint",
		"sts_endpoint", "ca_file",          "path",   "rate",
		"verify",       "expiry_in_policy", NULL};

	*ret = (struct integration){
		.name = reader_string(at->reader, at->key),
		.credentials = {.access_key_id = "", .profile = "", .command = ""},
		.path = "/doppler/",
		.region = "us-east-1",
		.endpoint = "",
		.signing_region = "us-east-1",
		.sts_endpoint = "",
		.rate = RATE_DEFAULT,
		.verify = true,
		.expiry_in_policy = true,
	};
	if (!catalog_name_valid(at->key))
		cursor_refuse(at,
			      "an integration's name has 1 to %d letters, digits and _.-, and "
			      "does not begin with '.'",
			      CATALOG_NAME_MAX);
	if (!cursor_is_object(at, "{\"type\": \"aws-iam\", …}"))
		return;
	cursor_known(at, known);
	read_type(at);
	read_credentials(&ret->credentials, at);
	read_endpoints(ret, at);
	ret->ca_file = cursor_file_name(at, "ca_file", "\"/etc/ssl/ca.pem\"", false);
	read_path(ret, at);
	read_rate(ret, at);
	cursor_bool(at, "verify", &ret->verify);
	cursor_bool(at, "expiry_in_policy", &ret->expiry_in_policy);
}
