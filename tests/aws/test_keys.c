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

#include "aws/aws.h"
#include "aws/keys.h"
#include "aws/keys_file.h"
#include "aws/words.h"
#include "lease/alloc.h"
#include "lease/secret_arena.h"

#define ID     "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

static char folder[] = "/tmp/dsec-keys-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[4][128];
	static unsigned next;
	char *to = path[next++ % 4];

	snprintf(to, sizeof(path[0]), "%s/%s", folder, name);
	return to;
}

static const char *write_file(const char *name, const char *text, size_t n)
{
	const char *path = in_folder(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, n, file), n);
	fclose(file);
	return path;
}

static const char *write_text(const char *name, const char *text)
{
	return write_file(name, text, strlen(text));
}

static void assert_keys(const struct keys *keys, const char *id, const char *secret,
			const char *token)
{
	_cleanup_keys_ struct keys *expected = NULL;

	assert_int_equal(keys_new_from_text(&expected, id, secret, token, 0, NULL), 0);
	assert_true(keys_equal(keys, expected));
}

static struct keys *keys_from_file(const char *path)
{
	struct credentials from = {.access_key_id = ID, .secret_access_key_file = path};
	struct keys *keys = NULL;

	return keys_from_static(&keys, &from, NULL) == 0 ? keys : NULL;
}

static void an_editors_line_end_is_no_part_of_a_key(void **state)
{
	static const char *const texts[] = {SECRET, SECRET "\n", SECRET "\r\n", SECRET " \n\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		_cleanup_keys_ struct keys *keys = keys_from_file(write_text("key", texts[i]));

		assert_non_null(keys);
		assert_keys(keys, ID, SECRET, NULL);
	}
}

static void a_file_that_holds_no_key_is_refused(void **state)
{
	static const char *const texts[] = {"", "\n", "two words", "two\nlines", "\x80\x81"};
	char *big = alloc_zeroed(KEYS_FILE_MAX + 2, 1);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_null(keys_from_file(write_text("key", texts[i])));
	assert_null(keys_from_file(write_file("key", "a\0b", 3)));
	assert_null(keys_from_file(in_folder("none")));
	assert_null(keys_from_file(folder));
	memset(big, 'k', KEYS_FILE_MAX + 1);
	assert_null(keys_from_file(write_text("key", big)));
	big[KEYS_SECRET_MAX + 1] = '\0';
	assert_null(keys_from_file(write_text("key", big)));
	free(big);
}

static void a_fifo_stops_nobody(void **state)
{
	const char *path = in_folder("fifo");

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(keys_from_file(path));
}

static void a_refusal_names_the_file_and_not_what_is_in_it(void **state)
{
	struct credentials from = {.access_key_id = ID,
				   .secret_access_key_file = write_text("key", "my secret words")};
	struct keys *keys = NULL;
	struct dsec_error err;

	assert_true(keys_from_static(&keys, &from, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_CREDENTIALS);
	assert_non_null(strstr(err.message, "/key"));
	assert_null(strstr(err.message, "words"));
}

static void a_line_end_cannot_get_into_a_header(void **state)
{
	struct keys *keys = NULL;

	assert_true(keys_new_from_text(&keys, "AKIA\r\nX: y", SECRET, NULL, 0, NULL) < 0);
	assert_true(keys_new_from_text(&keys, ID, "s\nX: y", NULL, 0, NULL) < 0);
	assert_true(keys_new_from_text(&keys, ID, SECRET, "t\r\nX: y", 0, NULL) < 0);
	assert_true(keys_new_from_text(&keys, "", SECRET, NULL, 0, NULL) < 0);
}

static void the_environment_needs_both_parts(void **state)
{
	struct keys *keys = NULL;
	struct dsec_error err;

	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
	setenv("AWS_ACCESS_KEY_ID", ID, 1);
	assert_true(keys_from_environment(&keys, &err) < 0);
	assert_non_null(strstr(err.message, "AWS_SECRET_ACCESS_KEY"));
	setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
	assert_int_equal(keys_from_environment(&keys, NULL), 0);
	assert_keys(keys, ID, SECRET, NULL);
	keys_unref(keys);
	setenv("AWS_SESSION_TOKEN", "token", 1);
	assert_int_equal(keys_from_environment(&keys, NULL), 0);
	assert_keys(keys, ID, SECRET, "token");
	keys_unref(keys);
	unsetenv("AWS_ACCESS_KEY_ID");
	assert_true(keys_from_environment(&keys, &err) < 0);
}

/* Reads a profile from the two texts. */
static int read_profile(const char *credentials, const char *config, const char *profile,
			struct keys **ret, char **ret_command, struct dsec_error *err)
{
	struct credentials from = {
		.source = CREDENTIALS_PROFILE,
		.profile = profile,
		.shared_credentials_file =
			credentials ? write_text("credentials", credentials) : in_folder("none"),
		.config_file = config ? write_text("config", config) : in_folder("none"),
	};

	return keys_from_profile(ret, ret_command, &from, err);
}

static void assert_profile(const char *credentials, const char *config, const char *profile,
			   const char *token)
{
	_cleanup_keys_ struct keys *keys = NULL;
	_cleanup_free_ char *command = NULL;

	assert_int_equal(read_profile(credentials, config, profile, &keys, &command, NULL), 0);
	assert_null(command);
	assert_keys(keys, ID, SECRET, token);
}

#define KEYS_INI "aws_access_key_id=" ID "\naws_secret_access_key=" SECRET "\n"
#define OTHER    "aws_access_key_id=OTHER\naws_secret_access_key=OTHER\n"

static void a_profile_is_read_as_the_other_tools_read_it(void **state)
{
	assert_profile("[default]\n" KEYS_INI, NULL, "default", NULL);
	assert_profile("[a]\n" OTHER "[b]\n" KEYS_INI "[c]\n" OTHER, NULL, "b", NULL);
	assert_profile("[ b ]\r\n aws_access_key_id = nested\n# aws_access_key_id = x\n;"
		       "aws_access_key_id = x\naws_access_key_id \t=  " ID
		       " \r\naws_secret_access_key = " SECRET "\n\naws_session_token=to=ken\n",
		       NULL, "b", "to=ken");
	assert_profile(NULL, "[default]\n" KEYS_INI, "default", NULL);
	assert_profile(NULL, "[profile b]\n" KEYS_INI, "b", NULL);
	assert_profile("[b]\n" KEYS_INI, "[profile b]\n" OTHER, "b", NULL);
	/* In the config file alone, "profile" belongs to the name. */
	assert_profile("[x]\n" OTHER, "[b]\n" OTHER "[profile b]\n" KEYS_INI, "b", NULL);
	assert_profile("[b]\n" KEYS_INI, "[profile b]\ncredential_process = x\n", "b", NULL);
	assert_profile("[b]\n" KEYS_INI "[b", NULL, "b", NULL);
}

static void a_profiles_process_is_told(void **state)
{
	static const char *const files[][2] = {
		{NULL, "[profile b]\nregion = x\ncredential_process = /bin/x \"y z\"\n"},
		{"[b]\ncredential_process=/bin/x \"y z\"\n", NULL},
		{NULL, "[profile b]\n" OTHER "credential_process = /bin/x \"y z\"\n"},
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		_cleanup_keys_ struct keys *keys = NULL;
		_cleanup_free_ char *command = NULL;

		assert_int_equal(read_profile(files[i][0], files[i][1], "b", &keys, &command, NULL),
				 0);
		assert_null(keys);
		assert_string_equal(command, "/bin/x \"y z\"");
	}
}

static void a_profile_that_has_no_keys_says_so(void **state)
{
	struct keys *keys = NULL;
	char *command = NULL;
	struct dsec_error err;

	assert_true(read_profile("[a]\n" KEYS_INI, NULL, "b", &keys, &command, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_CREDENTIALS);
	assert_non_null(strstr(err.message, "profile b"));
	assert_non_null(strstr(err.message, "aws_access_key_id"));
	assert_true(read_profile("[b]\naws_access_key_id=" ID "\n", NULL, "b", &keys, &command,
				 &err) < 0);
	assert_non_null(strstr(err.message, "aws_secret_access_key"));
}

static int64_t expiration_of(const char *text)
{
	_cleanup_keys_ struct keys *keys = NULL;
	char json[512];

	snprintf(json, sizeof(json),
		 "{\"Version\": 1, \"AccessKeyId\": \"" ID "\", \"SecretAccessKey\": \"" SECRET
		 "\", \"SessionToken\": \"t\", \"Expiration\": \"%s\"}",
		 text);
	if (keys_from_json(&keys, json, strlen(json), NULL) < 0)
		return -1;
	assert_keys(keys, ID, SECRET, "t");
	return keys->expires_ms;
}

static void an_expiration_is_read_in_every_common_form(void **state)
{
	assert_int_equal(expiration_of("2022-02-16T08:26:40Z"), 1645000000000);
	assert_int_equal(expiration_of("2022-02-16T08:26:40.123456Z"), 1645000000000);
	assert_int_equal(expiration_of("2022-02-16T08:26:40+00:00"), 1645000000000);
	assert_int_equal(expiration_of("2022-02-16T09:26:40+01:00"), 1645000000000);
	assert_int_equal(expiration_of("2022-02-16T08:26:40"), -1);
	assert_int_equal(expiration_of("tomorrow"), -1);
	assert_int_equal(expiration_of("2022-02-16T08:26:40Z and more"), -1);
}

static void output_that_is_none_is_refused_without_being_repeated(void **state)
{
	static const char *const outputs[] = {
		"",
		"password: hunter2",
		"[]",
		"{}",
		"{\"Version\": 2, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"hunter2\"}",
		"{\"Version\": 1, \"AccessKeyId\": \"a\"}",
		"{\"Version\": 1, \"AccessKeyId\": 5, \"SecretAccessKey\": \"hunter2\"}",
		"{\"Version\": 1, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"hunter2\"",
		"{\"Version\": 1, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"hunter 2\"}",
	};

	for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
		struct keys *keys = NULL;
		struct dsec_error err;

		assert_true(keys_from_json(&keys, outputs[i], strlen(outputs[i]), &err) < 0);
		assert_int_equal(err.kind, DSEC_ERROR_CREDENTIALS);
		assert_null(strstr(err.message, "hunter"));
	}
}

static void a_secret_is_found_in_a_text(void **state)
{
	_cleanup_keys_ struct keys *keys = NULL;

	assert_int_equal(keys_new_from_text(&keys, ID, SECRET, "token", 0, NULL), 0);
	assert_true(keys_appear_in(keys, "x" SECRET "y"));
	assert_true(keys_appear_in(keys, "a token"));
	assert_false(keys_appear_in(keys, ID));
}

static void a_command_is_split_without_a_shell(void **state)
{
	static const struct {
		const char *line, *words[5];
	} known[] = {
		{"a", {"a"}},
		{"  /bin/a\tb  c ", {"/bin/a", "b", "c"}},
		{"a 'b c' \"d e\"f", {"a", "b c", "d ef"}},
		{"a '' \"\"", {"a", "", ""}},
		{"a\\ b \"c\\\"\\\\\\d\" 'e\\f'", {"a b", "c\"\\\\d", "e\\f"}},
		{"a $HOME `id` ;|&", {"a", "$HOME", "`id`", ";|&"}},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct words words;
		size_t n = 0;

		assert_int_equal(words_split(&words, known[i].line), 0);
		for (; known[i].words[n]; n++)
			assert_string_equal(words.word[n], known[i].words[n]);
		assert_null(words.word[n]);
		words_finish(&words);
	}
}

static void a_command_that_makes_no_sense_is_refused(void **state)
{
	static const char *const lines[] = {"", "  ", "a 'b", "a \"b", "a \"b\\\"", "a \\"};
	char many[2 * (WORDS_MAX + 1) + 1] = "";
	struct words words;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_true(words_split(&words, lines[i]) < 0);
	for (size_t i = 0; i <= WORDS_MAX; i++)
		memcpy(many + 2 * i, "a ", 3);
	assert_true(words_split(&words, many) < 0);
	many[sizeof(many) - 3] = '\0';
	assert_int_equal(words_split(&words, many), 0);
	words_finish(&words);
}

static int set_up(void **state)
{
	return aws_global_init(NULL) < 0 || secret_arena_init(1 << 20, NULL) < 0 ||
	       !mkdtemp(folder);
}

static int tear_down(void **state)
{
	static const char *const names[] = {"key", "fifo", "credentials", "config"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(names[i]));
	secret_arena_finish();
	aws_global_finish();
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_editors_line_end_is_no_part_of_a_key),
		cmocka_unit_test(a_file_that_holds_no_key_is_refused),
		cmocka_unit_test(a_fifo_stops_nobody),
		cmocka_unit_test(a_refusal_names_the_file_and_not_what_is_in_it),
		cmocka_unit_test(a_line_end_cannot_get_into_a_header),
		cmocka_unit_test(the_environment_needs_both_parts),
		cmocka_unit_test(a_profile_is_read_as_the_other_tools_read_it),
		cmocka_unit_test(a_profiles_process_is_told),
		cmocka_unit_test(a_profile_that_has_no_keys_says_so),
		cmocka_unit_test(an_expiration_is_read_in_every_common_form),
		cmocka_unit_test(output_that_is_none_is_refused_without_being_repeated),
		cmocka_unit_test(a_secret_is_found_in_a_text),
		cmocka_unit_test(a_command_is_split_without_a_shell),
		cmocka_unit_test(a_command_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
