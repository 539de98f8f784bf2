/*
 * rotation.h: what the configuration wants done when a lease is replaced: `on_rotate`.
 *
 * The keeper runs the command and sends the signal, since the worker may do neither. A command runs
 * once at a time for each dynamic secret: what comes while it runs makes it run once more.
 */
#ifndef DSEC_CLI_ROTATION_H
#define DSEC_CLI_ROTATION_H

#include <stdint.h>

#include "fs/door.h"
#include "fs/fs.h"
#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/engine.h"

#define ROTATION_TIMEOUT_MS 60000 /* then the command is killed */
#define ROTATION_RETRY_MS   1000  /* when it could not be started */
#define ROTATION_TRIES_MAX  10

struct rotations;

/* The door and the clock stay the caller's. NULL when descriptors are short. */
struct rotations *rotations_new(struct door *door, const struct clock *clock);
struct rotations *rotations_free(struct rotations *rotations); /* NULL-safe; returns NULL */

/* A lease of this catalog is replaced. */
void rotations_add(struct rotations *rotations, const struct catalog *catalog,
		   const struct lease *lease, const struct fs *fs);

/* Readable: rotations_dispatch throws away what commands print. */
int rotations_fd(const struct rotations *rotations);
void rotations_dispatch(struct rotations *rotations);

/* The keeper says that a command has ended; false: it is none of these. */
bool rotations_exited(struct rotations *rotations, int run, int status);

/* Starts and kills what is due. When it wants to be called again, or DSEC_NEVER. */
int64_t rotations_due(struct rotations *rotations, int64_t now_at);

#endif
