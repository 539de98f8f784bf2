#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"

struct block {
	struct block *next;
	max_align_t bytes[];
};

struct kept_secret {
	struct secret *secret;
	struct kept_secret *next;
};

struct catalog_store *catalog_store_new(void)
{
	struct catalog_store *store = calloc(1, sizeof(*store));

	if (store)
		atomic_init(&store->refs, 1);
	return store;
}

struct catalog_store *catalog_store_free(struct catalog_store *store)
{
	if (!store)
		return NULL;
	for (struct kept_secret *kept = store->secrets; kept; kept = kept->next)
		secret_unref(kept->secret);
	while (store->blocks) {
		struct block *next = store->blocks->next;
		free(store->blocks);
		store->blocks = next;
	}
	free(store);
	return NULL;
}

void *reader_array(struct reader *reader, size_t n, size_t size)
{
	struct catalog_store *store = reader->store;
	struct block *block = calloc(1, sizeof(*block) + n * size);

	if (!block) {
		reader->no_memory = true;
		return NULL;
	}
	block->next = store->blocks;
	store->blocks = block;
	return block->bytes;
}

const char *reader_string(struct reader *reader, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = reader_array(reader, size, 1);

	return copy ? memcpy(copy, text, size) : "";
}

const char *reader_path(struct reader *reader, const char *name)
{
	const char *slash = strrchr(reader->file, '/');

	if (*name == '/' || !slash)
		return reader_string(reader, name);
	size_t folder = (size_t)(slash - reader->file) + 1, size = strlen(name) + 1;
	char *path = reader_array(reader, folder + size, 1);
	if (!path)
		return "";
	memcpy(path, reader->file, folder);
	memcpy(path + folder, name, size);
	return path;
}

struct secret *cursor_secret(const struct cursor *at, const void *bytes, size_t n)
{
	struct reader *reader = at->reader;
	struct kept_secret *kept;
	struct dsec_error err;

	if (n > (size_t)SECRET_SIZE_MAX) {
		cursor_refuse(at, "has %zu bytes; a secret has at most %u", n, SECRET_SIZE_MAX);
		return NULL;
	}
	kept = reader_array(reader, 1, sizeof(*kept));
	if (!kept)
		return NULL;
	if (secret_new(&kept->secret, bytes, n, &err) < 0) {
		cursor_refuse(at, "cannot be kept in memory: %s", err.message);
		return NULL;
	}
	kept->next = reader->store->secrets;
	reader->store->secrets = kept;
	return kept->secret;
}
