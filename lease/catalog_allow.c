/* catalog_allow.c: who of those whom a config's mode lets read may do so, and who sees it. */
#include <string.h>

#include "lease/catalog_reader.h"

#define ALLOW_MAX      256 /* entries of one list */
#define ALLOW_NAME_MAX 255
#define ID_MAX         4294967294.0 /* (uid_t)-1 is nobody */

static size_t list_of(const struct cursor *allow, const char *key, const char *example,
		      struct cursor *ret)
{
	if (!cursor_list(allow, key, example, ret))
		return 0;

	size_t n = json_array_size(ret->value);
	if (n > ALLOW_MAX) {
		cursor_refuse(ret, "has %zu entries; it may have %d", n, ALLOW_MAX);
		return 0;
	}
	return n;
}

static bool read_number(const struct cursor *at, unsigned *ret)
{
	json_int_t value = json_integer_value(at->value);

	if (!json_is_integer(at->value) || value < 0 || (double)value > ID_MAX) {
		cursor_refuse(at, "has to be a name, or a whole number from 0 to 4294967294");
		return false;
	}
	*ret = (unsigned)value;
	return true;
}

static bool read_uid(const struct cursor *at, unsigned *ret)
{
	const struct catalog_system *system = at->reader->system;
	const char *name = json_string_value(at->value);
	gid_t ignored;

	if (!name)
		return read_number(at, ret);
	if (system->user(system, name, ret, &ignored) < 0) {
		cursor_refuse(at, "there is no user \"%.64s\"", name);
		return false;
	}
	return true;
}

static bool read_gid(const struct cursor *at, unsigned *ret)
{
	const struct catalog_system *system = at->reader->system;
	const char *name = json_string_value(at->value);

	if (!name)
		return read_number(at, ret);
	if (system->group(system, name, ret) < 0) {
		cursor_refuse(at, "there is no group \"%.64s\"", name);
		return false;
	}
	return true;
}

typedef bool read_id(const struct cursor *at, unsigned *ret);

static const unsigned *read_ids(const struct cursor *allow, const char *key, const char *example,
				read_id *read, size_t *ret_n)
{
	struct cursor list, at;
	size_t n = list_of(allow, key, example, &list);
	unsigned *ids = reader_array(allow->reader, n, sizeof(*ids));

	for (size_t i = 0; ids && i < n && cursor_element(&list, i, &at); i++)
		*ret_n += read(&at, &ids[*ret_n]);
	return ids;
}

static const char *const *read_names(const struct cursor *allow, const char *key,
				     const char *examples, const char *example, size_t *ret_n)
{
	struct cursor list, at;
	size_t n = list_of(allow, key, examples, &list);
	const char **names = reader_array(allow->reader, n, sizeof(*names));

	for (size_t i = 0; names && i < n && cursor_element(&list, i, &at); i++) {
		const char *name = cursor_text(&at, example);

		if (name && (strlen(name) > ALLOW_NAME_MAX || strchr(name, '/')))
			cursor_refuse(&at, "a name has 1 to %d characters, and no slash",
				      ALLOW_NAME_MAX);
		else if (name)
			names[(*ret_n)++] = reader_string(allow->reader, name);
	}
	return names;
}

void read_allow(struct access *ret, const struct cursor *access)
{
	static const char *const known[] = {"uids", "gids", "units", "containers", NULL};
	struct allow *to = &ret->allow;
	struct cursor allow;

	cursor_bool(access, "hide", &ret->hide);
	if (!cursor_object(access, "allow", "{\"units\": [\"app.service\"]}", &allow))
		return;
	cursor_known(&allow, known);
	ret->restricted = true;
	to->uids = read_ids(&allow, "uids", "[\"app\", 1000]", read_uid, &to->n_uids);
	to->gids = read_ids(&allow, "gids", "[\"app\", 1000]", read_gid, &to->n_gids);
	to->units =
		read_names(&allow, "units", "[\"app.service\"]", "\"app.service\"", &to->n_units);
	to->containers = read_names(&allow, "containers", "[\"docker:4f1c0d*\"]",
				    "\"docker:4f1c0d*\"", &to->n_containers);
	if (json_object_size(allow.value) == 0)
		cursor_refuse(&allow, "allows nobody; give it uids, gids, units or containers");
}
