/*
 * wipe_free.c: what dsec frees is blank, whoever frees it.
 *
 * libcurl, OpenSSL, expat and jansson can be told to wipe (aws/wipe.h); SQLite, libmicrohttpd,
 * libfuse and the C library cannot be, or not all of it. So the program has a free(3) and a
 * realloc(3) of its own, which all of them use: the dynamic linker binds every library to the
 * program's. Memory is still malloc(3)'s, so that one that came from before is wiped too.
 *
 * It is part of the program alone, and no test's. AddressSanitizer has its own allocator and tells
 * of each free. Under valgrind, whose free takes the place of this one, nothing is wiped.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lease/asan.h"

#ifdef HAVE_ASAN

/* gcc has no sanitizer/allocator_interface.h. */
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
					      void (*freed)(const volatile void *));
int __sanitizer_get_ownership(const volatile void *bytes);
size_t __sanitizer_get_allocated_size(const volatile void *bytes);

static void allocated(const volatile void *bytes, size_t n)
{
}

static void freed(const volatile void *bytes)
{
	if (bytes && __sanitizer_get_ownership(bytes))
		explicit_bzero((void *)bytes, __sanitizer_get_allocated_size(bytes));
}

__attribute__((constructor)) static void watch(void)
{
	__sanitizer_install_malloc_and_free_hooks(allocated, freed);
}

#else

/* The next free(3) behind ours: the C library's, or that of an allocator that is preloaded.
 * dlsym(3) may free something itself before it has told; that is left where it lies. */
static void free_for_good(void *bytes)
{
	static void (*next)(void *);
	static __thread int looking;

	if (!__atomic_load_n(&next, __ATOMIC_ACQUIRE)) {
		void *found;

		if (looking)
			return;
		looking = 1;
		found = dlsym(RTLD_NEXT, "free");
		looking = 0;
		if (!found)
			abort();
		__atomic_store(&next, (void (**)(void *)) & found, __ATOMIC_RELEASE);
	}
	next(bytes);
}

/* Parameters as the C library's headers name them, with which they are compared. */
void free(void *__ptr)
{
	int error = errno;

	if (!__ptr)
		return;
	explicit_bzero(__ptr, malloc_usable_size(__ptr));
	free_for_good(__ptr);
	errno = error;
}

/* The C library's may move a block, and free the old one as it is. */
void *realloc(void *__ptr, size_t __size)
{
	size_t had = __ptr ? malloc_usable_size(__ptr) : 0;
	void *grown;

	if (__ptr && __size == 0) {
		free(__ptr);
		return NULL;
	}
	if (__ptr && __size <= had && __size >= had / 2) {
		explicit_bzero((char *)__ptr + __size, had - __size);
		return __ptr;
	}
	grown = malloc(__size);
	if (!grown)
		return NULL;
	if (__ptr) {
		memcpy(grown, __ptr, __size < had ? __size : had);
		free(__ptr);
	}
	return grown;
}

#endif
