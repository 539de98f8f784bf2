/*
 * xml.h: XML as AWS's query services write it: indented, a text element a line.
 */
#ifndef DSEC_TESTS_IAM_XML_H
#define DSEC_TESTS_IAM_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

/* Zero-initialised is an empty document. Element names are borrowed until xml_close. */
struct xml {
	struct text text;
	unsigned depth;
	const char *open[16];
};

void xml_open(struct xml *xml, const char *name);
void xml_open_ns(struct xml *xml, const char *name, const char *ns);
void xml_close(struct xml *xml); /* the innermost open element */
void xml_empty(struct xml *xml, const char *name);
void xml_string(struct xml *xml, const char *name, const char *value); /* NULL: nothing */
void xml_bool(struct xml *xml, const char *name, bool value);
void xml_number(struct xml *xml, const char *name, int64_t value);
void xml_date(struct xml *xml, const char *name, int64_t wall_ms); /* 2024-05-06T07:08:09Z */
void xml_clear(struct xml *xml);

#endif
