/*
 * json_text.h: what jansson does not tell of a JSON text: where a value stands, what is wrong with
 * the text in words that show nothing of it, and memory that is wiped.
 */
#ifndef DSEC_LEASE_JSON_TEXT_H
#define DSEC_LEASE_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* One step of a path into a document: into the member `key`, or if that is NULL, the element
 * `index`. */
struct json_step {
	const char *key;
	size_t index;
};

/* The offset of what the path leads to: of a member's name, of an element itself. Where the path
 * leads nowhere, that of the last step that could be made. The text is one that jansson has
 * accepted; any other is read without harm. */
size_t json_locate(const char *text, size_t n, const struct json_step *steps, size_t n_steps);

/* The line, from 1, of an offset. */
unsigned json_line(const char *text, size_t n, size_t offset);

/* "an object", "a list", "a string", "a number", "a boolean" or "null". */
const char *json_type_name(const json_t *value);

/* What is wrong, as the end of a sentence. jansson's own message quotes the text, which may be a
 * secret. */
const char *json_syntax_message(const json_error_t *error);

/* From now on jansson wipes the memory it frees, for the whole process. May be called again. */
void json_wipe_on_free(void);

#endif
