#include "form.h"

#include <string.h>

#include "map.h"
#include "text.h"

struct form {
	struct map *values;
	size_t n_kept;
	char *kept[FORM_PARAMETERS_MAX];
};

static char *decoded(const char *bytes, size_t size)
{
	struct text text = {0};

	text_add_decoded(&text, bytes, size, true);
	return text_take(&text);
}

struct form *form_parse(const char *body, size_t size)
{
	struct form *form = must_alloc(sizeof(*form));
	const char *end = body + size;

	form->values = map_new(false);
	while (body < end && form->n_kept < FORM_PARAMETERS_MAX) {
		const char *stop = memchr(body, '&', (size_t)(end - body));

		stop = stop ? stop : end;

		const char *equals = memchr(body, '=', (size_t)(stop - body));
		const char *name_end = equals ? equals : stop;
		_cleanup_free_ char *name = decoded(body, (size_t)(name_end - body));

		if (*name && !map_get(form->values, name)) {
			const char *value = equals ? equals + 1 : stop;
			char *kept = decoded(value, (size_t)(stop - value));

			form->kept[form->n_kept++] = kept;
			map_put(form->values, name, kept);
		}
		body = stop + 1;
	}
	return form;
}

struct form *form_free(struct form *form)
{
	if (!form)
		return NULL;
	for (size_t i = 0; i < form->n_kept; i++)
		free(form->kept[i]);
	map_free(form->values);
	free(form);
	return NULL;
}

const char *form_get(const struct form *form, const char *name)
{
	return map_get(form->values, name);
}

const char *form_member(const struct form *form, const char *name, unsigned index,
			const char *field)
{
	_cleanup_free_ char *full =
		must_printf("%s.member.%u%s%s", name, index, field ? "." : "", field ? field : "");

	return form_get(form, full);
}
