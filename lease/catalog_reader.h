/*
 * catalog_reader.h: what the parts of the catalog's reader share: the catalog that is being built,
 * the list of its problems, and the cursor, a value in the file that knows its path.
 *
 * A reader goes on after a mistake, so that one reading reports them all: what is wrong is left at
 * its default, and the catalog is thrown away in the end.
 */
#ifndef DSEC_LEASE_CATALOG_READER_H
#define DSEC_LEASE_CATALOG_READER_H

#include <jansson.h>
#include <stdatomic.h>
#include <stddef.h>

#include "lease/catalog.h"

struct block;
struct kept_secret;

/* A catalog with all that lives as long as it does. */
struct catalog_store {
	struct catalog catalog; /* first: the one is the other's address */
	atomic_uint refs;
	struct block *blocks;
	struct kept_secret *secrets;
};

struct catalog_store *catalog_store_new(void); /* NULL when memory is short */
struct catalog_store *catalog_store_free(struct catalog_store *store); /* NULL-safe */

struct reader {
	const struct catalog_system *system;
	const char *file, *text;
	size_t n;
	bool private; /* the file may hold secrets */
	struct catalog_store *store;
	struct catalog_problems *problems;
	size_t offsets[CATALOG_PROBLEMS_MAX]; /* of the problems, which are kept in this order */
	bool refused;                         /* there was a problem that is no warning */
	bool no_memory;
};

/* n zeroed objects of that size, or NULL. */
void *reader_array(struct reader *reader, size_t n, size_t size);

/* A copy, or "" when memory is short; never NULL. */
const char *reader_string(struct reader *reader, const char *text);

/* A file's name in the configuration; relative ones start at the configuration's folder. */
const char *reader_path(struct reader *reader, const char *name);

/* The cursor. */

struct cursor {
	struct reader *reader;
	const struct cursor *up; /* NULL: this is the whole file */
	const char *key;         /* NULL: an element */
	size_t index;
	json_t *value;
};

/* Reports a mistake, or a warning, at this place. No text from a place where a secret may stand. */
void cursor_refuse(const struct cursor *at, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void cursor_warn(const struct cursor *at, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The members of an object in the file's order: *iter starts as NULL. Elements likewise by index.
 * What is no object or list has none. */
bool cursor_next(const struct cursor *object, void **iter, struct cursor *ret);
bool cursor_element(const struct cursor *list, size_t index, struct cursor *ret);

/* Members. False or NULL when there is none, or none of that type, which is reported; `example` is
 * what could stand there. What is not there is left as it is, but for `ret`, which may then be the
 * place of what is wrong. A cursor refers to the one it came from. */
bool cursor_member(const struct cursor *object, const char *key, struct cursor *ret);
bool cursor_object(const struct cursor *object, const char *key, const char *example,
		   struct cursor *ret);
bool cursor_list(const struct cursor *object, const char *key, const char *example,
		 struct cursor *ret);
const char *cursor_string(const struct cursor *object, const char *key, const char *example,
			  struct cursor *ret);
void cursor_bool(const struct cursor *object, const char *key, bool *ret);
void cursor_integer(const struct cursor *object, const char *key, unsigned min, unsigned max,
		    unsigned *ret);
bool cursor_duration(const struct cursor *object, const char *key, const char *example,
		     int64_t *ret, struct cursor *ret_at);

/* The same of the value itself. */
bool cursor_is_object(const struct cursor *at, const char *example);
const char *cursor_text(const struct cursor *at, const char *example);

/* Refuses members that are not in the list, which NULL ends. */
void cursor_known(const struct cursor *object, const char *const *known);

/* Refuses the object when it lacks the member; `what` says what it would be. */
void cursor_need(const struct cursor *object, const char *key, const char *what);

/* A secret of the store's with these bytes, or NULL, and then the reason was reported. */
struct secret *cursor_secret(const struct cursor *at, const void *bytes, size_t n);

/* A member that names a file which can be read and has something in it; with `private`, by its
 * owner alone. Its path, or NULL where it is absent or no string. */
const char *cursor_file_name(const struct cursor *object, const char *key, const char *example,
			     bool private);

/* The parts, each for one object of the file. */
void read_integration(struct integration *ret, const struct cursor *at);
void read_credentials(struct credentials *ret, const struct cursor *integration);
void read_endpoints(struct integration *ret, const struct cursor *integration);
void read_policies(struct dynamic_secret *ret, const struct cursor *object);
void read_dynamic_secret(struct dynamic_secret *ret, const struct cursor *at);
void read_api(struct catalog *ret, const struct cursor *root);
void read_allow(struct access *ret, const struct cursor *access);
void read_config(struct config *ret, const char *project, const struct cursor *at);

/* For qsort and bsearch of structs that begin with their name. */
int catalog_compare_names(const void *a, const void *b);
int catalog_compare_configs(const void *a, const void *b);

/* Is the text a number from 1 to 65535? */
bool catalog_port_valid(const char *port);

/* Which of these names (NULL ends them) was probably meant: no more than a third of it is wrong.
 * NULL: none. */
const char *catalog_nearest(const char *name, const char *const *known);

/* Letters, digits and these others only? */
bool catalog_made_of(const char *text, const char *others);

#endif
