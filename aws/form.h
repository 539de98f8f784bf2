/*
 * form.h: a request's body: name=value&…, encoded as the pickiest of the servers wants it.
 *
 * moto signs a body that it has encoded again, so a space is '+', and every byte but
 * A-Z a-z 0-9 - . _ ~ is percent-encoded in upper case; AWS and Ceph take the bytes as they come.
 */
#ifndef DSEC_AWS_FORM_H
#define DSEC_AWS_FORM_H

#include <stddef.h>

struct form {
	char *text; /* terminated; NULL while empty */
	size_t n, size;
};

/* Adds a field. A NULL value adds nothing, so that optional parameters need no test. */
void form_add(struct form *form, const char *name, const char *value);

/* Adds NAME.member.INDEX.FIELD=value, IAM's way to write lists; the index counts from 1 and `field`
 * is NULL for a list of plain values. */
void form_add_member(struct form *form, const char *name, size_t index, const char *field,
		     const char *value);

void form_finish(struct form *form);

#endif
