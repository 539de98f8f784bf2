#include "cli/printable.h"

#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/error.h"

#define ESCAPED_MAX 4 /* bytes that are printed for one */

static void printable_string(json_t *string)
{
	size_t size = ESCAPED_MAX * json_string_length(string) + 1;
	/* Not on the stack: values nest as deep as who wrote them likes. */
	_cleanup_free_ char *printable = alloc_zeroed(size, 1);

	dsec_print_safely(printable, size, json_string_value(string));
	json_string_set(string, printable);
}

void printable_json(json_t *value)
{
	const char *key;
	json_t *at;
	size_t i;

	if (json_is_string(value))
		printable_string(value);
	json_object_foreach(value, key, at) printable_json(at);
	json_array_foreach(value, i, at) printable_json(at);
}
