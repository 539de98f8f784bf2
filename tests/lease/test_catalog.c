#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lease/catalog_fixture.h"
#include "tests/lease/freed.h"

#define POLICY                                                                                     \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"ec2:"       \
	"Describe*\",\"Resource\":\"*\"}]}"

/* A configuration with one integration and one dynamic secret, and room for members of each. */
#define WHOLE(integration, secret)                                                                 \
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\"" integration                             \
	"}},\"projects\":{\"app\":{\"dev\":{\"dynamic_secrets\":{\"AWS_USER\":{\"integration\":"   \
	"\"aws\"" secret "}}}}}}"
#define ENVIRONMENT          ",\"credentials\":{\"source\":\"environment\"}"
#define INTEGRATION(members) WHOLE(ENVIRONMENT members, ",\"policy\":" POLICY)
#define DYNAMIC(members)     WHOLE(ENVIRONMENT, ",\"policy\":" POLICY members)

static struct catalog_problems problems;

static int parse(struct catalog **ret, const char *text)
{
	struct catalog_system system;

	fixture_system(&system);
	return catalog_parse(ret, text, strlen(text), "/etc/dsec/dsec.json", true, &system,
			     &problems);
}

static struct catalog *load(const char *text)
{
	struct catalog *catalog = NULL;

	if (parse(&catalog, text) < 0)
		fail_msg("%s: %s", problems.at[0].path, problems.at[0].message);
	return catalog;
}

static const struct dynamic_secret *the_secret(const struct catalog *catalog)
{
	return &catalog->projects[0].configs[0].dynamics[0];
}

static void assert_secret(const struct secret *secret, const char *expected)
{
	char bytes[256];
	size_t n = secret_copy(secret, 0, bytes, sizeof(bytes));

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(bytes, expected, n);
}

/* What is read. */

static void what_is_not_said_is_dopplers_or_the_contracts(void **state)
{
	struct catalog *catalog = load(INTEGRATION(""));
	const struct integration *integration = catalog_integration(catalog, "aws");
	const struct config *config = catalog_config(catalog, "app", "dev");
	const struct dynamic_secret *secret = the_secret(catalog);

	assert_int_equal(catalog->read_timeout_ms, 30000);
	assert_int_equal(catalog->unmount_timeout_ms, 60000);
	assert_int_equal(catalog->n_api_listen, 0);
	assert_null(catalog->api_admin_group);
	assert_null(catalog->audit.file);
	assert_int_equal(integration->credentials.source, CREDENTIALS_ENVIRONMENT);
	assert_null(integration->ca_file);
	assert_string_equal(integration->path, "/doppler/");
	assert_true(integration->rate == 10.0);
	assert_true(integration->verify);
	assert_true(integration->expiry_in_policy);
	assert_int_equal(config->access.uid, 7);
	assert_int_equal(config->access.gid, 8);
	assert_int_equal(config->access.mode, 0400);
	assert_string_equal(secret->policy, POLICY);
	assert_int_equal(secret->ttl_ms, 1800000);
	assert_int_equal(secret->max_ttl_ms, 43200000);
	assert_int_equal(secret->min_validity_ms, 900000);
	assert_int_equal(secret->scope, SCOPE_SHARED);
	assert_int_equal(secret->warm, 0);
	assert_int_equal(secret->max_leases, 100);
	assert_int_equal(secret->max_rate, 30);
	assert_int_equal(secret->max_rate_per_ms, 60000);
	assert_int_equal(secret->max_rate_per_holder, 15);
	assert_int_equal(secret->max_rate_per_holder_ms, 60000);
	assert_null(secret->permissions_boundary);
	catalog_unref(catalog);
}

static void what_is_said_is_what_is_read(void **state)
{
	struct catalog *catalog = load(
		"{\"integrations\":{\"z\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":"
		"\"static\",\"access_key_id\":\"AKIA\",\"secret_access_key\":\"hunter2\","
		"\"session_token\":\"t\"},\"ca_file\":\"/etc/ssl/ca.pem\",\"path\":\"/a/b/\","
		"\"rate\":2.5,\"verify\":false,\"expiry_in_policy\":false},\"a\":{\"type\":"
		"\"aws-iam\",\"credentials\":{\"source\":\"static\",\"access_key_id\":\"AKIA\","
		"\"secret_access_key_file\":\"aws-main.key\"}}},"
		"\"projects\":{\"p\":{\"stg_x\":{\"secrets\":{\"B\":\"l1\\nl2\",\"A\":\"\"},"
		"\"dynamic_secrets\":{\"U\":{\"integration\":\"z\",\"policy_file\":\"policy.json\","
		"\"ttl\":\"1h\",\"max_ttl\":\"2h\",\"min_validity\":\"1m\",\"policy_arns\":["
		"\"arn:aws:iam::aws:policy/A\"],\"permissions_boundary\":"
		"\"arn:aws-cn:iam::123456789012:policy/p/B\",\"tags\":{\"z\":\"1\",\"a\":\"\"},"
		"\"scope\":\"user\",\"max_leases\":5,\"max_rate\":\"7/h\","
		"\"max_rate_per_holder\":\"3/h\"}},\"access\":{\"user\":"
		"\"app\",\"group\":\"dsec\",\"mode\":\"444\"}}}},\"read_timeout\":\"5s\","
		"\"unmount_timeout\":\"1h\",\"api\":{\"listen\":[\"unix:/run/dsec.sock\"],"
		"\"admin_group\":\"dsec\"},\"audit\":{\"file\":\"/a\"}}");
	const struct integration *z = catalog_integration(catalog, "z");
	const struct config *config = catalog_config(catalog, "p", "stg_x");
	const struct dynamic_secret *secret = the_secret(catalog);

	assert_string_equal(catalog->integrations[0].name, "a");
	assert_string_equal(catalog->integrations[0].credentials.secret_access_key_file,
			    "/etc/dsec/aws-main.key");
	assert_null(catalog->integrations[0].credentials.secret_access_key);
	assert_string_equal(z->credentials.access_key_id, "AKIA");
	assert_secret(z->credentials.secret_access_key, "hunter2");
	assert_secret(z->credentials.session_token, "t");
	assert_string_equal(z->ca_file, "/etc/ssl/ca.pem");
	assert_string_equal(z->path, "/a/b/");
	assert_true(z->rate == 2.5);
	assert_false(z->verify);
	assert_false(z->expiry_in_policy);
	assert_string_equal(config->environment, "stg");
	assert_string_equal(config->statics[0].key, "A");
	assert_secret(config->statics[0].value, "");
	assert_secret(config->statics[1].value, "l1\nl2");
	assert_int_equal(config->access.uid, 1000);
	assert_int_equal(config->access.gid, 1002);
	assert_int_equal(config->access.mode, 0444);
	assert_ptr_equal(secret->integration, z);
	assert_string_equal(secret->policy,
			    "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
			    "\"Action\":\"s3:Get*\",\"Resource\":\"*\"}}");
	assert_int_equal(secret->ttl_ms, 3600000);
	assert_int_equal(secret->max_ttl_ms, 7200000);
	assert_int_equal(secret->min_validity_ms, 60000);
	assert_int_equal(secret->n_policy_arns, 1);
	assert_string_equal(secret->policy_arns[0], "arn:aws:iam::aws:policy/A");
	assert_string_equal(secret->permissions_boundary,
			    "arn:aws-cn:iam::123456789012:policy/p/B");
	assert_int_equal(secret->n_tags, 2);
	assert_string_equal(secret->tags[0].key, "a");
	assert_string_equal(secret->tags[1].value, "1");
	assert_int_equal(secret->scope, SCOPE_USER);
	assert_int_equal(secret->max_leases, 5);
	assert_int_equal(secret->max_rate, 7);
	assert_int_equal(secret->max_rate_per_ms, 3600000);
	assert_int_equal(secret->max_rate_per_holder, 3);
	assert_int_equal(secret->max_rate_per_holder_ms, 3600000);
	assert_int_equal(catalog->read_timeout_ms, 5000);
	assert_int_equal(catalog->unmount_timeout_ms, 3600000);
	assert_string_equal(catalog->api_listen[0], "unix:/run/dsec.sock");
	assert_string_equal(catalog->api_admin_group, "dsec");
	assert_string_equal(catalog->audit.file, "/a");
	catalog_unref(catalog);
}

static void a_user_without_a_group_brings_its_own(void **state)
{
	struct catalog *catalog =
		load("{\"projects\":{\"p\":{\"_\":{\"access\":{\"user\":\"app\"}}}}}");
	const struct config *config = catalog_config(catalog, "p", "_");

	assert_int_equal(config->access.uid, 1000);
	assert_int_equal(config->access.gid, 1001);
	assert_string_equal(config->environment, "_");
	catalog_unref(catalog);
}

static void a_short_ttl_needs_no_fifteen_minutes(void **state)
{
	struct catalog *catalog = load(DYNAMIC(",\"ttl\":\"1m\""));

	assert_int_equal(the_secret(catalog)->min_validity_ms, 30000);
	assert_int_equal(catalog_min_validity(the_secret(catalog), 3600000), 30000);
	assert_int_equal(catalog_min_validity(the_secret(catalog), 20000), 10000);
	catalog_unref(catalog);
}

static void a_credentials_profile_has_its_files(void **state)
{
	struct catalog *catalog = load(
		WHOLE(",\"credentials\":{\"source\":\"profile\",\"config_file\":\"credentials\"}",
		      ",\"policy\":" POLICY));
	const struct credentials *credentials = &catalog->integrations[0].credentials;

	assert_int_equal(credentials->source, CREDENTIALS_PROFILE);
	assert_string_equal(credentials->profile, "default");
	assert_string_equal(credentials->config_file, "/etc/dsec/credentials");
	assert_null(credentials->shared_credentials_file);
	catalog_unref(catalog);
}

static void a_credential_process_is_kept_as_it_stands(void **state)
{
	struct catalog *catalog = load(
		WHOLE(",\"credentials\":{\"source\":\"process\",\"command\":\"/x \\\"a b\\\"\"}",
		      ",\"policy\":" POLICY));
	const struct credentials *credentials = &catalog->integrations[0].credentials;

	assert_int_equal(credentials->source, CREDENTIALS_PROCESS);
	assert_string_equal(credentials->command, "/x \"a b\"");
	catalog_unref(catalog);
}

/* A request that is signed for the wrong region, or sent to the wrong partition, is refused by AWS
 * with an error that says nothing. */
static void each_region_has_its_partitions_servers(void **state)
{
	static const struct {
		const char *text, *endpoint, *signing_region, *sts_endpoint;
	} cases[] = {
		{INTEGRATION(""), "https://iam.amazonaws.com", "us-east-1",
		 "https://sts.us-east-1.amazonaws.com"},
		{INTEGRATION(",\"region\":\"eu-central-1\""), "https://iam.amazonaws.com",
		 "us-east-1", "https://sts.eu-central-1.amazonaws.com"},
		{INTEGRATION(",\"region\":\"cn-northwest-1\""),
		 "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1",
		 "https://sts.cn-northwest-1.amazonaws.com.cn"},
		{INTEGRATION(",\"region\":\"us-gov-east-1\""), "https://iam.us-gov.amazonaws.com",
		 "us-gov-west-1", "https://sts.us-gov-east-1.amazonaws.com"},
		{INTEGRATION(",\"region\":\"eusc-de-east-1\""),
		 "https://iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1",
		 "https://sts.eusc-de-east-1.amazonaws.eu"},
		/* AWS's own servers under another name are signed for like the usual one. */
		{INTEGRATION(",\"region\":\"eu-west-1\",\"endpoint\":\"https://"
			     "iam-fips.amazonaws.com/\""),
		 "https://iam-fips.amazonaws.com", "us-east-1",
		 "https://sts.eu-west-1.amazonaws.com"},
		{INTEGRATION(",\"sts_endpoint\":\"https://sts-fips.us-east-1.amazonaws.com\""),
		 "https://iam.amazonaws.com", "us-east-1",
		 "https://sts-fips.us-east-1.amazonaws.com"},
		/* Another server's keys never go to AWS's STS. */
		{INTEGRATION(",\"region\":\"default\",\"endpoint\":\"http://127.0.0.1:8000\""),
		 "http://127.0.0.1:8000", "default", "http://127.0.0.1:8000"},
		{INTEGRATION(",\"endpoint\":\"http://localhost:1\",\"sts_endpoint\":"
			     "\"http://localhost:2\""),
		 "http://localhost:1", "us-east-1", "http://localhost:2"},
		{INTEGRATION(",\"endpoint\":\"https://notamazonaws.com\""),
		 "https://notamazonaws.com", "us-east-1", "https://notamazonaws.com"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct catalog *catalog = load(cases[i].text);
		const struct integration *integration = &catalog->integrations[0];
		assert_string_equal(integration->endpoint, cases[i].endpoint);
		assert_string_equal(integration->signing_region, cases[i].signing_region);
		assert_string_equal(integration->sts_endpoint, cases[i].sts_endpoint);
		catalog_unref(catalog);
	}
}

static void a_name_that_is_not_there_is_not_found(void **state)
{
	struct catalog *catalog = load(INTEGRATION("")), *empty = load("{}");
	size_t index = 7;

	assert_null(catalog_project(empty, "app"));
	assert_null(catalog_config(empty, "app", "dev"));
	assert_null(catalog_integration(empty, "aws"));
	assert_non_null(catalog_project(catalog, "app"));
	assert_null(catalog_project(catalog, "ap"));
	assert_null(catalog_config(catalog, "app", "de"));
	assert_null(catalog_config(catalog, "apple", "dev"));
	assert_null(catalog_integration(catalog, ""));
	const struct config *config = catalog_config(catalog, "app", "dev");
	assert_null(config_dynamic(config, "AWS_USE", &index));
	assert_int_equal(index, 7);
	assert_ptr_equal(config_dynamic(config, "AWS_USER", &index), the_secret(catalog));
	assert_int_equal(index, 0);
	catalog_unref(empty);
	catalog_unref(catalog);
}

static void a_catalog_lives_as_long_as_somebody_holds_it(void **state)
{
	struct catalog *catalog =
		load("{\"projects\":{\"p\":{\"c\":{\"secrets\":{\"A\":\"x\"}}}}}");
	size_t used = secret_arena_used();

	assert_ptr_equal(catalog_ref(catalog), catalog);
	assert_null(catalog_unref(catalog));
	assert_int_equal(secret_arena_used(), used);
	assert_string_equal(catalog->projects[0].name, "p");
	assert_null(catalog_unref(catalog));
	assert_int_equal(secret_arena_used(), 0);
	assert_null(catalog_unref(NULL));
}

/* Leases made under an equal fingerprint are taken over by a reloaded configuration. */
static void whatever_shapes_a_lease_changes_its_fingerprint(void **state)
{
	static const char *const texts[] = {
		DYNAMIC(""),
		INTEGRATION(",\"path\":\"/other/\""),
		INTEGRATION(",\"expiry_in_policy\":false"),
		WHOLE(ENVIRONMENT, ",\"policy_file\":\"policy.json\""),
		DYNAMIC(",\"policy_arns\":[\"arn:aws:iam::aws:policy/A\"]"),
		DYNAMIC(",\"policy_arns\":[\"arn:aws:iam::aws:policy/B\"]"),
		DYNAMIC(",\"policy_arns\":[\"arn:aws:iam::aws:policy/A\","
			"\"arn:aws:iam::aws:policy/B\"]"),
		DYNAMIC(",\"policy_arns\":[\"arn:aws:iam::aws:policy/B\"],"
			"\"permissions_boundary\":\"arn:aws:iam::aws:policy/A\""),
		DYNAMIC(",\"permissions_boundary\":\"arn:aws:iam::aws:policy/A\""),
		DYNAMIC(",\"tags\":{\"a\":\"bc\"}"),
		DYNAMIC(",\"tags\":{\"ab\":\"c\"}"),
		"{\"integrations\":{\"b\":{\"type\":\"aws-iam\"" ENVIRONMENT
		"}},\"projects\":{\"app\":{\"dev\":{\"dynamic_secrets\":{\"AWS_USER\":{"
		"\"integration\":\"b\",\"policy\":" POLICY "}}}}}}",
	};
	uint64_t seen[sizeof(texts) / sizeof(texts[0])];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct catalog *catalog = load(texts[i]);
		seen[i] = the_secret(catalog)->fingerprint;
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(seen[i], seen[j]);
		catalog_unref(catalog);
	}
}

static void what_shapes_no_lease_keeps_its_fingerprint(void **state)
{
	static const char *const texts[] = {
		DYNAMIC(",\"tags\":{\"a\":\"1\",\"b\":\"2\"}"),
		DYNAMIC(",\"tags\":{\"b\":\"2\",\"a\":\"1\"}"),
		DYNAMIC(",\"tags\":{\"a\":\"1\",\"b\":\"2\"},\"ttl\":\"1h\",\"max_rate\":\"1/s\","
			"\"scope\":\"user\",\"max_leases\":1"),
		WHOLE(ENVIRONMENT ",\"rate\":1,\"verify\":false,\"region\":\"eu-west-1\"",
		      ",\"tags\":{\"a\":\"1\",\"b\":\"2\"},\"policy\": " POLICY),
	};
	uint64_t first = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct catalog *catalog = load(texts[i]);
		if (i == 0)
			first = the_secret(catalog)->fingerprint;
		assert_int_equal(the_secret(catalog)->fingerprint, first);
		catalog_unref(catalog);
	}
}

/* Limits too large for a file in config/bad. */

static void assert_refused(const char *text, const char *expected)
{
	struct catalog *catalog = NULL;

	assert_int_equal(parse(&catalog, text), -EINVAL);
	assert_null(catalog);
	assert_string_equal(problems.at[0].message, expected);
	assert_false(problems.at[0].warning);
}

/* n members "K0": VALUE, … in an object between the two texts; for free(). */
static char *many(const char *before, const char *value, size_t n, const char *after)
{
	size_t size = strlen(before) + n * (strlen(value) + 16) + strlen(after) + 1, at;
	char *text = malloc(size);

	assert_non_null(text);
	at = (size_t)snprintf(text, size, "%s{", before);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, size - at, "%s\"K%zu\":%s", i ? "," : "", i,
				       value);
	snprintf(text + at, size - at, "}%s", after);
	return text;
}

static void a_config_of_too_many_keys_is_refused(void **state)
{
	char *text = many("{\"projects\":{\"p\":{\"c\":{\"secrets\":", "\"\"",
			  CATALOG_STATICS_MAX + 1, "}}}}");

	assert_refused(text, "has 4097 keys; a config has at most 4096");
	free(text);
	text = many("{\"projects\":{\"p\":{\"c\":{\"secrets\":", "\"\"", CATALOG_STATICS_MAX,
		    "}}}}");
	catalog_unref(load(text));
	free(text);
}

static void more_dynamic_secrets_than_bits_are_refused(void **state)
{
	static const char before[] = "{\"integrations\":{\"aws\":{\"type\":\"aws-iam\"" ENVIRONMENT
				     "}},\"projects\":{\"p\":{\"c\":{\"dynamic_secrets\":";
	static const char secret[] = "{\"integration\":\"aws\",\"policy\":" POLICY "}";
	char *text = many(before, secret, CATALOG_DYNAMICS_MAX + 1, "}}}}");

	assert_refused(text, "has 65 dynamic secrets; a config has at most 64");
	free(text);
	text = many(before, secret, CATALOG_DYNAMICS_MAX, "}}}}");
	catalog_unref(load(text));
	free(text);
}

/* A string of n bytes between the two texts; for free(). */
static char *filled(const char *before, size_t n, const char *after)
{
	size_t size = strlen(before) + n + strlen(after) + 1;
	char *text = malloc(size);

	assert_non_null(text);
	snprintf(text, size, "%s", before);
	memset(text + strlen(before), 'x', n);
	snprintf(text + strlen(before) + n, strlen(after) + 1, "%s", after);
	return text;
}

static void a_value_too_long_for_secret_memory_is_refused(void **state)
{
	char *text = filled("{\"projects\":{\"p\":{\"c\":{\"secrets\":{\"A\":\"",
			    SECRET_SIZE_MAX + 1, "\"}}}}}");

	assert_refused(text, "has 65537 bytes; a secret has at most 65536");
	free(text);
}

static void secret_memory_that_is_full_is_told(void **state)
{
	char value[4096];
	memset(value, 'x', sizeof(value));
	value[0] = value[sizeof(value) - 2] = '"';
	value[sizeof(value) - 1] = '\0';
	char *text = many("{\"projects\":{\"p\":{\"c\":{\"secrets\":", value, 512, "}}}}");
	struct catalog *catalog = NULL;

	assert_int_equal(parse(&catalog, text), -EINVAL);
	assert_non_null(strstr(problems.at[0].message, "cannot be kept in memory: "));
	assert_int_equal(problems.n, CATALOG_PROBLEMS_MAX);
	assert_int_equal(secret_arena_used(), 0);
	free(text);
}

static void an_endless_policy_is_refused(void **state)
{
	char *text = filled(
		"{\"projects\":{\"p\":{\"c\":{\"dynamic_secrets\":{\"A\":{\"policy\":{\"Id\":"
		"\"",
		131072, "\"}}}}}}}");
	struct catalog *catalog = NULL;
	assert_int_equal(parse(&catalog, text), -EINVAL);
	assert_string_equal(problems.at[1].message,
			    "the policy has 131081 bytes; no policy has more than 131072");
	free(text);
}

static void a_file_too_long_is_not_even_parsed(void **state)
{
	char *text = filled("", CATALOG_FILE_SIZE_MAX + 1, "");

	assert_refused(text, "the file is longer than 4 MiB");
	free(text);
}

/* Secrets. */

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

static const char secretive[] =
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":\"static\","
	"\"access_key_id\":\"AKIA\",\"secret_access_key\":\"" SECRET "\"}},\"file\":{\"type\":"
	"\"aws-iam\",\"credentials\":{\"source\":\"static\",\"access_key_id\":\"AKIA\","
	"\"secret_access_key_file\":\"aws-main.key\"}}},\"projects\":{\"p\":{\"c\":{\"secrets\":{"
	"\"A\":\"" SECRET " and more\"}}}}}";

static char secret_file[128];

static int read_secretive(const struct catalog_system *system, const char *path, size_t max,
			  bool private, char **ret, size_t *ret_n)
{
	struct catalog_system fixture;

	fixture_system(&fixture);
	if (strcmp(path, secret_file) != 0)
		return fixture.read_file(&fixture, path, max, private, ret, ret_n);
	*ret = strdup(secretive);
	*ret_n = strlen(secretive);
	return 0;
}

static void no_freed_memory_holds_a_secret_of_the_file(void **state)
{
	struct catalog_system system;
	struct catalog *catalog;

	fixture_system(&system);
	system.read_file = read_secretive;
	snprintf(secret_file, sizeof(secret_file), "/etc/dsec/dsec.json");
	freed_watch(SECRET);
	assert_int_equal(catalog_load(&catalog, secret_file, &system, &problems), 0);
	catalog_unref(catalog);
	assert_int_equal(freed_unwiped(), 0);
	freed_watch(NULL);
}

/* jansson's text for this quotes what stands there. */
static void no_freed_memory_holds_a_secret_of_a_broken_file(void **state)
{
	static const char *const texts[] = {
		"{\"A\": \"" SECRET "\" \"" SECRET "\"}",
		"{\"A\": \"" SECRET,
		"{\"" SECRET "\": 1, \"" SECRET "\": 1}",
		"{\"A\": \"" SECRET "\\u0000\"}",
	};
	struct catalog *catalog = NULL;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		freed_watch(SECRET);
		assert_int_equal(parse(&catalog, texts[i]), -EINVAL);
		assert_int_equal(freed_unwiped(), 0);
		freed_watch(NULL);
		assert_null(strstr(problems.at[0].message, "wJalr"));
	}
}

/* The other tests rest on it. */
static void a_secret_in_freed_memory_would_be_found(void **state)
{
	char *volatile copy = strdup("a " SECRET " b");

	freed_watch(SECRET);
	free(copy);
	assert_int_equal(freed_unwiped(), 1);
	freed_watch(NULL);
}

/* The real system. */

struct folder {
	char path[64], file[96];
};

static int make_folder(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));

	if (!folder)
		return -1;
	snprintf(folder->path, sizeof(folder->path), "/tmp/dsec-catalog-XXXXXX");
	if (!mkdtemp(folder->path))
		return -1;
	snprintf(folder->file, sizeof(folder->file), "%s/dsec.json", folder->path);
	*state = folder;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *folder = *state;

	unlink(folder->file);
	rmdir(folder->path);
	free(folder);
	return 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

#define INLINE                                                                                     \
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":\"static\"," \
	"\"access_key_id\":\"AKIA\",\"secret_access_key\":\"hunter2\"}}}}"

static int load_file(struct catalog **ret, const struct folder *folder)
{
	struct catalog_system system;

	catalog_system_init(&system);
	return catalog_load(ret, folder->file, &system, &problems);
}

static void a_secret_in_a_file_that_others_may_read_is_refused(void **state)
{
	static const mode_t open_modes[] = {0640, 0604, 0610, 0644};
	const struct folder *folder = *state;
	struct catalog *catalog;

	write_file(folder->file, INLINE, 0600);
	assert_int_equal(load_file(&catalog, folder), 0);
	catalog_unref(catalog);
	for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
		assert_int_equal(chmod(folder->file, open_modes[i]), 0);
		assert_int_equal(load_file(&catalog, folder), -EINVAL);
		assert_string_equal(problems.at[0].path,
				    "integrations.aws.credentials.secret_access_key");
	}
	write_file(folder->file, "{}", 0644);
	assert_int_equal(load_file(&catalog, folder), 0);
	catalog_unref(catalog);
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
	const struct folder *folder = *state;
	struct catalog *catalog;
	struct catalog_system system;
	char text[512];

	assert_int_equal(load_file(&catalog, folder), -ENOENT);
	catalog_problem_text(&problems.at[0], "dsec.json", text, sizeof(text));
	assert_string_equal(text, "dsec.json: cannot be read: No such file or directory");
	catalog_system_init(&system);
	assert_int_equal(catalog_load(&catalog, folder->path, &system, &problems), -EISDIR);
	assert_string_equal(problems.at[0].message, "cannot be read: Is a directory");
	assert_int_equal(catalog_load(&catalog, "/dev/zero", &system, &problems), -EINVAL);
	assert_string_equal(problems.at[0].message, "cannot be read: Invalid argument");
	write_file(folder->file, "", 0600);
	assert_int_equal(truncate(folder->file, CATALOG_FILE_SIZE_MAX + 1), 0);
	assert_int_equal(load_file(&catalog, folder), -EFBIG);
	assert_string_equal(problems.at[0].message, "the file is longer than 4 MiB");
}

static void users_and_groups_are_the_systems(void **state)
{
	struct catalog_system system;
	uid_t uid = 7;
	gid_t gid = 7;

	catalog_system_init(&system);
	assert_int_equal(system.default_uid, geteuid());
	assert_int_equal(system.default_gid, getegid());
	assert_int_equal(system.user(&system, "root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(gid, 0);
	assert_int_equal(system.user(&system, "no such user", &uid, &gid), -ENOENT);
	gid = 7;
	assert_int_equal(system.group(&system, "root", &gid), 0);
	assert_int_equal(gid, 0);
	assert_int_equal(system.group(&system, "no such group", &gid), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_said_is_dopplers_or_the_contracts),
		cmocka_unit_test(what_is_said_is_what_is_read),
		cmocka_unit_test(a_user_without_a_group_brings_its_own),
		cmocka_unit_test(a_short_ttl_needs_no_fifteen_minutes),
		cmocka_unit_test(a_credentials_profile_has_its_files),
		cmocka_unit_test(a_credential_process_is_kept_as_it_stands),
		cmocka_unit_test(each_region_has_its_partitions_servers),
		cmocka_unit_test(a_name_that_is_not_there_is_not_found),
		cmocka_unit_test(a_catalog_lives_as_long_as_somebody_holds_it),
		cmocka_unit_test(whatever_shapes_a_lease_changes_its_fingerprint),
		cmocka_unit_test(what_shapes_no_lease_keeps_its_fingerprint),
		cmocka_unit_test(a_config_of_too_many_keys_is_refused),
		cmocka_unit_test(more_dynamic_secrets_than_bits_are_refused),
		cmocka_unit_test(a_value_too_long_for_secret_memory_is_refused),
		cmocka_unit_test(secret_memory_that_is_full_is_told),
		cmocka_unit_test(an_endless_policy_is_refused),
		cmocka_unit_test(a_file_too_long_is_not_even_parsed),
		cmocka_unit_test(a_secret_in_freed_memory_would_be_found),
		cmocka_unit_test(no_freed_memory_holds_a_secret_of_the_file),
		cmocka_unit_test(no_freed_memory_holds_a_secret_of_a_broken_file),
		cmocka_unit_test_setup_teardown(a_secret_in_a_file_that_others_may_read_is_refused,
						make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_says_why, make_folder,
						remove_folder),
		cmocka_unit_test(users_and_groups_are_the_systems),
	};

	return cmocka_run_group_tests(tests, fixture_open_arena, fixture_close_arena);
}
