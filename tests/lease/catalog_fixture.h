/* catalog_fixture.h: a system whose files, users and groups a test of the catalog owns. */
#ifndef DSEC_TESTS_LEASE_CATALOG_FIXTURE_H
#define DSEC_TESTS_LEASE_CATALOG_FIXTURE_H

#include "lease/catalog.h"

void fixture_system(struct catalog_system *system);

/* For cmocka: the arena that static secrets need. */
int fixture_open_arena(void **state);
int fixture_close_arena(void **state);

#endif
