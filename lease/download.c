#include "lease/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fixed_names[] = {
	"DOPPLER_PROJECT",
	"DOPPLER_CONFIG",
	"DOPPLER_ENVIRONMENT",
};
#define N_FIXED (sizeof(fixed_names) / sizeof(fixed_names[0]))

static const char *const suffixes[PROPERTIES] = {
	[PROPERTY_ACCESS_KEY_ID] = "ACCESS_KEY_ID",
	[PROPERTY_SECRET_ACCESS_KEY] = "SECRET_ACCESS_KEY",
	[PROPERTY_ARN] = "ARN",
	[PROPERTY_USERNAME] = "USERNAME",
	[PROPERTY_POLICY_NAME] = "POLICY_NAME",
	[PROPERTY_LEASE_ID] = "LEASE_ID",
	[PROPERTY_LEASE_EXPIRATION] = "LEASE_EXPIRATION",
};

const char *download_property_suffix(enum download_property property)
{
	return suffixes[property];
}

/* By name; of one name, the one that wins comes first. */
static int compare_keys(const void *a, const void *b)
{
	static const int rank[] = {[KEY_FIXED] = 0, [KEY_DYNAMIC] = 1, [KEY_STATIC] = 2};
	const struct download_key *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : rank[x->kind] - rank[y->kind];
}

static size_t list_keys(struct download_key *keys, const struct config *config)
{
	struct download_key *key = keys;

	for (size_t i = 0; i < N_FIXED; i++, key++) {
		*key = (struct download_key){.kind = KEY_FIXED, .index = i};
		snprintf(key->name, sizeof(key->name), "%s", fixed_names[i]);
	}
	for (size_t i = 0; i < config->n_statics; i++, key++) {
		*key = (struct download_key){.kind = KEY_STATIC, .index = i};
		snprintf(key->name, sizeof(key->name), "%s", config->statics[i].key);
	}
	for (size_t i = 0; i < config->n_dynamics; i++)
		for (int property = 0; property < PROPERTIES; property++, key++) {
			*key = (struct download_key){.kind = KEY_DYNAMIC, .index = i};
			key->property = (enum download_property)property;
			snprintf(key->name, sizeof(key->name), "%s_%s", config->dynamics[i].name,
				 suffixes[property]);
		}
	return (size_t)(key - keys);
}

int download_keys(struct download_key **ret, size_t *ret_n, const struct config *config,
		  struct dsec_error *err)
{
	size_t n = N_FIXED + config->n_statics + config->n_dynamics * PROPERTIES, kept = 0;
	struct download_key *keys = calloc(n, sizeof(*keys));

	if (!keys)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "no memory for the keys of %s/%s",
				      config->project, config->name);
	n = list_keys(keys, config);
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || strcmp(keys[kept - 1].name, keys[i].name) != 0)
			keys[kept++] = keys[i];
	*ret = keys;
	*ret_n = kept;
	return 0;
}

/* Does the key stand in the list? */
static bool listed(const char *only, const char *key)
{
	size_t n = strlen(key);

	for (const char *at = only; *at; at += *at == ',') {
		size_t length = strcspn(at, ",");

		if (length == n && memcmp(at, key, n) == 0)
			return true;
		at += length;
	}
	return false;
}

static bool is_chosen(const struct download_key *key, const struct download_choice *choice)
{
	if ((key->kind == KEY_DYNAMIC && !choice->dynamics) ||
	    (key->kind == KEY_FIXED && !choice->fixed))
		return false;
	return !choice->only || listed(choice->only, key->name);
}

int download_chosen(struct download_key **ret, size_t *ret_n, const struct config *config,
		    const struct download_choice *choice, struct dsec_error *err)
{
	struct download_key *keys = NULL;
	size_t n = 0, kept = 0;
	int r = download_keys(&keys, &n, config, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (is_chosen(&keys[i], choice))
			keys[kept++] = keys[i];
	*ret = keys;
	*ret_n = kept;
	return 0;
}

int download_needs(uint64_t *ret, const struct config *config, const struct download_choice *choice,
		   struct dsec_error *err)
{
	struct download_key *keys = NULL;
	size_t n = 0;
	int r = download_chosen(&keys, &n, config, choice, err);

	if (r < 0)
		return r;
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		if (keys[i].kind == KEY_DYNAMIC)
			*ret |= UINT64_C(1) << keys[i].index;
	free(keys);
	return 0;
}
