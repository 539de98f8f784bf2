#include "map.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "text.h"

#define MAP_BUCKETS_FIRST 64

struct entry {
	struct entry *next;
	uint64_t hash;
	char *key;
	void *value;
};

struct map {
	bool ignore_case;
	size_t count, n_buckets; /* a power of two */
	struct entry **buckets;
};

struct map *map_new(bool ignore_case)
{
	struct map *map = must_alloc(sizeof(*map));

	map->ignore_case = ignore_case;
	map->n_buckets = MAP_BUCKETS_FIRST;
	map->buckets = must_alloc(map->n_buckets * sizeof(struct entry *));
	return map;
}

struct map *map_free(struct map *map)
{
	if (!map)
		return NULL;
	for (size_t i = 0; i < map->n_buckets; i++)
		while (map->buckets[i]) {
			struct entry *entry = map->buckets[i];

			map->buckets[i] = entry->next;
			free(entry->key);
			free(entry);
		}
	free(map->buckets);
	free(map);
	return NULL;
}

/* FNV-1a. Keys come from tests, not from an attacker. */
static uint64_t hash_of(const struct map *map, const char *key)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *key; key++) {
		unsigned char c = (unsigned char)*key;

		hash = (hash ^ (unsigned char)(map->ignore_case ? tolower(c) : c)) * 0x100000001b3u;
	}
	return hash;
}

/* The link that holds the entry, or the bucket's last, empty one. */
static struct entry **link_of(const struct map *map, const char *key, uint64_t hash)
{
	struct entry **link = &map->buckets[hash & (map->n_buckets - 1)];

	for (; *link; link = &(*link)->next) {
		if ((*link)->hash != hash)
			continue;
		if (map->ignore_case ? !strcasecmp((*link)->key, key) : !strcmp((*link)->key, key))
			break;
	}
	return link;
}

static void grow(struct map *map)
{
	size_t n = map->n_buckets * 2;
	struct entry **buckets = must_alloc(n * sizeof(struct entry *));

	for (size_t i = 0; i < map->n_buckets; i++)
		while (map->buckets[i]) {
			struct entry *entry = map->buckets[i],
				     **to = &buckets[entry->hash & (n - 1)];

			map->buckets[i] = entry->next;
			entry->next = *to;
			*to = entry;
		}
	free(map->buckets);
	map->buckets = buckets;
	map->n_buckets = n;
}

void *map_get(const struct map *map, const char *key)
{
	struct entry *entry = key ? *link_of(map, key, hash_of(map, key)) : NULL;

	return entry ? entry->value : NULL;
}

void map_put(struct map *map, const char *key, void *value)
{
	if (map->count >= map->n_buckets)
		grow(map);

	uint64_t hash = hash_of(map, key);
	struct entry **link = link_of(map, key, hash);

	if (!*link) {
		*link = must_alloc(sizeof(**link));
		(*link)->hash = hash;
		(*link)->key = must_strdup(key);
		map->count++;
	}
	(*link)->value = value;
}

void *map_remove(struct map *map, const char *key)
{
	struct entry **link = link_of(map, key, hash_of(map, key)), *entry = *link;

	if (!entry)
		return NULL;

	void *value = entry->value;

	*link = entry->next;
	free(entry->key);
	free(entry);
	map->count--;
	return value;
}

size_t map_count(const struct map *map)
{
	return map->count;
}
