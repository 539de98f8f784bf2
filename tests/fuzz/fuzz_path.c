/*
 * Whatever is asked for as a name: a folder of the tree, a user's path and name in IAM, a duration,
 * a time.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/path.h"
#include "lease/clock.h"
#include "lease/duration.h"
#include "lease/identity.h"

#define INTEGRATION_PATH "/doppler/"
#define DAEMON           "0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void folder(const char *name)
{
	char config[CATALOG_NAME_MAX + 1];
	struct path_options options = {0};

	if (path_parse(name, config, &options) == 0 && options.ttl_ms != 0 &&
	    options.ttl_ms < CATALOG_TTL_MIN_MS)
		abort();
}

static void user_path(const char *path)
{
	char id[DAEMON_ID_MAX], again[IAM_PATH_MAX];
	int64_t end_ms;

	if (identity_parse_path(path, INTEGRATION_PATH, id, &end_ms) &&
	    (identity_user_path(again, INTEGRATION_PATH, id, end_ms) < 0 ||
	     strcmp(again, path) != 0))
		abort();
}

static void daemons_own(const char *text)
{
	char path[IAM_PATH_MAX];

	if (identity_path_is_of(text, DAEMON) && !strstr(text, "/" DAEMON "/"))
		abort();
	if (identity_user_name_valid(text) &&
	    (identity_user_path(path, INTEGRATION_PATH, text, 0) < 0 || strchr(text, '/')))
		abort();
}

static void duration(const char *text)
{
	char form[DURATION_TEXT_MAX];
	int64_t ms, again;

	if (duration_parse(text, strlen(text), &ms) < 0)
		return;
	duration_format(form, ms);
	if (duration_parse(form, strlen(form), &again) < 0 || again != ms)
		abort();
}

static void time_of_day(const char *text)
{
	char form[CLOCK_COMPACT_MAX];
	int64_t ms;

	if (clock_parse_compact(text, &ms) < 0)
		return;
	clock_compact(form, ms);
	if (strcmp(form, text) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Not by strndup(): the sanitizer wants a string there that ends. */
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	folder(text);
	user_path(text);
	daemons_own(text);
	duration(text);
	time_of_day(text);
	free(text);
	return 0;
}
