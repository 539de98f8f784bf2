#include "lease/json_text.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "lease/secret.h"

const char *json_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

const char *json_syntax_message(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_duplicate_key:
		return "a member occurs twice";
	case json_error_premature_end_of_input:
		return "it ends too early";
	case json_error_end_of_input_expected:
		return "something follows its end";
	case json_error_invalid_utf8:
		return "it has bytes that are no UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "it has a NUL character";
	case json_error_numeric_overflow:
		return "a number is too large";
	case json_error_stack_overflow:
		return "it is nested too deeply";
	case json_error_out_of_memory:
		return "there is no memory for it";
	default:
		return "a comma, colon, quote or bracket is missing or too many";
	}
}

/* The size comes from malloc itself, so that memory from before json_wipe_on_free may be freed
 * here too. */
static void wipe_and_free(void *bytes)
{
	if (!bytes)
		return;
	secret_wipe(bytes, malloc_usable_size(bytes));
	free(bytes);
}

static void set_functions(void)
{
	json_set_alloc_funcs(malloc, wipe_and_free);
}

void json_wipe_on_free(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_functions);
}
