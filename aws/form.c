#include "aws/form.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

#define FIELD_NAME_MAX 128

static void append(struct form *form, char c)
{
	if (form->n + 1 >= form->size) {
		form->size = form->size ? 2 * form->size : 256;
		form->text = alloc_resized(form->text, form->size, 1);
	}
	form->text[form->n++] = c;
	form->text[form->n] = '\0';
}

/* Not isalnum(3): the locale has no say in what is signed. */
static bool stays_as_it_is(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~", c));
}

static void append_encoded(struct form *form, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == ' ') {
			append(form, '+');
		} else if (stays_as_it_is(c)) {
			append(form, (char)c);
		} else {
			append(form, '%');
			append(form, digits[c >> 4]);
			append(form, digits[c & 15]);
		}
	}
}

void form_add(struct form *form, const char *name, const char *value)
{
	if (!value)
		return;
	if (form->n > 0)
		append(form, '&');
	append_encoded(form, name);
	append(form, '=');
	append_encoded(form, value);
}

void form_add_member(struct form *form, const char *name, size_t index, const char *field,
		     const char *value)
{
	char full[FIELD_NAME_MAX];

	snprintf(full, sizeof(full), "%s.member.%zu%s%s", name, index, field ? "." : "",
		 field ? field : "");
	form_add(form, full, value);
}

void form_finish(struct form *form)
{
	free(form->text);
	*form = (struct form){0};
}
