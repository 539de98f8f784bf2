/*
 * sample.h: a catalog and leases for the tests that need no mount.
 */
#ifndef DSEC_TESTS_FS_SAMPLE_H
#define DSEC_TESTS_FS_SAMPLE_H

#include "lease/catalog.h"
#include "lease/engine.h"

/* Project app: dev (AWS_USER, TTL 30m, shared; a static REGION of that value), own (AWS_USER of
 * scope user), two (AWS_ONE, AWS_TWO), plain (A=1). */
struct catalog *sample_catalog(const char *region);

/* A lease of app/CONFIG's secret as that catalog would have it, good for an hour from now_at, for
 * readers of that holder; with one reference. */
struct lease *sample_lease(const struct catalog *catalog, const char *config, const char *secret,
			   uint64_t generation, lease_holder holder, int64_t now_at);

#endif
