/*
 * fuzz_keys.c: any text as what holds an integration's credentials: AWS's shared files, the output
 * of a credential_process, and a command line.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aws/keys.h"
#include "aws/words.h"
#include "lease/secret.h"

#define ARENA_SIZE (1024ul * 1024)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int files[2];
static char paths[2][32];

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	check(secret_arena_init(ARENA_SIZE, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		files[i] = memfd_create("profile", MFD_CLOEXEC);
		check(files[i] >= 0);
		snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d", files[i]);
	}
	return 0;
}

/* What goes into headers must have nothing in it that ends one. */
static void check_plain(const struct secret *secret, size_t max)
{
	char *text = calloc(1, secret_size(secret) + 1);

	check(text && secret_size(secret) > 0 && secret_size(secret) <= max);
	secret_copy(secret, 0, text, secret_size(secret));
	for (const char *at = text; at < text + secret_size(secret); at++)
		check(*at > ' ' && *at <= '~');
	free(text);
}

static void check_keys(struct keys *keys)
{
	check(*keys->id && strlen(keys->id) <= KEYS_ID_MAX);
	check_plain(keys->secret, KEYS_SECRET_MAX);
	if (keys->token)
		check_plain(keys->token, KEYS_TOKEN_MAX);
	check(keys_equal(keys, keys));
	keys_unref(keys);
}

/* Nobody's secret, however wrong its file, is in the sentence about it. */
static void check_error(const struct dsec_error *err, const char *text)
{
	const char *secret = strstr(text, "SECRET-");

	check(*err->message);
	if (secret && strnlen(secret, 20) == 20) {
		char start[21];
		memcpy(start, secret, 20);
		start[20] = '\0';
		check(!strstr(err->message, start));
	}
}

static void words(const char *text)
{
	struct words words;
	size_t n = 0;

	if (words_split(&words, text) < 0)
		return;
	while (words.word[n])
		n++;
	check(n > 0 && n <= WORDS_MAX);
	words_finish(&words);
}

/* The parts of the text are divided by form feeds: the profile's name, and the two files. */
static void profile(char *text)
{
	char *rest = NULL, *name = strtok_r(text, "\f", &rest);
	struct credentials from = {
		.source = CREDENTIALS_PROFILE,
		.profile = name ? name : "",
		.shared_credentials_file = paths[0],
		.config_file = paths[1],
	};
	char *command = NULL;
	struct keys *keys = NULL;
	struct dsec_error err = {0};

	for (int i = 0; i < 2; i++) {
		const char *part = strtok_r(NULL, "\f", &rest);
		size_t n = part ? strlen(part) : 0;
		check(ftruncate(files[i], 0) == 0 &&
		      pwrite(files[i], part ? part : "", n, 0) == (ssize_t)n);
	}
	if (keys_from_profile(&keys, &command, &from, &err) < 0) {
		check(!keys && !command && *err.message);
		return;
	}
	check(!keys != !command);
	if (keys)
		check_keys(keys);
	if (command)
		words(command);
	free(command);
}

/* The file of a secret access key. */
static void key_file(const char *text, size_t n)
{
	struct credentials from = {
		.source = CREDENTIALS_STATIC,
		.access_key_id = (char *)"AKIAIOSFODNN7EXAMPLE",
		.secret_access_key_file = paths[0],
	};
	struct keys *keys;
	struct dsec_error err = {0};

	check(ftruncate(files[0], 0) == 0 && pwrite(files[0], text, n, 0) == (ssize_t)n);
	if (keys_from_static(&keys, &from, &err) == 0) {
		check(keys_appear_in(keys, text) && !keys_appear_in(keys, ""));
		check_keys(keys);
	} else {
		check_error(&err, text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Not by strndup(): the sanitizer wants a string there that ends. */
	char *text = malloc(size + 1);
	struct keys *keys;
	struct dsec_error err = {0};

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (keys_from_json(&keys, (const char *)data, size, &err) == 0)
		check_keys(keys);
	else
		check_error(&err, text);
	words(text);
	key_file(text, size);
	profile(text);
	free(text);
	check(secret_arena_used() == 0);
	return 0;
}
