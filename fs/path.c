#include "fs/path.h"

#include <errno.h>
#include <string.h>

#include "lease/duration.h"

#define OPTION_FRESH "fresh"

static int parse_option(const char *text, size_t n, struct path_options *options)
{
	int64_t ttl_ms;

	if (n == strlen(OPTION_FRESH) && memcmp(text, OPTION_FRESH, n) == 0) {
		if (options->fresh)
			return -ENOENT;
		options->fresh = true;
		return 0;
	}
	if (duration_parse(text, n, &ttl_ms) < 0)
		return -ENOENT;
	if (options->ttl_ms != 0 || ttl_ms < CATALOG_TTL_MIN_MS)
		return -ENOENT;
	options->ttl_ms = ttl_ms;
	return 0;
}

static int parse_options(const char *text, struct path_options *ret)
{
	struct path_options options = {0};

	if (strlen(text) > PATH_OPTIONS_MAX)
		return -ENOENT;
	for (;;) {
		size_t n = strcspn(text, ",");

		if (parse_option(text, n, &options) < 0)
			return -ENOENT;
		if (text[n] == '\0')
			break;
		text += n + 1;
	}
	*ret = options;
	return 0;
}

int path_parse(const char *name, char ret_config[CATALOG_NAME_MAX + 1],
	       struct path_options *ret_options)
{
	size_t n = strcspn(name, "@");

	if (n == 0 || n > CATALOG_NAME_MAX)
		return -ENOENT;
	if (name[n] == '@' && parse_options(name + n + 1, ret_options) < 0)
		return -ENOENT;
	memcpy(ret_config, name, n);
	ret_config[n] = '\0';
	return 0;
}
