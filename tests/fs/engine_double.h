/*
 * engine_double.h: an engine for the filesystem's tests, whose leases come when the test says so.
 *
 * It implements what fs/ calls of lease/engine.h. A lease's key tells whose it is, so that a reader
 * that is given another's bytes is seen: access key id "AKIA" and 16 digits, the first six of them
 * the holder (0: shared), the others the generation.
 */
#ifndef DSEC_TESTS_FS_ENGINE_DOUBLE_H
#define DSEC_TESTS_FS_ENGINE_DOUBLE_H

#include <stdint.h>

#include "fs/fs.h"
#include "lease/engine.h"

struct engine *double_new(struct catalog *catalog);
struct engine *double_free(struct engine *engine);
void double_publish_to(struct engine *engine, struct fs *fs);
void double_reload(struct engine *engine, struct catalog *catalog);

/* How acquires for a config of that name end from now on: after delay_ms (-1: when it is changed),
 * with that error (-1: none). */
void double_script(struct engine *engine, const char *config, int delay_ms, int error_kind);

/* Answers what is due; returns the milliseconds until it wants to be called again, or -1. */
int double_tick(struct engine *engine);

/* A newer lease for each slot of that config; of a slot's leases all but the newest `keep` end. */
void double_rotate(struct engine *engine, const char *config, size_t keep);
/* Each lease of that config is told to be replaced. */
void double_replace(struct engine *engine, const char *config);
void double_end_all(struct engine *engine);

struct double_counts {
	unsigned acquires, leases, abandoned, waiting;
	unsigned let_go; /* leases that ended with their holder */
	unsigned refused;
};
struct double_counts double_counts(const struct engine *engine);

#endif
