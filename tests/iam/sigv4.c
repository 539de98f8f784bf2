#include "sigv4.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define ALGORITHM           "AWS4-HMAC-SHA256"
#define QUERY_ARGUMENTS_MAX 256

static const char mismatch[] =
	"The request signature we calculated does not match the signature you provided. Check your "
	"AWS Secret Access Key and signing method. Consult the service documentation for details.";

const char *sigv4_header(const struct sigv4_request *request, const char *name)
{
	for (size_t i = 0; i < request->n_headers; i++)
		if (!strcmp(request->headers[i].name, name))
			return request->headers[i].value;
	return NULL;
}

static void to_hex(const unsigned char *bytes, char ret[SIGV4_SIGNATURE_SIZE])
{
	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static void hash_hex(const void *bytes, size_t size, char ret[SIGV4_SIGNATURE_SIZE])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256(bytes, size, digest);
	to_hex(digest, ret);
}

static void hmac(const unsigned char *key, size_t key_size, const char *message,
		 unsigned char ret[SHA256_DIGEST_LENGTH])
{
	HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)message, strlen(message), ret,
	     NULL);
}

/* One "Name=value" of the Authorization header, up to a comma or the end. */
static bool field(const char *authorization, const char *name, char *ret, size_t size)
{
	_cleanup_free_ char *prefix = must_printf("%s=", name);
	const char *at = strstr(authorization, prefix);

	if (!at)
		return false;
	at += strlen(prefix);

	size_t n = strcspn(at, ", ");

	if (n == 0 || n >= size)
		return false;
	memcpy(ret, at, n);
	ret[n] = '\0';
	return true;
}

/* KEYID/YYYYMMDD/REGION/SERVICE/aws4_request */
static bool parse_scope(char *credential, struct sigv4 *ret)
{
	char *parts[] = {ret->key_id, ret->date, ret->region, ret->service}, *at = credential;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char *part = strsep(&at, "/");

		if (!at || strlen(part) >= SIGV4_FIELD_MAX)
			return false;
		memcpy(parts[i], part, strlen(part) + 1);
	}
	return !strcmp(at, "aws4_request");
}

enum sigv4_verdict sigv4_parse(const struct sigv4_request *request, struct sigv4 *ret, char *reason)
{
	const char *authorization = sigv4_header(request, "authorization");
	const char *date = sigv4_header(request, "x-amz-date");
	char credential[5 * SIGV4_FIELD_MAX];

	*ret = (struct sigv4){0};
	if (!authorization) {
		snprintf(reason, SIGV4_REASON_MAX, "Request is missing Authentication Token");
		return SIGV4_MISSING;
	}
	if (strncmp(authorization, ALGORITHM " ", sizeof(ALGORITHM)) != 0) {
		snprintf(reason, SIGV4_REASON_MAX,
			 "Unsupported algorithm in the Authorization "
			 "header; " ALGORITHM " is required.");
		return SIGV4_INCOMPLETE;
	}

	const char *lacks =
		!field(authorization, "Credential", credential, sizeof(credential)) ? "Credential"
		: !field(authorization, "SignedHeaders", ret->signed_headers,
			 sizeof(ret->signed_headers))
			? "SignedHeaders"
		: !field(authorization, "Signature", ret->signature, sizeof(ret->signature))
			? "Signature"
			: NULL;
	if (lacks) {
		snprintf(reason, SIGV4_REASON_MAX, "Authorization header requires '%s' parameter.",
			 lacks);
		return SIGV4_INCOMPLETE;
	}
	if (!parse_scope(credential, ret)) {
		snprintf(reason, SIGV4_REASON_MAX,
			 "Credential must have exactly 5 slash-delimited elements, e.g. "
			 "keyid/date/region/service/term.");
		return SIGV4_INCOMPLETE;
	}
	if (!date || strlen(date) >= sizeof(ret->amz_date)) {
		snprintf(reason, SIGV4_REASON_MAX,
			 "Authorization header requires existence of either a 'X-Amz-Date' or a "
			 "'Date' header.");
		return SIGV4_INCOMPLETE;
	}
	memcpy(ret->amz_date, date, strlen(date) + 1);
	return SIGV4_OK;
}

/* Each byte of the path is encoded once more than it came, as every service but S3 wants it. */
static void add_canonical_path(struct text *to, const char *target)
{
	size_t n = strcspn(target, "?");

	if (n == 0)
		text_add(to, "/");
	text_add_encoded(to, target, n, true);
}

static char *canonical_argument(const char *bytes, size_t size)
{
	_cleanup_text_ struct text decoded = {0};
	struct text ret = {0};
	const char *equals = memchr(bytes, '=', size);
	size_t name_size = equals ? (size_t)(equals - bytes) : size;

	text_add_decoded(&decoded, bytes, name_size, false);
	text_add_encoded(&ret, text_string(&decoded), decoded.size, false);
	text_clear(&decoded);
	text_add(&ret, "=");
	if (equals)
		text_add_decoded(&decoded, equals + 1, size - name_size - 1, false);
	text_add_encoded(&ret, text_string(&decoded), decoded.size, false);
	return text_take(&ret);
}

/* By name, then by value: '=' sorts above some characters that names may have, so it cannot be
 * part of the comparison. */
static int compare_arguments(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t nx = strcspn(x, "="), ny = strcspn(y, "=");
	int order = strncmp(x, y, nx < ny ? nx : ny);

	return order ? order : nx != ny ? (nx < ny ? -1 : 1) : strcmp(x, y);
}

static void add_canonical_query(struct text *to, const char *target)
{
	const char *at = strchr(target, '?');
	char *arguments[QUERY_ARGUMENTS_MAX];
	size_t n = 0;

	for (at = at ? at + 1 : ""; *at && n < QUERY_ARGUMENTS_MAX;) {
		size_t size = strcspn(at, "&");

		if (size > 0)
			arguments[n++] = canonical_argument(at, size);
		at += size + (at[size] == '&');
	}
	qsort(arguments, n, sizeof(arguments[0]), compare_arguments);
	for (size_t i = 0; i < n; i++) {
		text_add(to, i > 0 ? "&" : "");
		text_add(to, arguments[i]);
		free(arguments[i]);
	}
}

/* Trimmed, and each run of spaces made one. */
static void add_canonical_value(struct text *to, const char *value)
{
	bool pending = false, any = false;

	for (; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			pending = any;
			continue;
		}
		if (pending)
			text_add(to, " ");
		text_add_bytes(to, value, 1);
		pending = false;
		any = true;
	}
}

static void add_canonical_header(struct text *to, const struct sigv4_request *request,
				 const char *name)
{
	bool first = true;

	text_printf(to, "%s:", name);
	for (size_t i = 0; i < request->n_headers; i++) {
		if (strcmp(request->headers[i].name, name) != 0)
			continue;
		text_add(to, first ? "" : ",");
		add_canonical_value(to, request->headers[i].value);
		first = false;
	}
	text_add(to, "\n");
}

static void canonical_request_hash(const struct sigv4_request *request, const struct sigv4 *claim,
				   char ret[SIGV4_SIGNATURE_SIZE])
{
	_cleanup_text_ struct text canonical = {0};
	_cleanup_free_ char *names = must_strdup(claim->signed_headers);
	char body_hash[SIGV4_SIGNATURE_SIZE], *at = names;

	text_printf(&canonical, "%s\n", request->method);
	add_canonical_path(&canonical, request->target);
	text_add(&canonical, "\n");
	add_canonical_query(&canonical, request->target);
	text_add(&canonical, "\n");
	for (char *name = strsep(&at, ";"); name; name = strsep(&at, ";"))
		add_canonical_header(&canonical, request, name);
	hash_hex(request->body, request->body_size, body_hash);
	text_printf(&canonical, "\n%s\n%s", claim->signed_headers, body_hash);
	hash_hex(canonical.data, canonical.size, ret);
}

void sigv4_sign(const struct sigv4_request *request, const struct sigv4 *claim, const char *secret,
		char ret_signature[SIGV4_SIGNATURE_SIZE])
{
	char request_hash[SIGV4_SIGNATURE_SIZE];
	unsigned char key[SHA256_DIGEST_LENGTH];
	const char *const steps[] = {claim->region, claim->service, "aws4_request"};
	_cleanup_free_ char *first_key = must_printf("AWS4%s", secret);

	canonical_request_hash(request, claim, request_hash);

	_cleanup_free_ char *string_to_sign =
		must_printf(ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", claim->amz_date,
			    claim->date, claim->region, claim->service, request_hash);

	hmac((const unsigned char *)first_key, strlen(first_key), claim->date, key);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		hmac(key, sizeof(key), steps[i], key);
	hmac(key, sizeof(key), string_to_sign, key);
	to_hex(key, ret_signature);
}

static bool is_signed(const struct sigv4 *claim, const char *name)
{
	_cleanup_free_ char *names = must_printf(";%s;", claim->signed_headers);
	_cleanup_free_ char *wanted = must_printf(";%s;", name);

	return strstr(names, wanted) != NULL;
}

/* Host always; of what is there, Content-Type and every X-Amz- header: so says AWS's description,
 * and RADOS gateways insist on it. */
static const char *unsigned_header(const struct sigv4_request *request, const struct sigv4 *claim)
{
	if (!is_signed(claim, "host"))
		return "host";
	for (size_t i = 0; i < request->n_headers; i++) {
		const char *name = request->headers[i].name;

		if ((!strcmp(name, "content-type") || !strncmp(name, "x-amz-", 6)) &&
		    !is_signed(claim, name))
			return name;
	}
	return NULL;
}

static void format_date(char ret[SIGV4_FIELD_MAX], int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	strftime(ret, SIGV4_FIELD_MAX, "%Y%m%dT%H%M%SZ", gmtime_r(&seconds, &tm));
}

static bool check_clock(const struct sigv4 *claim, int64_t now_ms, char *reason)
{
	struct tm tm = {0};
	const char *end = strptime(claim->amz_date, "%Y%m%dT%H%M%SZ", &tm);
	char now[SIGV4_FIELD_MAX], edge[SIGV4_FIELD_MAX];

	if (!end || *end) {
		snprintf(reason, SIGV4_REASON_MAX,
			 "Date must be in ISO-8601 'basic format'. Got '%s'.", claim->amz_date);
		return false;
	}

	int64_t signed_ms = (int64_t)timegm(&tm) * 1000;
	bool early = signed_ms < now_ms - SIGV4_CLOCK_TOLERANCE_MS;

	if (!early && signed_ms <= now_ms + SIGV4_CLOCK_TOLERANCE_MS)
		return true;
	format_date(now, now_ms);
	format_date(edge, now_ms + (early ? -SIGV4_CLOCK_TOLERANCE_MS : SIGV4_CLOCK_TOLERANCE_MS));
	snprintf(reason, SIGV4_REASON_MAX,
		 early ? "Signature expired: %s is now earlier than %s (%s - 5 min.)"
		       : "Signature not yet current: %s is still later than %s (%s + 5 min.)",
		 claim->amz_date, edge, now);
	return false;
}

static bool check_scope(const struct sigv4 *claim, const char *region, const char *service,
			char *reason)
{
	if (strncmp(claim->date, claim->amz_date, 8) != 0 || strlen(claim->date) != 8)
		snprintf(reason, SIGV4_REASON_MAX,
			 "Date in Credential scope does not match YYYYMMDD from ISO-8601 version "
			 "of date from HTTP: '%s' != '%.8s', from '%s'.",
			 claim->date, claim->amz_date, claim->amz_date);
	else if (strcmp(claim->service, service) != 0)
		snprintf(reason, SIGV4_REASON_MAX,
			 "Credential should be scoped to correct service: '%s'. ", service);
	else if (strcmp(claim->region, region) != 0)
		snprintf(reason, SIGV4_REASON_MAX,
			 "Credential should be scoped to a valid region. ");
	else
		return true;
	return false;
}

enum sigv4_verdict sigv4_verify(const struct sigv4_request *request, const struct sigv4 *claim,
				const char *secret, const char *region, const char *service,
				int64_t now_ms, char *reason)
{
	char right[SIGV4_SIGNATURE_SIZE];
	const char *lacks = unsigned_header(request, claim);
	const char *body_hash = sigv4_header(request, "x-amz-content-sha256");

	if (lacks) {
		snprintf(reason, SIGV4_REASON_MAX, "'%s' must be a 'SignedHeader'.", lacks);
		return SIGV4_MISMATCH;
	}
	if (!check_clock(claim, now_ms, reason) || !check_scope(claim, region, service, reason))
		return SIGV4_MISMATCH;

	hash_hex(request->body, request->body_size, right);

	bool body_ok = !body_hash || !strcmp(body_hash, right);

	sigv4_sign(request, claim, secret, right);
	if (body_ok && strlen(claim->signature) == sizeof(right) - 1 &&
	    !CRYPTO_memcmp(claim->signature, right, sizeof(right) - 1))
		return SIGV4_OK;
	snprintf(reason, SIGV4_REASON_MAX, "%s", mismatch);
	return SIGV4_MISMATCH;
}
