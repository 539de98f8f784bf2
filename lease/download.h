/*
 * download.h: a config as its readers see it: the keys of Doppler's download, their values, and the
 * download's formats.
 *
 * Names and formats: facts/doppler.md. All values go through secret_copy into the buffer that is
 * being written, and nowhere else.
 */
#ifndef DSEC_LEASE_DOWNLOAD_H
#define DSEC_LEASE_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/engine.h"

#define DOWNLOAD_KEY_MAX  192
#define DOWNLOAD_SIZE_MAX (4ul * 1024 * 1024) /* the longest rendered file */

enum download_property {
	PROPERTY_ACCESS_KEY_ID,
	PROPERTY_SECRET_ACCESS_KEY,
	PROPERTY_ARN,
	PROPERTY_USERNAME,
	PROPERTY_POLICY_NAME,
	PROPERTY_LEASE_ID,
	PROPERTY_LEASE_EXPIRATION,
	PROPERTIES, /* how many there are */
};
const char *download_property_suffix(enum download_property property); /* "ACCESS_KEY_ID", … */

enum download_format {
	FORMAT_JSON,
	FORMAT_ENV,
	FORMAT_ENV_NO_QUOTES,
	FORMAT_DOCKER,
	FORMAT_YAML,
	FORMAT_DOTNET_JSON,
	FORMATS, /* how many there are */
};
const char *download_format_name(
	enum download_format format); /* "json", "env", …; the file is "." and this name */

int download_format_find(const char *name, enum download_format *ret); /* -1: there is none */

/* How the names are written: Doppler's name transformers. */
enum download_names {
	NAMES_PLAIN, /* as they are, or as the format has them */
	NAMES_UPPER_CAMEL,
	NAMES_CAMEL,
	NAMES_LOWER_SNAKE,
	NAMES_LOWER_KEBAB,
	NAMES_TF_VAR,
	NAMES_DOTNET,
	NAMES_DOTNET_ENV,
	DOWNLOAD_NAMES, /* how many there are */
};
int download_names_find(const char *name, enum download_names *ret); /* -1: there is none */

/* What of a config is downloaded, and as what. */
struct download_choice {
	enum download_format format;
	enum download_names names;
	bool dynamics;    /* the keys of dynamic secrets, too */
	bool fixed;       /* DOPPLER_PROJECT and its like, too */
	const char *only; /* of all these only the keys that stand in this list, separated by
			     commas; names that are no keys are ignored. NULL: all */
};

/* One key of a config's download. */
struct download_key {
	char name[DOWNLOAD_KEY_MAX];
	enum {
		KEY_FIXED,
		KEY_STATIC,
		KEY_DYNAMIC
	} kind;       /* FIXED: DOPPLER_PROJECT, DOPPLER_CONFIG, DOPPLER_ENVIRONMENT */
	size_t index; /* STATIC: in config->statics; DYNAMIC: in config->dynamics; FIXED: 0, 1, 2 as
			 above */
	enum download_property property; /* DYNAMIC */
};

/* All keys, sorted by name, into *ret for free(). A dynamic secret's key wins over a static secret
 * of the same name, the DOPPLER_ ones over both. */
int download_keys(struct download_key **ret, size_t *ret_n, const struct config *config,
		  struct dsec_error *err);

/* Those of them that were chosen. */
int download_chosen(struct download_key **ret, size_t *ret_n, const struct config *config,
		    const struct download_choice *choice, struct dsec_error *err);

/* Which of the config's dynamic secrets this takes: bit i is config->dynamics[i]. */
int download_needs(uint64_t *ret, const struct config *config, const struct download_choice *choice,
		   struct dsec_error *err);

/* A growing buffer of scratch memory (scratch.h), wiped when it moves and when it is freed. It
 * cannot be given to /dev/fuse, nor to free(). */
struct download {
	char *bytes;
	size_t n, size; /* used, and there */
	bool failed;    /* memory was short, or the text grew past DOWNLOAD_SIZE_MAX */
};
void download_finish(struct download *download); /* wipes and frees; NULL-safe on the bytes */

/* Plain text, as it is. A failure shows in to->failed, too. */
int download_text(struct download *to, const char *text);

/* One key's value, raw, no newline. leases is indexed like config->dynamics; only what the key
 * needs may be set, the rest NULL. 0 or -ENOMEM. */
int download_value(struct download *to, const struct config *config, const struct download_key *key,
		   const struct lease *const *leases);

/* The whole download in a format; every one of the config's leases must be set. No trailing
 * newline, names sorted. */
int download_render(struct download *to, const struct config *config,
		    const struct lease *const *leases, enum download_format format);

/* The same of a choice; the leases that download_needs names must be set. */
int download_render_as(struct download *to, const struct config *config,
		       const struct lease *const *leases, const struct download_choice *choice);

/* For whoever writes JSON around values: texts and values as the inside of a JSON string. Failures
 * show in to->failed. */
void download_json_text(struct download *to, const char *text);
void download_json_value(struct download *to, const struct config *config,
			 const struct download_key *key, const struct lease *const *leases);
void download_json_secret(struct download *to, const struct secret *secret);

/* .aws/NAME/credentials: a shared credentials file with a [default] profile;
 * .aws/NAME/process.json: what credential_process prints, with Expiration; and what the URL in
 * AWS_CONTAINER_CREDENTIALS_FULL_URI answers. */
int download_aws_credentials(struct download *to, const struct lease *lease);
int download_aws_process(struct download *to, const struct lease *lease);
int download_aws_container(struct download *to, const struct lease *lease);

#endif
