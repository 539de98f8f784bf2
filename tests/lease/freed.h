/*
 * freed.h: finds secrets in memory that is given back. A test that uses it is linked with
 * --wrap=free, so that all that the program and its static libraries free is looked at first.
 */
#ifndef DSEC_TESTS_LEASE_FREED_H
#define DSEC_TESTS_LEASE_FREED_H

#include <stddef.h>

/* From now on freed memory is searched for this text (NULL: no more). */
void freed_watch(const char *secret);

/* How often it was found since then. */
size_t freed_unwiped(void);

#endif
