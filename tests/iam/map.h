/*
 * map.h: a hash table from strings to pointers.
 */
#ifndef DSEC_TESTS_IAM_MAP_H
#define DSEC_TESTS_IAM_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_new(bool ignore_case);
struct map *map_free(struct map *map);                       /* the values are the caller's */
void *map_get(const struct map *map, const char *key);       /* NULL: none; a NULL key has none */
void map_put(struct map *map, const char *key, void *value); /* copies the key, replaces */
void *map_remove(struct map *map, const char *key);          /* returns what was there */
size_t map_count(const struct map *map);

#endif
