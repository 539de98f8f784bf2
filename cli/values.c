#include "cli/values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/json_text.h"
#include "lease/scratch.h"
#include "lease/secret.h"

#define READ_SIZE_MIN 4096
#define ARENA_A_VALUE 64 /* what a secret takes besides its bytes, generously */

static bool grow(struct download *text)
{
	size_t size = text->size ? 2 * text->size : READ_SIZE_MIN;
	char *bytes = scratch_new(&size);

	if (!bytes)
		return false;
	if (text->n > 0)
		memcpy(bytes, text->bytes, text->n);
	scratch_free(text->bytes, text->size);
	text->bytes = bytes;
	text->size = size;
	return true;
}

int values_append(struct download *to, const char *bytes, size_t n)
{
	while (n > to->size - to->n)
		if (!grow(to))
			return -ENOMEM;
	memcpy(to->bytes + to->n, bytes, n);
	to->n += n;
	return 0;
}

int values_read(int fd, struct download *ret)
{
	while (true) {
		if (ret->n == ret->size && !grow(ret))
			return -ENOMEM;
		ssize_t got = read(fd, ret->bytes + ret->n, ret->size - ret->n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		ret->n += (size_t)got;
		if (ret->n > DOWNLOAD_SIZE_MAX)
			return -EFBIG;
	}
}

json_t *values_json(const struct download *text)
{
	json_wipe_on_free();
	json_t *values = json_loadb(text->bytes ? text->bytes : "", text->n, 0, NULL);
	const char *name;
	json_t *value;

	json_object_foreach(values, name, value)
	{
		if (!json_is_string(value)) {
			json_decref(values);
			return NULL;
		}
	}
	if (json_is_object(values))
		return values;
	json_decref(values);
	return NULL;
}

static int prepare_arena(const json_t *values, struct dsec_error *err)
{
	static bool made;
	const char *name;
	json_t *value;
	size_t size = 0;

	if (made)
		return 0;
	/* json_object_foreach wants to be able to change what it goes through. */
	json_object_foreach((json_t *)values, name, value) size +=
		json_string_length(value) + ARENA_A_VALUE;
	int r = secret_arena_init(size + ARENA_A_VALUE, err);
	made = r == 0;
	return r;
}

static int compare_keys(const void *a, const void *b)
{
	const struct static_secret *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int collect(struct static_secret *statics, size_t *ret_n, const json_t *values,
		   struct dsec_error *err)
{
	const char *name;
	json_t *value;
	size_t n = 0;

	*ret_n = 0;
	json_object_foreach((json_t *)values, name, value)
	{
		struct secret *secret;
		int r = secret_new(&secret, json_string_value(value), json_string_length(value),
				   err);

		if (r < 0)
			return r;
		statics[n++] = (struct static_secret){.key = name, .value = secret};
		*ret_n = n;
	}
	qsort(statics, n, sizeof(*statics), compare_keys);
	return 0;
}

static const char *value_of(const json_t *values, const char *name)
{
	const char *text = json_string_value(json_object_get(values, name));

	return text ? text : "";
}

/* Without the blanks that a person may have put between the names; NULL stays NULL. */
static char *plain_list(const char *list)
{
	char name[VALUES_NAME_MAX];
	size_t n = 0;

	if (!list)
		return NULL;
	size_t size = strlen(list) + 2;
	char *to = alloc_zeroed(size, 1);
	while (values_next_name(&list, name))
		n += (size_t)snprintf(to + n, size - n, "%s%s", n > 0 ? "," : "", name);
	return to;
}

int values_render(struct download *ret, const json_t *values, const struct download_choice *choice,
		  struct dsec_error *err)
{
	struct static_secret *statics =
		alloc_zeroed(json_object_size(values) + 1, sizeof(*statics));
	_cleanup_free_ char *only = plain_list(choice->only);
	struct download_choice all = *choice;
	struct config config = {
		.project = value_of(values, "DOPPLER_PROJECT"),
		.name = value_of(values, "DOPPLER_CONFIG"),
		.environment = value_of(values, "DOPPLER_ENVIRONMENT"),
		.statics = statics,
	};

	/* Where only some of the three are there, the choice names those. */
	all.fixed = config.project[0] || config.name[0] || config.environment[0];
	all.dynamics = false;
	all.only = only;
	int r = prepare_arena(values, err);
	if (r == 0)
		r = collect(statics, &config.n_statics, values, err);
	if (r == 0 && download_render_as(ret, &config, NULL, &all) < 0)
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "the secrets are longer than %lu bytes",
				   DOWNLOAD_SIZE_MAX);
	for (size_t i = 0; i < config.n_statics; i++)
		secret_unref(statics[i].value);
	free(statics);
	return r;
}

const char *values_next_name(const char **at, char to[VALUES_NAME_MAX])
{
	while (**at) {
		*at += strspn(*at, ", ");
		size_t n = strcspn(*at, ", ");
		const char *from = *at;

		*at += n;
		if (n == 0)
			continue;
		if (n >= VALUES_NAME_MAX) /* no key is so long: cut, it is none either */
			n = VALUES_NAME_MAX - 1;
		memcpy(to, from, n);
		to[n] = '\0';
		return to;
	}
	return NULL;
}

size_t values_missing(const json_t *values, const char *list, char *to, size_t size)
{
	char name[VALUES_NAME_MAX];
	size_t n = 0, length = 0;

	to[0] = '\0';
	while (values_next_name(&list, name)) {
		if (json_object_get(values, name))
			continue;
		if (length < size)
			length += (size_t)snprintf(to + length, size - length, "%s%s",
						   n > 0 ? ", " : "", name);
		n++;
	}
	return n;
}
