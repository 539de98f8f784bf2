/*
 * form.h: the parameters of a query-protocol call (application/x-www-form-urlencoded).
 */
#ifndef DSEC_TESTS_IAM_FORM_H
#define DSEC_TESTS_IAM_FORM_H

#include <stddef.h>

#define FORM_PARAMETERS_MAX 1000 /* more are ignored; SimulatePrincipalPolicy sends the most */

struct form;

struct form *form_parse(const char *body, size_t size);
struct form *form_free(struct form *form);
const char *form_get(const struct form *form, const char *name); /* NULL: not there */
/* NAME.member.INDEX, or NAME.member.INDEX.FIELD where `field` is not NULL; indexes start at 1. */
const char *form_member(const struct form *form, const char *name, unsigned index,
			const char *field);

#endif
