#include "tests/lease/freed.h"

#include <malloc.h>
#include <string.h>

void __real_free(void *bytes);
void __wrap_free(void *bytes);

static const char *watched;
static size_t found;

void freed_watch(const char *secret)
{
	watched = secret;
	found = 0;
}

size_t freed_unwiped(void)
{
	return found;
}

void __wrap_free(void *bytes)
{
	if (bytes && watched && memmem(bytes, malloc_usable_size(bytes), watched, strlen(watched)))
		found++;
	__real_free(bytes);
}
