#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/download.h"
#include "tests/lease/freed.h"

#define ARENA_SIZE (8ul * 1024 * 1024)

static int open_arena(void **state)
{
	return secret_arena_init(ARENA_SIZE, NULL);
}

static int close_arena(void **state)
{
	secret_arena_finish();
	return 0;
}

static struct secret *secret(const char *text)
{
	struct secret *made;

	assert_int_equal(secret_new(&made, text, strlen(text), NULL), 0);
	return made;
}

/* A config of static secrets, "KEY", "value", …, NULL. */
struct fixture {
	struct static_secret statics[16];
	struct dynamic_secret dynamics[1];
	struct config config;
};

static void fixture_init(struct fixture *fixture, const char *const *pairs)
{
	*fixture = (struct fixture){.config = {.project = "p", .name = "c", .environment = "e"}};
	for (; *pairs; pairs += 2)
		fixture->statics[fixture->config.n_statics++] =
			(struct static_secret){.key = pairs[0], .value = secret(pairs[1])};
	fixture->config.statics = fixture->statics;
	fixture->config.dynamics = fixture->dynamics;
}

static void fixture_finish(struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->config.n_statics; i++)
		secret_unref(fixture->statics[i].value);
}

static struct lease a_lease(struct secret *secret_access_key)
{
	return (struct lease){
		.id = "969eb8c9-f186-475b-8c32-3556de0aef21",
		.user = "Doppler-Dynamic-yR9Y8hSHAzTwt",
		.arn = "arn:aws:iam::360000000000:user/doppler/Doppler-Dynamic-yR9Y8hSHAzTwt",
		.policy_name = "doppler-policy-IsIklv03vqi12",
		.access_key_id = "AKIAIOSFODNN7EXAMPLE",
		.secret_access_key = secret_access_key,
		.expires_ms = 1644944694782,
	};
}

static void assert_text(const struct download *download, const char *expected)
{
	if (download->n != strlen(expected) || memcmp(download->bytes, expected, download->n) != 0)
		fail_msg("%.*s\nis not\n%s", (int)download->n, download->bytes, expected);
}

/* The fixed keys sort between C and E; so do these two halves around them. */
static void assert_renders(const char *const *pairs, enum download_format format,
			   const char *expected)
{
	struct fixture fixture;
	struct download download = {0};

	fixture_init(&fixture, pairs);
	assert_int_equal(download_render(&download, &fixture.config, NULL, format), 0);
	assert_text(&download, expected);
	download_finish(&download);
	fixture_finish(&fixture);
}

static const char *const examples[] = {
	"B", "c:\\new", "D", "$HOME", "N", "l1\nl2", "Q", "say \"hi\"", NULL,
};

static void json_is_dopplers(void **state)
{
	assert_renders(examples, FORMAT_JSON,
		       "{\"B\":\"c:\\\\new\",\"D\":\"$HOME\",\"DOPPLER_CONFIG\":\"c\","
		       "\"DOPPLER_ENVIRONMENT\":\"e\",\"DOPPLER_PROJECT\":\"p\","
		       "\"N\":\"l1\\nl2\",\"Q\":\"say \\\"hi\\\"\"}");
}

static void env_is_dopplers(void **state)
{
	assert_renders(examples, FORMAT_ENV,
		       "B=\"c:\\\\new\"\nD=\"$HOME\"\nDOPPLER_CONFIG=\"c\"\n"
		       "DOPPLER_ENVIRONMENT=\"e\"\nDOPPLER_PROJECT=\"p\"\n"
		       "N=\"l1\nl2\"\nQ=\"say \\\"hi\\\"\"");
}

static void env_no_quotes_is_dopplers(void **state)
{
	assert_renders(examples, FORMAT_ENV_NO_QUOTES,
		       "B=c:\\new\nD=$HOME\nDOPPLER_CONFIG=c\nDOPPLER_ENVIRONMENT=e\n"
		       "DOPPLER_PROJECT=p\nN=l1\nl2\nQ=say \"hi\"");
}

static void docker_is_dopplers(void **state)
{
	assert_renders(examples, FORMAT_DOCKER,
		       "B=c:\\new\nD=$HOME\nDOPPLER_CONFIG=c\nDOPPLER_ENVIRONMENT=e\n"
		       "DOPPLER_PROJECT=p\nN=l1\\nl2\nQ=say \"hi\"");
}

static void yaml_is_of_double_quoted_scalars(void **state)
{
	assert_renders(examples, FORMAT_YAML,
		       "B: \"c:\\\\new\"\nD: \"$HOME\"\nDOPPLER_CONFIG: \"c\"\n"
		       "DOPPLER_ENVIRONMENT: \"e\"\nDOPPLER_PROJECT: \"p\"\n"
		       "N: \"l1\\nl2\"\nQ: \"say \\\"hi\\\"\"");
}

static void dotnet_json_has_dotnets_names(void **state)
{
	static const char *const pairs[] = {
		"TEST_SECRET", "1", "TEST__SECRET", "2", "_A_2B", "3", "_", "4", NULL,
	};

	assert_renders(pairs, FORMAT_DOTNET_JSON,
		       "{\"A2b\":\"3\",\"DopplerConfig\":\"c\",\"DopplerEnvironment\":\"e\","
		       "\"DopplerProject\":\"p\",\"Test:Secret\":\"2\",\"TestSecret\":\"1\","
		       "\"_\":\"4\"}");
}

static void two_keys_of_one_dotnet_name_make_no_duplicate_member(void **state)
{
	static const char *const pairs[] = {"A1", "first", "A_1", "last", NULL};

	assert_renders(pairs, FORMAT_DOTNET_JSON,
		       "{\"A1\":\"last\",\"DopplerConfig\":\"c\",\"DopplerEnvironment\":\"e\","
		       "\"DopplerProject\":\"p\"}");
}

static void a_control_character_does_not_break_json(void **state)
{
	static const char *const pairs[] = {
		"A",
		"\b\f\r\t\x01\x1b\x1f\x7f/\xc3\xa4\xe2\x80\xa8",
		NULL,
	};

	assert_renders(pairs, FORMAT_JSON,
		       "{\"A\":\"\\b\\f\\r\\t\\u0001\\u001b\\u001f\x7f/\xc3\xa4\xe2\x80\xa8\","
		       "\"DOPPLER_CONFIG\":\"c\",\"DOPPLER_ENVIRONMENT\":\"e\","
		       "\"DOPPLER_PROJECT\":\"p\"}");
}

static void a_control_character_does_not_break_yaml(void **state)
{
	static const char *const pairs[] = {
		"A",
		"\r\t\x01\x1b\x7f\xc2\x85\xc2\xa0\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf"
		"\xef\xbf\xbd\xef\xbf\xbe\xf0\x9f\x94\x91: #",
		NULL,
	};

	assert_renders(pairs, FORMAT_YAML,
		       "A: \"\\r\\t\\u0001\\u001b\\u007f\\u0085\xc2\xa0\xe2\x80\xa7\\u2028\\u2029"
		       "\\ufeff\xef\xbf\xbd\\ufffe\xf0\x9f\x94\x91: #\"\n"
		       "DOPPLER_CONFIG: \"c\"\nDOPPLER_ENVIRONMENT: \"e\"\nDOPPLER_PROJECT: \"p\"");
}

static void a_key_named_no_stays_a_string_in_yaml(void **state)
{
	static const char *const pairs[] = {"NO", "", "NOT", "x", NULL};

	assert_renders(pairs, FORMAT_YAML,
		       "DOPPLER_CONFIG: \"c\"\nDOPPLER_ENVIRONMENT: \"e\"\n"
		       "DOPPLER_PROJECT: \"p\"\n\"NO\": \"\"\nNOT: \"x\"");
}

static void a_transformer_has_dopplers_names(void **state)
{
	static const char *const names[DOWNLOAD_NAMES][2] = {
		[NAMES_UPPER_CAMEL] = {"upper-camel", "{\"A1\":\"1\",\"TestMySecret\":\"2\"}"},
		[NAMES_CAMEL] = {"camel", "{\"a1\":\"1\",\"testMySecret\":\"2\"}"},
		[NAMES_LOWER_SNAKE] = {"lower-snake", "{\"a_1\":\"1\",\"test__my_secret\":\"2\"}"},
		[NAMES_LOWER_KEBAB] = {"lower-kebab", "{\"a-1\":\"1\",\"test--my-secret\":\"2\"}"},
		[NAMES_TF_VAR] = {"tf-var",
				  "{\"TF_VAR_a_1\":\"1\",\"TF_VAR_test__my_secret\":\"2\"}"},
		[NAMES_DOTNET] = {"dotnet", "{\"A1\":\"1\",\"Test:MySecret\":\"2\"}"},
		[NAMES_DOTNET_ENV] = {"dotnet-env", "{\"A1\":\"1\",\"Test__MySecret\":\"2\"}"},
	};
	const char *const pairs[] = {"A_1", "1", "TEST__MY_SECRET", "2", NULL};

	for (int i = NAMES_PLAIN + 1; i < DOWNLOAD_NAMES; i++) {
		struct download_choice choice = {.format = FORMAT_JSON};
		struct download download = {0};
		struct fixture fixture;

		fixture_init(&fixture, pairs);
		assert_int_equal(download_names_find(names[i][0], &choice.names), 0);
		assert_int_equal(choice.names, i);
		assert_int_equal(download_render_as(&download, &fixture.config, NULL, &choice), 0);
		assert_text(&download, names[i][1]);
		download_finish(&download);
		fixture_finish(&fixture);
	}
}

static void a_choice_leases_no_more_than_it_names(void **state)
{
	static const struct {
		const char *only;
		bool dynamics;
		uint64_t needs;
		const char *json;
	} cases[] = {
		{NULL, false, 0, "{\"A\":\"1\",\"B\":\"2\"}"},
		{"B", true, 0, "{\"B\":\"2\"}"},
		{"A,AWS_USER_ARN", false, 0, "{\"A\":\"1\"}"},
		{"A,,NONE,", true, 0, "{\"A\":\"1\"}"},
		{"", true, 0, "{}"},
		{"AWS_USER_LEASE_ID,A", true, 1,
		 "{\"A\":\"1\",\"AWS_USER_LEASE_ID\":\"969eb8c9-f186-475b-8c32-3556de0aef21\"}"},
	};
	const char *const pairs[] = {"A", "1", "B", "2", NULL};
	struct secret *key = secret("key");
	const struct lease lease = a_lease(key);
	const struct lease *leases[] = {&lease};
	struct fixture fixture;

	fixture_init(&fixture, pairs);
	fixture.dynamics[0] = (struct dynamic_secret){.name = "AWS_USER"};
	fixture.config.n_dynamics = 1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct download_choice choice = {.only = cases[i].only,
						       .dynamics = cases[i].dynamics};
		struct download download = {0};
		uint64_t needs;

		assert_int_equal(download_needs(&needs, &fixture.config, &choice, NULL), 0);
		assert_int_equal(needs, cases[i].needs);
		assert_int_equal(download_render_as(&download, &fixture.config,
						    needs ? leases : NULL, &choice),
				 0);
		assert_text(&download, cases[i].json);
		download_finish(&download);
	}
	fixture_finish(&fixture);
	secret_unref(key);
}

static void a_value_cut_within_a_character_is_not_read_beyond(void **state)
{
	static const char *const pairs[] = {"A", "\xe2\x80", NULL};

	assert_renders(pairs, FORMAT_YAML,
		       "A: \"\xe2\x80\"\nDOPPLER_CONFIG: \"c\"\nDOPPLER_ENVIRONMENT: \"e\"\n"
		       "DOPPLER_PROJECT: \"p\"");
}

static void the_formats_have_dopplers_names(void **state)
{
	static const char *const names[FORMATS] = {
		"json", "env", "env-no-quotes", "docker", "yaml", "dotnet-json",
	};

	for (int format = 0; format < FORMATS; format++)
		assert_string_equal(download_format_name((enum download_format)format),
				    names[format]);
}

static void a_lease_is_dopplers_seven_keys(void **state)
{
	static const char *const none[] = {NULL};
	struct secret *key = secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
	struct lease lease = a_lease(key);
	const struct lease *const leases[] = {&lease};
	struct fixture fixture;
	struct download download = {0};

	fixture_init(&fixture, none);
	fixture.dynamics[0].name = "AWS_USER";
	fixture.config.n_dynamics = 1;
	assert_int_equal(download_render(&download, &fixture.config, leases, FORMAT_ENV_NO_QUOTES),
			 0);
	assert_text(&download,
		    "AWS_USER_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\n"
		    "AWS_USER_ARN=arn:aws:iam::360000000000:user/doppler/"
		    "Doppler-Dynamic-yR9Y8hSHAzTwt\n"
		    "AWS_USER_LEASE_EXPIRATION=2022-02-15T17:04:54.782Z\n"
		    "AWS_USER_LEASE_ID=969eb8c9-f186-475b-8c32-3556de0aef21\n"
		    "AWS_USER_POLICY_NAME=doppler-policy-IsIklv03vqi12\n"
		    "AWS_USER_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
		    "AWS_USER_USERNAME=Doppler-Dynamic-yR9Y8hSHAzTwt\n"
		    "DOPPLER_CONFIG=c\nDOPPLER_ENVIRONMENT=e\nDOPPLER_PROJECT=p");
	download_finish(&download);
	secret_unref(key);
}

static void a_value_is_raw_and_has_no_newline(void **state)
{
	static const char *const pairs[] = {"A", "say \"hi\"\\\n", NULL};
	struct fixture fixture;
	struct download_key *keys;
	struct download download = {0};
	size_t n;

	fixture_init(&fixture, pairs);
	assert_int_equal(download_keys(&keys, &n, &fixture.config, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(download_value(&download, &fixture.config, &keys[0], NULL), 0);
	assert_int_equal(download_value(&download, &fixture.config, &keys[2], NULL), 0);
	assert_text(&download, "say \"hi\"\\\ne");
	download_finish(&download);
	free(keys);
	fixture_finish(&fixture);
}

static void dopplers_own_keys_and_a_lease_win_over_a_static_secret(void **state)
{
	static const char *const pairs[] = {
		"AWS_USER_ARN", "no", "DOPPLER_CONFIG", "no", "OWN", "yes", NULL,
	};
	struct fixture fixture;
	struct download_key *keys;
	size_t n;

	fixture_init(&fixture, pairs);
	fixture.dynamics[0].name = "AWS_USER";
	fixture.config.n_dynamics = 1;
	assert_int_equal(download_keys(&keys, &n, &fixture.config, NULL), 0);
	assert_int_equal(n, 3 + PROPERTIES + 1);
	for (size_t i = 0; i < n; i++) {
		assert_true(i == 0 || strcmp(keys[i - 1].name, keys[i].name) < 0);
		assert_true(keys[i].kind != KEY_STATIC || strcmp(keys[i].name, "OWN") == 0);
	}
	free(keys);
	fixture_finish(&fixture);
}

static void a_lease_that_lost_its_secret_is_never_an_empty_file(void **state)
{
	struct lease lease = a_lease(NULL);
	struct download download = {0};

	assert_int_equal(download_aws_credentials(&download, &lease), -ENOMEM);
	assert_true(download.failed);
	download_finish(&download);
}

static void the_aws_files_are_what_the_sdks_parse(void **state)
{
	struct secret *key = secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
	struct lease lease = a_lease(key);
	struct download download = {0};

	assert_int_equal(download_aws_credentials(&download, &lease), 0);
	assert_text(&download,
		    "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
		    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n");
	download_finish(&download);
	assert_int_equal(download_aws_process(&download, &lease), 0);
	assert_text(&download, "{\"Version\":1,\"AccessKeyId\":\"AKIAIOSFODNN7EXAMPLE\","
			       "\"SecretAccessKey\":\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\","
			       "\"Expiration\":\"2022-02-15T17:04:54Z\"}");
	download_finish(&download);
	secret_unref(key);
}

/* The buffer moves when it is full, and is freed. */
static void no_freed_memory_holds_a_value(void **state)
{
	static char value[20001];
	static const char *const pairs[] = {"A", value, "B", value, "C", value,
					    "D", value, "E", value, "F", value,
					    "G", value, "H", value, NULL};
	struct fixture fixture;
	struct download download = {0};

	memset(value, 's', sizeof(value) - 1);
	fixture_init(&fixture, pairs);
	for (int format = 0; format < FORMATS; format++) {
		freed_watch("ssssssss");
		assert_int_equal(download_render(&download, &fixture.config, NULL,
						 (enum download_format)format),
				 0);
		download_finish(&download);
		assert_int_equal(freed_unwiped(), 0);
		freed_watch(NULL);
	}
	fixture_finish(&fixture);
}

/* Keys of two dynamic secrets can never meet as long as this holds; the catalog counts on it. */
static void no_property_is_the_end_of_another(void **state)
{
	for (int i = 0; i < PROPERTIES; i++)
		for (int j = 0; j < PROPERTIES; j++) {
			const char *a = download_property_suffix((enum download_property)i);
			const char *b = download_property_suffix((enum download_property)j);
			size_t n = strlen(a), m = strlen(b);
			assert_false(n > m && a[n - m - 1] == '_' && strcmp(a + n - m, b) == 0);
		}
}

/* More than fits the first buffer, so that it moves. */
static void a_long_download_is_whole(void **state)
{
	struct fixture fixture;
	struct download download = {0};
	char value[20001];
	const char *const pairs[] = {"A", value, "B", value, NULL};

	memset(value, '"', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	fixture_init(&fixture, pairs);
	assert_int_equal(download_render(&download, &fixture.config, NULL, FORMAT_ENV), 0);
	assert_int_equal(download.n, strlen("A=\"\"\nB=\"\"\nDOPPLER_CONFIG=\"c\"\n"
					    "DOPPLER_ENVIRONMENT=\"e\"\nDOPPLER_PROJECT=\"p\"") +
					     4 * (sizeof(value) - 1));
	assert_memory_equal(download.bytes, "A=\"\\\"\\\"", 7);
	assert_memory_equal(download.bytes + 40003, "\"\nB=\"\\\"", 7);
	download_finish(&download);
	fixture_finish(&fixture);
}

static void a_download_past_the_limit_fails_and_is_not_cut(void **state)
{
	static struct static_secret statics[80];
	static char value[SECRET_SIZE_MAX];
	struct config config = {.project = "p", .name = "c", .environment = "e"};
	struct download download = {0};
	struct secret *shared;

	memset(value, 'x', sizeof(value));
	assert_int_equal(secret_new(&shared, value, sizeof(value), NULL), 0);
	for (size_t i = 0; i < 80; i++) {
		static char keys[80][8];
		snprintf(keys[i], sizeof(keys[i]), "A%zu", i);
		statics[i] = (struct static_secret){.key = keys[i], .value = shared};
	}
	config.statics = statics;
	config.n_statics = 60;
	assert_int_equal(download_render(&download, &config, NULL, FORMAT_ENV), 0);
	download_finish(&download);
	config.n_statics = 80;
	assert_int_equal(download_render(&download, &config, NULL, FORMAT_ENV), -ENOMEM);
	assert_true(download.failed);
	download_finish(&download);
	secret_unref(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_dopplers),
		cmocka_unit_test(env_is_dopplers),
		cmocka_unit_test(env_no_quotes_is_dopplers),
		cmocka_unit_test(docker_is_dopplers),
		cmocka_unit_test(yaml_is_of_double_quoted_scalars),
		cmocka_unit_test(dotnet_json_has_dotnets_names),
		cmocka_unit_test(two_keys_of_one_dotnet_name_make_no_duplicate_member),
		cmocka_unit_test(a_control_character_does_not_break_json),
		cmocka_unit_test(a_control_character_does_not_break_yaml),
		cmocka_unit_test(a_key_named_no_stays_a_string_in_yaml),
		cmocka_unit_test(a_transformer_has_dopplers_names),
		cmocka_unit_test(a_choice_leases_no_more_than_it_names),
		cmocka_unit_test(a_value_cut_within_a_character_is_not_read_beyond),
		cmocka_unit_test(the_formats_have_dopplers_names),
		cmocka_unit_test(a_lease_is_dopplers_seven_keys),
		cmocka_unit_test(a_value_is_raw_and_has_no_newline),
		cmocka_unit_test(dopplers_own_keys_and_a_lease_win_over_a_static_secret),
		cmocka_unit_test(a_lease_that_lost_its_secret_is_never_an_empty_file),
		cmocka_unit_test(the_aws_files_are_what_the_sdks_parse),
		cmocka_unit_test(no_freed_memory_holds_a_value),
		cmocka_unit_test(no_property_is_the_end_of_another),
		cmocka_unit_test(a_long_download_is_whole),
		cmocka_unit_test(a_download_past_the_limit_fails_and_is_not_cut),
	};

	return cmocka_run_group_tests(tests, open_arena, close_arena);
}
