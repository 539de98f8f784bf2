#include "aws/wipe.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lease/secret.h"

void *wipe_malloc(size_t n)
{
	return malloc(n);
}

void *wipe_calloc(size_t n, size_t size)
{
	return calloc(n, size);
}

void wipe_free(void *bytes)
{
	if (!bytes)
		return;
	secret_wipe(bytes, malloc_usable_size(bytes));
	free(bytes);
}

/* realloc(3) itself may move the block and free the old one as it is, so it is never called. */
void *wipe_realloc(void *old, size_t n)
{
	size_t had = old ? malloc_usable_size(old) : 0;
	void *grown;

	if (n == 0) {
		wipe_free(old);
		return NULL;
	}
	if (n <= had) {
		secret_wipe((char *)old + n, had - n);
		return old;
	}
	grown = malloc(n);
	if (!grown)
		return NULL;
	if (old) {
		memcpy(grown, old, had);
		wipe_free(old);
	}
	return grown;
}

char *wipe_strdup(const char *text)
{
	return strdup(text);
}
