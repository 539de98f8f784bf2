/*
 * Any text as the doppler.yaml of a repository that somebody has cloned: which config it means, or
 * a sentence that says what is wrong with it.
 *
 * The input is the folder that one works in, a form feed, and the text.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, '\f', size) : NULL;
	size_t n = end ? (size_t)(end - data) : 0, from = end ? n + 1 : 0;
	struct names names = {"before", "before"};
	struct dsec_error err = {0};
	/* Of its exact size, so that reading past it is seen. */
	char *below = calloc(n + 1, 1), *text = malloc(size - from + 1);

	check(below && text);
	if (n > 0)
		memcpy(below, data, n);
	if (size > from)
		memcpy(text, data + from, size - from);
	if (repository_parse(&names, text, size - from, REPOSITORY_FILE, below, &err) < 0)
		check(*err.message);
	check(memchr(names.project, '\0', sizeof(names.project)) &&
	      memchr(names.config, '\0', sizeof(names.config)));
	free(below);
	free(text);
	return 0;
}
