/*
 * lease_private.h: how the engine makes the leases that others read.
 */
#ifndef DSEC_LEASE_LEASE_PRIVATE_H
#define DSEC_LEASE_LEASE_PRIVATE_H

#include "lease/engine.h"

/* A lease with one reference: a copy of `from`, its texts included, with a reference to its secret.
 */
struct lease *lease_new(const struct lease *from);
struct lease *lease_without_secret(const struct lease *lease); /* else a copy, with one reference */

#endif
