#include "aws/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

static int is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Copies what stands up to the closing quote, from the character after the opening one. Returns
 * what follows the closing one, or NULL when there is none. */
static const char *copy_quoted(const char *from, char quote, char **to)
{
	for (; *from && *from != quote; from++) {
		if (quote == '"' && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
			from++;
		*(*to)++ = *from;
	}
	return *from ? from + 1 : NULL;
}

/* Copies one word, and returns what follows it, or NULL when it does not end well. */
static const char *copy_word(const char *from, char **to)
{
	while (from && *from && !is_space(*from)) {
		if (*from == '\'' || *from == '"') {
			from = copy_quoted(from + 1, *from, to);
			continue;
		}
		if (*from == '\\')
			from++;
		if (!*from)
			return NULL;
		*(*to)++ = *from++;
	}
	*(*to)++ = '\0';
	return from;
}

int words_split(struct words *words, const char *line)
{
	size_t n = 0;
	char *to;

	*words = (struct words){0};
	/* No word is longer than its quoted form, and each but the last gives a space for its end.
	 */
	to = words->text = alloc_zeroed(strlen(line) + 1, 1);
	for (;;) {
		while (is_space(*line))
			line++;
		if (!*line)
			break;
		if (n == WORDS_MAX)
			goto refused;
		words->word[n++] = to;
		line = copy_word(line, &to);
		if (!line)
			goto refused;
	}
	if (n > 0)
		return 0;
refused:
	words_finish(words);
	return -EINVAL;
}

void words_finish(struct words *words)
{
	free(words->text);
	*words = (struct words){0};
}
