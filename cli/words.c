#include "cli/words.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/log.h"

const char *const words_transformers[] = {
	"upper-camel", "camel",      "lower-kebab", "lower-snake",
	"tf-var",      "dotnet-env", "dotnet",      NULL,
};

int words_format(enum download_format *ret, const char *text, struct dsec_error *err)
{
	*ret = FORMAT_JSON;
	if (!text || download_format_find(text, ret) == 0)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      "invalid format. Valid formats are json, dotnet-json, env, yaml, "
			      "docker, env-no-quotes");
}

static bool ends_in(const char *text, const char *tail)
{
	size_t n = strlen(text), m = strlen(tail);

	return n >= m && strcmp(text + n - m, tail) == 0;
}

int words_mount_format(enum download_format *ret, const char *text, const char *file,
		       struct dsec_error *err)
{
	*ret = FORMAT_JSON;
	if (text) {
		if (download_format_find(text, ret) == 0 && *ret != FORMAT_YAML)
			return 0;
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "invalid mount format. Valid formats are env, json, "
				      "dotnet-json, env-no-quotes, docker");
	}
	if (!file)
		return 0;
	const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	if (fnmatch("appsettings.json", name, FNM_CASEFOLD) == 0 ||
	    fnmatch("appsettings.*.json", name, FNM_CASEFOLD) == 0)
		*ret = FORMAT_DOTNET_JSON;
	else if (ends_in(name, ".env"))
		*ret = FORMAT_ENV;
	else if (!ends_in(name, ".json"))
		log_line(LOG_WARNING,
			 "--mount: the name of %s tells no format, so it is json; --format says "
			 "otherwise",
			 name);
	return 0;
}

int words_transformer(enum download_names *ret, const char *text, bool environment,
		      struct dsec_error *err)
{
	*ret = NAMES_PLAIN;
	if (!text ||
	    (download_names_find(text, ret) == 0 && !(environment && *ret == NAMES_DOTNET)))
		return 0;
	return dsec_error_set(
		err, DSEC_ERROR_INVALID,
		"invalid name transformer. Valid transformers are upper-camel, camel, "
		"lower-kebab, lower-snake, tf-var, %sdotnet-env",
		environment ? "" : "dotnet, ");
}

int words_count(unsigned long *ret, const char *option, const char *text, struct dsec_error *err)
{
	char *end = NULL;

	*ret = text ? strtoul(text, &end, 10) : 0;
	if (!text || (text[0] >= '0' && text[0] <= '9' && !*end))
		return 0;
	return dsec_error_set(err, DSEC_ERROR_INVALID, "%s: \"%s\" is no whole number", option,
			      text);
}
