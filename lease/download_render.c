/*
 * download_render.c: values and whole downloads as bytes, in memory as the secrets' own.
 *
 * A secret has to be escaped on its way into the text, and may lie nowhere but in the buffer, which
 * is wiped: it is copied to the free end of the buffer and escaped from there towards the front.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/clock.h"
#include "lease/download_names.h"
#include "lease/scratch.h"
#include "lease/secret.h"

#define ESCAPED_MAX     6 /* bytes that one byte of a value may become: \u001f */
#define BUFFER_SIZE_MIN 4096

/* The buffer. */

void download_finish(struct download *download)
{
	scratch_free(download->bytes, download->size);
	*download = (struct download){0};
}

/* Makes room for `more` bytes behind the n that are there. */
static bool reserve(struct download *to, size_t more)
{
	if (to->failed)
		return false;
	if (more <= to->size - to->n)
		return true;

	size_t size = to->size ? to->size : BUFFER_SIZE_MIN;
	while (size - to->n < more)
		size *= 2;
	char *bytes = scratch_new(&size);
	if (!bytes) {
		to->failed = true;
		return false;
	}
	if (to->n > 0)
		memcpy(bytes, to->bytes, to->n);
	scratch_free(to->bytes, to->size);
	to->bytes = bytes;
	to->size = size;
	return true;
}

static int result(struct download *to)
{
	if (to->n > DOWNLOAD_SIZE_MAX)
		to->failed = true;
	return to->failed ? -ENOMEM : 0;
}

/* Escapes: each writes n bytes of `from` behind the n of `to`, where there is room for n *
 * ESCAPED_MAX. `from` may lie in the same buffer, behind that room. */

typedef void escape_fn(struct download *to, const char *from, size_t n);

static void put(struct download *to, const char *text, size_t n)
{
	memcpy(to->bytes + to->n, text, n);
	to->n += n;
}

static void put_unicode(struct download *to, unsigned code)
{
	static const char hex[] = "0123456789abcdef";
	const char text[] = {
		'\\',           'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15],
		hex[code & 15],
	};

	put(to, text, sizeof(text));
}

static void escape_raw(struct download *to, const char *from, size_t n)
{
	put(to, from, n);
}

static void escape_env(struct download *to, const char *from, size_t n)
{
	for (; n > 0; from++, n--) {
		if (*from == '"' || *from == '\\')
			put(to, "\\", 1);
		put(to, from, 1);
	}
}

static void escape_docker(struct download *to, const char *from, size_t n)
{
	for (; n > 0; from++, n--) {
		if (*from == '\n')
			put(to, "\\n", 2);
		else
			put(to, from, 1);
	}
}

/* What JSON and YAML have in common; false when the byte needs nothing. */
static bool escape_common(struct download *to, char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", as[] = "\"\\bfnrt";
	const char *found = c ? strchr(from, c) : NULL;

	if (found) {
		put(to, "\\", 1);
		put(to, &as[found - from], 1);
		return true;
	}
	if ((unsigned char)c < 0x20) {
		put_unicode(to, (unsigned char)c);
		return true;
	}
	return false;
}

static void escape_json(struct download *to, const char *from, size_t n)
{
	for (; n > 0; from++, n--)
		if (!escape_common(to, *from))
			put(to, from, 1);
}

/* The characters above ASCII that YAML does not take as they are, or that YAML 1.1 takes for a line
 * break; returns their length in UTF-8, or 0. */
static size_t yaml_special(const char *from, size_t n, unsigned *ret_code)
{
	const unsigned char *text = (const unsigned char *)from;

	if (n >= 2 && text[0] == 0xc2 && text[1] < 0xa0) { /* C1, among it NEL */
		*ret_code = text[1];
		return 2;
	}
	if (n < 3 || (text[0] != 0xe2 && text[0] != 0xef))
		return 0;
	unsigned code = (text[0] & 15u) << 12 | (text[1] & 63u) << 6 | (text[2] & 63u);
	if (code != 0x2028 && code != 0x2029 && code != 0xfeff && code < 0xfffe)
		return 0;
	*ret_code = code;
	return 3;
}

static void escape_yaml(struct download *to, const char *from, size_t n)
{
	while (n > 0) {
		unsigned code;
		size_t length = yaml_special(from, n, &code);
		if (length > 0) {
			put_unicode(to, code);
		} else {
			length = 1;
			if (*from == 0x7f)
				put_unicode(to, 0x7f);
			else if (!escape_common(to, *from))
				put(to, from, 1);
		}
		from += length;
		n -= length;
	}
}

static void put_text(struct download *to, const char *text, escape_fn *escape)
{
	size_t n = strlen(text);

	if (n > 0 && reserve(to, n * ESCAPED_MAX))
		escape(to, text, n);
}

/* A lease without its secret is never handed out; an empty file would hide that it was. */
static void put_secret(struct download *to, const struct secret *secret, escape_fn *escape)
{
	if (!secret) {
		to->failed = true;
		return;
	}
	size_t n = secret_size(secret);
	if (n == 0 || !reserve(to, n * ESCAPED_MAX + n))
		return;
	char *end = to->bytes + to->n + n * ESCAPED_MAX;
	secret_copy(secret, 0, end, n);
	escape(to, end, n);
}

/* Values. */

static void put_property(struct download *to, const struct lease *lease,
			 enum download_property property, escape_fn *escape)
{
	char expiration[CLOCK_ISO_MAX];

	switch (property) {
	case PROPERTY_ACCESS_KEY_ID:
		put_text(to, lease->access_key_id, escape);
		break;
	case PROPERTY_SECRET_ACCESS_KEY:
		put_secret(to, lease->secret_access_key, escape);
		break;
	case PROPERTY_ARN:
		put_text(to, lease->arn, escape);
		break;
	case PROPERTY_USERNAME:
		put_text(to, lease->user, escape);
		break;
	case PROPERTY_POLICY_NAME:
		put_text(to, lease->policy_name, escape);
		break;
	case PROPERTY_LEASE_ID:
		put_text(to, lease->id, escape);
		break;
	case PROPERTY_LEASE_EXPIRATION:
		clock_iso(expiration, lease->expires_ms);
		put_text(to, expiration, escape);
		break;
	case PROPERTIES:
		break;
	}
}

static void put_value(struct download *to, const struct config *config,
		      const struct download_key *key, const struct lease *const *leases,
		      escape_fn *escape)
{
	const char *const fixed[] = {config->project, config->name, config->environment};

	switch (key->kind) {
	case KEY_FIXED:
		put_text(to, fixed[key->index], escape);
		break;
	case KEY_STATIC:
		put_secret(to, config->statics[key->index].value, escape);
		break;
	case KEY_DYNAMIC:
		put_property(to, leases[key->index], key->property, escape);
		break;
	}
}

int download_text(struct download *to, const char *text)
{
	put_text(to, text, escape_raw);
	return result(to);
}

int download_value(struct download *to, const struct config *config, const struct download_key *key,
		   const struct lease *const *leases)
{
	put_value(to, config, key, leases, escape_raw);
	return result(to);
}

/* Formats. */

static const struct format {
	const char *name;
	const char *open, *before, *between, *after, *separator, *close;
	enum download_names names; /* unless the caller wants others */
	bool yaml;                 /* names that are words of YAML get quotes */
	escape_fn *escape;
} formats[FORMATS] = {
	[FORMAT_JSON] = {"json", "{", "\"", "\":\"", "\"", ",", "}", NAMES_PLAIN, false,
			 escape_json},
	[FORMAT_ENV] = {"env", "", "", "=\"", "\"", "\n", "", NAMES_PLAIN, false, escape_env},
	[FORMAT_ENV_NO_QUOTES] = {"env-no-quotes", "", "", "=", "", "\n", "", NAMES_PLAIN, false,
				  escape_raw},
	[FORMAT_DOCKER] = {"docker", "", "", "=", "", "\n", "", NAMES_PLAIN, false, escape_docker},
	[FORMAT_YAML] = {"yaml", "", "", ": \"", "\"", "\n", "", NAMES_PLAIN, true, escape_yaml},
	[FORMAT_DOTNET_JSON] = {"dotnet-json", "{", "\"", "\":\"", "\"", ",", "}", NAMES_DOTNET,
				false, escape_json},
};

const char *download_format_name(enum download_format format)
{
	return formats[format].name;
}

int download_format_find(const char *name, enum download_format *ret)
{
	for (int i = 0; i < FORMATS; i++)
		if (strcmp(name, formats[i].name) == 0) {
			*ret = (enum download_format)i;
			return 0;
		}
	return -1;
}

struct entry {
	char name[DOWNLOAD_KEY_MAX]; /* as the download writes it */
	const struct download_key *key;
};

/* By name; of one name, in the order of the keys, which is that of their own names. */
static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

/* Two keys can have one name when they are renamed (A_1 and A1 in .NET): as in any JSON reader, the
 * last one wins. Renamed keys sort otherwise than the keys do. */
static size_t name_entries(struct entry *entries, const struct download_key *keys, size_t n,
			   enum download_names names)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		download_rename(entries[i].name, keys[i].name, names);
		entries[i].key = &keys[i];
	}
	if (names == NAMES_PLAIN)
		return n;
	qsort(entries, n, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || strcmp(entries[i].name, entries[i + 1].name) != 0)
			entries[kept++] = entries[i];
	return kept;
}

static void put_name(struct download *to, const struct format *as, const char *name)
{
	const char *quote = as->yaml && download_name_is_yaml_word(name) ? "\"" : "";

	put_text(to, quote, escape_raw);
	put_text(to, name, escape_raw);
	put_text(to, quote, escape_raw);
}

int download_render_as(struct download *to, const struct config *config,
		       const struct lease *const *leases, const struct download_choice *choice)
{
	const struct format *as = &formats[choice->format];
	struct download_key *keys;
	size_t n;

	if (download_chosen(&keys, &n, config, choice, NULL) < 0)
		return -ENOMEM;
	struct entry *entries = calloc(n + 1, sizeof(*entries));
	if (!entries) {
		free(keys);
		return -ENOMEM;
	}
	n = name_entries(entries, keys, n,
			 choice->names == NAMES_PLAIN ? as->names : choice->names);

	put_text(to, as->open, escape_raw);
	for (size_t i = 0; i < n; i++) {
		put_text(to, i > 0 ? as->separator : "", escape_raw);
		put_text(to, as->before, escape_raw);
		put_name(to, as, entries[i].name);
		put_text(to, as->between, escape_raw);
		put_value(to, config, entries[i].key, leases, as->escape);
		put_text(to, as->after, escape_raw);
		if (result(to) < 0)
			break;
	}
	put_text(to, as->close, escape_raw);
	free(entries);
	free(keys);
	return result(to);
}

int download_render(struct download *to, const struct config *config,
		    const struct lease *const *leases, enum download_format format)
{
	const struct download_choice all = {.format = format, .dynamics = true, .fixed = true};

	return download_render_as(to, config, leases, &all);
}

/* For whoever writes JSON around values. */

void download_json_text(struct download *to, const char *text)
{
	put_text(to, text, escape_json);
}

void download_json_value(struct download *to, const struct config *config,
			 const struct download_key *key, const struct lease *const *leases)
{
	put_value(to, config, key, leases, escape_json);
}

void download_json_secret(struct download *to, const struct secret *secret)
{
	put_secret(to, secret, escape_json);
}

/* Files for AWS's own tools. */

int download_aws_credentials(struct download *to, const struct lease *lease)
{
	put_text(to, "[default]\naws_access_key_id = ", escape_raw);
	put_text(to, lease->access_key_id, escape_raw);
	put_text(to, "\naws_secret_access_key = ", escape_raw);
	put_secret(to, lease->secret_access_key, escape_raw);
	put_text(to, "\n", escape_raw);
	return result(to);
}

static void put_aws_key(struct download *to, const struct lease *lease)
{
	char expiration[CLOCK_ISO_MAX];

	/* Whole seconds, never late: every SDK's parser takes that form. */
	clock_iso(expiration, lease->expires_ms);
	memcpy(strchr(expiration, '.'), "Z", sizeof("Z"));

	put_text(to, "\"AccessKeyId\":\"", escape_raw);
	put_text(to, lease->access_key_id, escape_json);
	put_text(to, "\",\"SecretAccessKey\":\"", escape_raw);
	put_secret(to, lease->secret_access_key, escape_json);
	put_text(to, "\",\"Expiration\":\"", escape_raw);
	put_text(to, expiration, escape_raw);
	put_text(to, "\"", escape_raw);
}

int download_aws_process(struct download *to, const struct lease *lease)
{
	put_text(to, "{\"Version\":1,", escape_raw);
	put_aws_key(to, lease);
	put_text(to, "}", escape_raw);
	return result(to);
}

/* botocore and the SDK for JavaScript insist on a Token; an empty one is none to them. */
int download_aws_container(struct download *to, const struct lease *lease)
{
	put_text(to, "{", escape_raw);
	put_aws_key(to, lease);
	put_text(to, ",\"Token\":\"\"}", escape_raw);
	return result(to);
}
