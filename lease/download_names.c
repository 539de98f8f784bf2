#include "lease/download_names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* How each transformer puts the words of a name together: what stands between them, and where two
 * underscores are. */
static const struct style {
	const char *name;
	const char *before, *between, *nested;
	bool capital, capital_first; /* else lower case */
} styles[DOWNLOAD_NAMES] = {
	[NAMES_PLAIN] = {"", "", "", "", false, false},
	[NAMES_UPPER_CAMEL] = {"upper-camel", "", "", "", true, true},
	[NAMES_CAMEL] = {"camel", "", "", "", true, false},
	[NAMES_LOWER_SNAKE] = {"lower-snake", "", "_", "__", false, false},
	[NAMES_LOWER_KEBAB] = {"lower-kebab", "", "-", "--", false, false},
	[NAMES_TF_VAR] = {"tf-var", "TF_VAR_", "_", "__", false, false},
	[NAMES_DOTNET] = {"dotnet", "", "", ":", true, true},
	[NAMES_DOTNET_ENV] = {"dotnet-env", "", "", "__", true, true},
};

int download_names_find(const char *name, enum download_names *ret)
{
	for (int i = NAMES_PLAIN + 1; i < DOWNLOAD_NAMES; i++)
		if (strcmp(name, styles[i].name) == 0) {
			*ret = (enum download_names)i;
			return 0;
		}
	return -1;
}

static char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	return to;
}

/* No style makes a name longer, but for what it puts before. */
void download_rename(char to[DOWNLOAD_KEY_MAX], const char *name, enum download_names as)
{
	const struct style *style = &styles[as];
	char *end = append(to, style->before);
	bool first = true, in_word = false;

	/* A name of underscores alone has no words, and stays. */
	if (as == NAMES_PLAIN || strspn(name, "_") == strlen(name)) {
		snprintf(end, (size_t)(to + DOWNLOAD_KEY_MAX - end), "%s", name);
		return;
	}
	for (const char *from = name; *from; from++) {
		if (*from == '_') {
			bool nested = from[1] == '_';
			end = append(end, nested ? style->nested : style->between);
			from += nested;
			in_word = false;
			continue;
		}
		bool capital = !in_word && (first ? style->capital_first : style->capital);
		*end++ = capital ? *from : (char)tolower((unsigned char)*from);
		in_word = true;
		first = false;
	}
	*end = '\0';
}

bool download_name_is_yaml_word(const char *name)
{
	static const char *const words[] = {"false", "no", "null", "off", "on", "true", "yes"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(name, words[i]) == 0)
			return true;
	/* What begins so may be a number, or the sign of a list. */
	return isdigit((unsigned char)*name) || *name == '-' || *name == ':';
}
