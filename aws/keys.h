/*
 * keys.h: what signs a request, and where an integration's own comes from.
 */
#ifndef DSEC_AWS_KEYS_H
#define DSEC_AWS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/error.h"
#include "lease/secret.h"

#define KEYS_ID_MAX     128u
#define KEYS_SECRET_MAX 512u
#define KEYS_TOKEN_MAX  16384u
#define KEYS_FILE_MAX   (256ul * 1024) /* of a file that holds keys */

/* Immutable; counted, for the calls that are under way with them. */
struct keys {
	unsigned refs;
	char id[KEYS_ID_MAX + 1];
	struct secret *secret;
	struct secret *token; /* NULL: none */
	int64_t expires_ms;   /* calendar; 0: not known to */
};

/* From a key of known parts, of which it takes references; `token` may be NULL. CREDENTIALS when
 * one is empty, too long, or has a byte that has no place in a header. */
int keys_new(struct keys **ret, const char *id, struct secret *secret, struct secret *token,
	     int64_t expires_ms, struct dsec_error *err);

/* The same from text, which the caller wipes; `token` may be NULL or "". */
int keys_new_from_text(struct keys **ret, const char *id, const char *secret, const char *token,
		       int64_t expires_ms, struct dsec_error *err);

struct keys *keys_ref(struct keys *keys);
struct keys *keys_unref(struct keys *keys); /* NULL-safe; returns NULL */
bool keys_equal(const struct keys *a, const struct keys *b);

/* Does the text hold one of the secret parts? */
bool keys_appear_in(const struct keys *keys, const char *text);

/* Are two secrets (NULL: none) of the same bytes? */
bool keys_secret_equal(const struct secret *a, const struct secret *b);

/* Reading. All fail with DSEC_ERROR_CREDENTIALS and a sentence that names the source. */

int keys_from_static(struct keys **ret, const struct credentials *from, struct dsec_error *err);
int keys_from_environment(struct keys **ret, struct dsec_error *err);

/* A profile gives keys, or a credential_process command (for free()) that does; the other is NULL.
 */
int keys_from_profile(struct keys **ret, char **ret_command, const struct credentials *from,
		      struct dsec_error *err);

/* What a credential_process printed. */
int keys_from_json(struct keys **ret, const char *json, size_t n, struct dsec_error *err);

static inline void keys_unrefp(struct keys **keys)
{
	keys_unref(*keys);
}
#define _cleanup_keys_ __attribute__((cleanup(keys_unrefp)))

#endif
