/* catalog_secret.c: one member of a config's "dynamic_secrets". */
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lease/catalog_reader.h"
#include "lease/duration.h"

#define MAX_LEASES_DEFAULT 100
#define MAX_LEASES_MAX     5000 /* IAM's quota of users an account */
#define MAX_RATE_DEFAULT   30
#define MAX_RATE_MAX       1000000

static void refuse_integration(const struct cursor *at, const char *name)
{
	const struct catalog *catalog = &at->reader->store->catalog;
	const char **names = reader_array(at->reader, catalog->n_integrations + 1, sizeof(*names));

	for (size_t i = 0; names && i < catalog->n_integrations; i++)
		names[i] = catalog->integrations[i].name;
	const char *meant = names ? catalog_nearest(name, names) : NULL;
	if (meant)
		cursor_refuse(at, "there is no integration \"%.128s\"; did you mean \"%s\"?", name,
			      meant);
	else
		cursor_refuse(at, "there is no integration \"%.128s\"", name);
}

/* Integrations have been read before all else. */
static void read_integration_name(struct dynamic_secret *ret, const struct cursor *object)
{
	const struct catalog *catalog = &object->reader->store->catalog;
	struct cursor at;

	cursor_need(object, "integration", "the name of one of \"integrations\"");
	const char *name = cursor_string(object, "integration", "\"aws-main\"", &at);
	if (!name)
		return;
	ret->integration = catalog_integration(catalog, name);
	if (!ret->integration)
		refuse_integration(&at, name);
}

/* Tags. */

#define TAGS_MAX      50
#define TAG_KEY_MAX   128 /* in Unicode characters, like the next */
#define TAG_VALUE_MAX 256

static size_t characters(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			n++;
	return n;
}

/* Letters and digits of any language, blanks, and these. */
static bool tag_text_valid(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x80) {
			const char one[] = {*text, '\0'};
			if (!catalog_made_of(one, " _.:/=+-@"))
				return false;
		}
	return true;
}

/* A value may be empty; cursor_text refuses that of others. */
static const char *tag_value(const struct cursor *at)
{
	const char *text = json_string_value(at->value);

	return text && !*text ? text : cursor_text(at, "\"web\"");
}

static bool read_tag(struct tag *ret, const struct cursor *at)
{
	const char *value = tag_value(at);

	if (!*at->key || characters(at->key) > TAG_KEY_MAX || !tag_text_valid(at->key)) {
		cursor_refuse(at, "a tag's key has 1 to %d letters, digits, blanks and _.:/=+-@",
			      TAG_KEY_MAX);
		return false;
	}
	if (strncasecmp(at->key, "aws:", 4) == 0) {
		cursor_refuse(at, "keys that begin with \"aws:\" are AWS's own");
		return false;
	}
	if (!value)
		return false;
	if (characters(value) > TAG_VALUE_MAX || !tag_text_valid(value)) {
		cursor_refuse(at, "a tag's value has up to %d letters, digits, blanks and _.:/=+-@",
			      TAG_VALUE_MAX);
		return false;
	}
	*ret = (struct tag){reader_string(at->reader, at->key), reader_string(at->reader, value)};
	return true;
}

static void read_tags(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor map, at;
	void *iter = NULL;

	if (!cursor_object(object, "tags", "{\"team\": \"web\"}", &map))
		return;
	if (json_object_size(map.value) > TAGS_MAX) {
		cursor_refuse(&map, "has %zu tags; IAM allows %d a user",
			      json_object_size(map.value), TAGS_MAX);
		return;
	}
	struct tag *tags = reader_array(object->reader, json_object_size(map.value), sizeof(*tags));
	while (tags && cursor_next(&map, &iter, &at)) {
		bool valid = read_tag(&tags[ret->n_tags], &at);
		/* IAM knows keys regardless of case. */
		for (size_t i = 0; valid && i < ret->n_tags; i++)
			if (strcasecmp(tags[i].key, at.key) == 0) {
				cursor_refuse(&at, "IAM takes it for the same key as \"%s\"",
					      tags[i].key);
				valid = false;
			}
		ret->n_tags += valid;
	}
	if (tags)
		qsort(tags, ret->n_tags, sizeof(*tags), catalog_compare_names);
	ret->tags = tags;
}

/* Times and limits. */

static void read_times(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor at;
	bool has_ttl, has_max, has_min;
	char text[DURATION_TEXT_MAX], max[DURATION_TEXT_MAX];

	has_ttl = cursor_duration(object, "ttl", "\"30m\"", &ret->ttl_ms, &at);
	if (has_ttl && ret->ttl_ms < CATALOG_TTL_MIN_MS) {
		cursor_refuse(&at, "is less than 10s, the least a lease can have");
		return;
	}
	has_max = cursor_duration(object, "max_ttl", "\"12h\"", &ret->max_ttl_ms, &at);
	if (ret->ttl_ms > ret->max_ttl_ms) {
		duration_format(text, ret->ttl_ms);
		duration_format(max, ret->max_ttl_ms);
		cursor_member(object, has_ttl ? "ttl" : "max_ttl", &at);
		cursor_refuse(&at, "the TTL, %s%s, is longer than max_ttl, %s%s", text,
			      has_ttl ? "" : " by default", max, has_max ? "" : " by default");
		return;
	}
	ret->min_validity_ms = ret->ttl_ms / 2 < CATALOG_MIN_VALIDITY_CAP_MS
				       ? ret->ttl_ms / 2
				       : CATALOG_MIN_VALIDITY_CAP_MS;
	has_min = cursor_duration(object, "min_validity", "\"15m\"", &ret->min_validity_ms, &at);
	if (has_min && ret->min_validity_ms >= ret->ttl_ms) {
		duration_format(text, ret->ttl_ms);
		cursor_refuse(&at,
			      "has to be less than the TTL, which is %s: no lease could ever "
			      "be shared",
			      text);
	}
}

static void read_scope(struct dynamic_secret *ret, const struct cursor *object)
{
	static const struct {
		const char *name;
		enum lease_scope scope;
	} scopes[] = {
		{"shared", SCOPE_SHARED},
		{"user", SCOPE_USER},
		{"container", SCOPE_CONTAINER},
		{"process", SCOPE_PROCESS},
	};
	struct cursor at;
	const char *name = cursor_string(object, "scope", "\"shared\"", &at);

	for (size_t i = 0; name && i < sizeof(scopes) / sizeof(scopes[0]); i++)
		if (strcmp(scopes[i].name, name) == 0) {
			ret->scope = scopes[i].scope;
			return;
		}
	if (name)
		cursor_refuse(&at,
			      "\"%.64s\" is no scope; it can be \"shared\", \"user\", "
			      "\"container\" or \"process\"",
			      name);
}

/* After max_leases. */
static void read_warm(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor at;

	cursor_integer(object, "warm", 0, MAX_LEASES_MAX, &ret->warm);
	if (ret->warm > ret->max_leases && cursor_member(object, "warm", &at))
		cursor_refuse(&at, "is more than the %u users of max_leases", ret->max_leases);
}

static const struct {
	const char *name;
	int number;
} signals[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}};

static void read_signal(struct dynamic_secret *ret, const struct cursor *object)
{
	struct cursor at;
	const char *name = cursor_string(object, "signal", "\"HUP\"", &at);

	for (size_t i = 0; name && i < sizeof(signals) / sizeof(signals[0]); i++)
		if (strcmp(signals[i].name, name) == 0)
			ret->on_rotate_signal = signals[i].number;
	if (name && !ret->on_rotate_signal)
		cursor_refuse(&at,
			      "\"%.64s\" cannot be sent; it can be \"HUP\", \"USR1\" or \"USR2\"",
			      name);
	else if (name && ret->scope != SCOPE_PROCESS)
		cursor_refuse(
			&at,
			"only the holder of a lease of scope \"process\" is one process; use a "
			"command");
}

static void read_on_rotate(struct dynamic_secret *ret, const struct cursor *object)
{
	static const char *const known[] = {"command", "signal", NULL};
	static const char example[] = "\"/usr/bin/systemctl reload app\"";
	struct cursor at, command_at;

	if (!cursor_object(object, "on_rotate", "{\"command\": \"/usr/bin/systemctl reload app\"}",
			   &at))
		return;
	cursor_known(&at, known);
	const char *command = cursor_string(&at, "command", example, &command_at);
	if (command && command[0] != '/')
		cursor_refuse(&command_at,
			      "has to begin with the whole path of a program, such as %s", example);
	else if (command)
		ret->on_rotate_command = reader_string(object->reader, command);
	read_signal(ret, &at);
	if (json_object_size(at.value) == 0)
		cursor_refuse(&at, "does nothing; give it a command or a signal");
}

/* "30/m". False: there is none, or none that could be, which is reported. */
static bool read_rate(const struct cursor *object, const char *key, const char *example,
		      unsigned *ret, int64_t *ret_per_ms, struct cursor *ret_at)
{
	static const char units[] = "smh";
	static const int64_t unit_ms[] = {1000, 60000, 3600000};
	const char *text = cursor_string(object, key, example, ret_at);

	if (!text)
		return false;
	size_t n = strspn(text, "0123456789");
	const char *unit = text[n] == '/' && text[n + 1] ? strchr(units, text[n + 1]) : NULL;
	if (n == 0 || n > 7 || !unit || text[n + 2]) {
		cursor_refuse(ret_at,
			      "\"%.64s\" is no rate; one looks like \"1/s\", \"30/m\" or "
			      "\"100/h\"",
			      text);
		return false;
	}
	long number = strtol(text, NULL, 10);
	if (number < 1 || number > MAX_RATE_MAX) {
		cursor_refuse(ret_at, "has to be from 1 to %d leases in that time", MAX_RATE_MAX);
		return false;
	}
	*ret = (unsigned)number;
	*ret_per_ms = unit_ms[unit - units];
	return true;
}

/* By default half of what all have together, so that one holder alone cannot use that up. */
static void read_rates(struct dynamic_secret *ret, const struct cursor *object)
{
	char per[DURATION_TEXT_MAX];
	struct cursor at;

	read_rate(object, "max_rate", "\"30/m\"", &ret->max_rate, &ret->max_rate_per_ms, &at);
	ret->max_rate_per_holder = ret->max_rate - ret->max_rate / 2;
	ret->max_rate_per_holder_ms = ret->max_rate_per_ms;
	if (!read_rate(object, "max_rate_per_holder", "\"15/m\"", &ret->max_rate_per_holder,
		       &ret->max_rate_per_holder_ms, &at))
		return;
	if (ret->max_rate_per_holder * ret->max_rate_per_ms <=
	    ret->max_rate * ret->max_rate_per_holder_ms)
		return;
	duration_format(per, ret->max_rate_per_ms);
	cursor_refuse(&at, "is more than the %u leases in %s of max_rate", ret->max_rate, per);
}

/* The fingerprint. */

/* Numbers of things and lengths are in it too, so that no two secrets make one text. */
static void add_number(EVP_MD_CTX *digest, uint64_t n)
{
	EVP_DigestUpdate(digest, &n, sizeof(n));
}

static void add_text(EVP_MD_CTX *digest, const char *text)
{
	add_number(digest, strlen(text));
	EVP_DigestUpdate(digest, text, strlen(text));
}

static void add_secret(EVP_MD_CTX *digest, const struct dynamic_secret *secret)
{
	const char *boundary = secret->permissions_boundary;

	add_text(digest, secret->integration->name);
	add_text(digest, secret->integration->path);
	add_number(digest, secret->integration->expiry_in_policy);
	add_text(digest, secret->policy);
	add_number(digest, secret->n_policy_arns);
	for (size_t i = 0; i < secret->n_policy_arns; i++)
		add_text(digest, secret->policy_arns[i]);
	add_text(digest, boundary ? boundary : "");
	add_number(digest, secret->n_tags);
	for (size_t i = 0; i < secret->n_tags; i++) {
		add_text(digest, secret->tags[i].key);
		add_text(digest, secret->tags[i].value);
	}
}

static bool fingerprint(struct dynamic_secret *secret)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool done = false;

	if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL)) {
		add_secret(digest, secret);
		done = EVP_DigestFinal_ex(digest, bytes, NULL) == 1;
	}
	EVP_MD_CTX_free(digest);
	if (done)
		memcpy(&secret->fingerprint, bytes, sizeof(secret->fingerprint));
	return done;
}

void read_dynamic_secret(struct dynamic_secret *ret, const struct cursor *at)
{
	static const char *const known[] = {"integration", "policy",
					    "policy_file", "ttl",
					    "max_ttl",     "min_validity",
					    "policy_arns", "permissions_boundary",
					    "tags",        "scope",
					    "warm",        "max_leases",
					    "max_rate",    "max_rate_per_holder",
					    "on_rotate",   NULL};

	*ret = (struct dynamic_secret){
		.name = reader_string(at->reader, at->key),
		.policy = "",
		.ttl_ms = CATALOG_TTL_DEFAULT_MS,
		.max_ttl_ms = CATALOG_MAX_TTL_DEFAULT_MS,
		.max_leases = MAX_LEASES_DEFAULT,
		.max_rate = MAX_RATE_DEFAULT,
		.max_rate_per_ms = 60000,
	};
	if (!cursor_is_object(at, "{\"integration\": \"aws-main\", \"policy\": …}"))
		return;
	cursor_known(at, known);
	read_integration_name(ret, at);
	read_policies(ret, at);
	read_tags(ret, at);
	read_times(ret, at);
	read_scope(ret, at);
	cursor_integer(at, "max_leases", 1, MAX_LEASES_MAX, &ret->max_leases);
	read_warm(ret, at);
	read_rates(ret, at);
	read_on_rotate(ret, at);
	if (ret->integration && !fingerprint(ret))
		at->reader->no_memory = true;
}
