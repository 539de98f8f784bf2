#include "aws/keys.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/keys_file.h"
#include "aws/wipe.h"
#include "lease/alloc.h"

/* Letters, digits and marks: nothing that could end a header or a field of one. */
static bool is_plain(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n > 0;
}

static bool secret_is_plain(const struct secret *secret, size_t max)
{
	size_t n = secret_size(secret);
	_cleanup_wipe_ char *bytes = NULL;

	if (n > max)
		return false;
	bytes = alloc_zeroed(n + 1, 1);
	secret_copy(secret, 0, bytes, n);
	return is_plain(bytes, n);
}

int keys_new(struct keys **ret, const char *id, struct secret *secret, struct secret *token,
	     int64_t expires_ms, struct dsec_error *err)
{
	struct keys *keys;

	if (strlen(id) > KEYS_ID_MAX || !is_plain(id, strlen(id)))
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the access key id is empty, too long or not plain ASCII");
	if (!secret_is_plain(secret, KEYS_SECRET_MAX))
		return dsec_error_set(
			err, DSEC_ERROR_CREDENTIALS,
			"the secret access key is empty, too long or not plain ASCII");
	if (token && !secret_is_plain(token, KEYS_TOKEN_MAX))
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the session token is empty, too long or not plain ASCII");
	keys = alloc_zeroed(1, sizeof(*keys));
	keys->refs = 1;
	memcpy(keys->id, id, strlen(id) + 1);
	keys->secret = secret_ref(secret);
	keys->token = token ? secret_ref(token) : NULL;
	keys->expires_ms = expires_ms;
	*ret = keys;
	return 0;
}

int keys_new_from_text(struct keys **ret, const char *id, const char *secret, const char *token,
		       int64_t expires_ms, struct dsec_error *err)
{
	_cleanup_secret_ struct secret *secret_part = NULL;
	_cleanup_secret_ struct secret *token_part = NULL;
	int r = secret_new(&secret_part, secret, strlen(secret), err);

	if (r == 0 && token && *token)
		r = secret_new(&token_part, token, strlen(token), err);
	if (r < 0)
		return r;
	return keys_new(ret, id, secret_part, token_part, expires_ms, err);
}

struct keys *keys_ref(struct keys *keys)
{
	keys->refs++;
	return keys;
}

struct keys *keys_unref(struct keys *keys)
{
	if (!keys || --keys->refs > 0)
		return NULL;
	secret_unref(keys->secret);
	secret_unref(keys->token);
	free(keys);
	return NULL;
}

/* A terminated copy that is wiped when it is freed with wipe_free. */
static char *copy_of(const struct secret *secret)
{
	size_t n = secret_size(secret);
	char *copy = alloc_zeroed(n + 1, 1);

	secret_copy(secret, 0, copy, n);
	return copy;
}

bool keys_secret_equal(const struct secret *a, const struct secret *b)
{
	_cleanup_wipe_ char *copy_a = NULL;
	_cleanup_wipe_ char *copy_b = NULL;

	if (!a || !b || secret_size(a) != secret_size(b))
		return a == b;
	copy_a = copy_of(a);
	copy_b = copy_of(b);
	return memcmp(copy_a, copy_b, secret_size(a)) == 0;
}

bool keys_equal(const struct keys *a, const struct keys *b)
{
	return strcmp(a->id, b->id) == 0 && keys_secret_equal(a->secret, b->secret) &&
	       keys_secret_equal(a->token, b->token);
}

static bool secret_appears_in(const struct secret *secret, const char *text)
{
	_cleanup_wipe_ char *copy = copy_of(secret);

	return strstr(text, copy) != NULL;
}

bool keys_appear_in(const struct keys *keys, const char *text)
{
	return secret_appears_in(keys->secret, text) ||
	       (keys->token && secret_appears_in(keys->token, text));
}

/* The key's file is what "aws iam create-access-key" printed, or an editor saved: a line end is no
 * part of it. */
static void trim_end(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && strchr(" \t\r\n", text[n - 1]))
		text[--n] = '\0';
}

int keys_from_static(struct keys **ret, const struct credentials *from, struct dsec_error *err)
{
	_cleanup_wipe_ char *text = NULL;
	_cleanup_secret_ struct secret *secret = NULL;
	int r;

	if (from->secret_access_key)
		return keys_new(ret, from->access_key_id, from->secret_access_key,
				from->session_token, 0, err);
	r = keys_file_read(&text, from->secret_access_key_file, err);
	if (r < 0)
		return r;
	trim_end(text);
	r = secret_new(&secret, text, strlen(text), err);
	if (r == 0)
		r = keys_new(ret, from->access_key_id, secret, from->session_token, 0, err);
	if (r < 0)
		dsec_error_wrap(err, "%s", from->secret_access_key_file);
	return r;
}

int keys_from_environment(struct keys **ret, struct dsec_error *err)
{
	const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
	int r;

	if (!id || !secret)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "%s is not set in the environment of the daemon",
				      id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	r = keys_new_from_text(ret, id, secret, getenv("AWS_SESSION_TOKEN"), 0, err);
	if (r < 0)
		dsec_error_wrap(err, "from the environment");
	return r;
}

/* "2026-11-22T20:40:50Z", with or without a fraction, or with an offset. 0 or -EINVAL. */
static int read_expiration(const char *text, int64_t *ret_ms)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t seconds;

	if (!rest)
		return -EINVAL;
	seconds = timegm(&tm);
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (strcmp(rest, "Z") != 0) {
		rest = strptime(rest, "%z", &tm);
		if (!rest || *rest)
			return -EINVAL;
		seconds -= tm.tm_gmtoff;
	}
	*ret_ms = seconds * 1000;
	return 0;
}

static int bad_output(struct dsec_error *err, const char *what)
{
	return dsec_error_set(err, DSEC_ERROR_CREDENTIALS, "the credential_process printed %s",
			      what);
}

static int read_output(struct keys **ret, const json_t *root, struct dsec_error *err)
{
	const char *id = json_string_value(json_object_get(root, "AccessKeyId"));
	const char *secret = json_string_value(json_object_get(root, "SecretAccessKey"));
	const char *token = json_string_value(json_object_get(root, "SessionToken"));
	const char *expiration = json_string_value(json_object_get(root, "Expiration"));
	int64_t expires_ms = 0;

	if (json_integer_value(json_object_get(root, "Version")) != 1)
		return bad_output(err, "no object of \"Version\": 1");
	if (!id || !secret)
		return bad_output(err, "no AccessKeyId or no SecretAccessKey");
	if (expiration && read_expiration(expiration, &expires_ms) < 0)
		return bad_output(err, "an Expiration that is no ISO 8601 time");
	return keys_new_from_text(ret, id, secret, token, expires_ms, err);
}

int keys_from_json(struct keys **ret, const char *json, size_t n, struct dsec_error *err)
{
	json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
	int r = root ? read_output(ret, root, err) : bad_output(err, "no JSON");

	json_decref(root); /* its strings are wiped by its allocator: aws_global_init */
	return r;
}
