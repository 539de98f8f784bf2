#include "lease/alloc.h"

#include <string.h>

void *alloc_zeroed(size_t n, size_t size)
{
	void *bytes = calloc(n ? n : 1, size);

	if (!bytes)
		abort();
	return bytes;
}

void *alloc_resized(void *bytes, size_t n, size_t size)
{
	void *resized = reallocarray(bytes, n ? n : 1, size);

	if (!resized)
		abort();
	return resized;
}

char *alloc_copy(const char *text)
{
	if (!text)
		return NULL;

	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}
