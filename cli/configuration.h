/*
 * configuration.h: dsec.json as the commands use it: read, its problems told.
 */
#ifndef DSEC_CLI_CONFIGURATION_H
#define DSEC_CLI_CONFIGURATION_H

#include "lease/catalog.h"
#include "lease/error.h"

/* Reads the file and logs every problem in it. NULL when it is not usable. Before the
 * first one it prepares the process for secrets: memory for them, and libraries that wipe theirs;
 * so nothing that uses OpenSSL or curl comes before it, and no thread. */
struct catalog *configuration_load(const char *file);

/* That preparation alone, for who needs a secret first. */
int configuration_prepare(const char *file, struct dsec_error *err);
/* Prepares the process for secrets in memory that outlives it (secret_arena_init_shared). Before
 * the first configuration_load, which then does not. */
int configuration_prepare_shared(const char *file, int secret_fd, struct dsec_error *err);

/* How many leases' secrets the prepared memory has room for at once: IAM's most users an account,
 * or fewer where RLIMIT_MEMLOCK allows no more. */
#define CONFIGURATION_LEASES_MAX 5000
unsigned configuration_leases_max(void);
/* What has to be lockable for CONFIGURATION_LEASES_MAX, in bytes. */
size_t configuration_memory(void);

static inline void catalog_unrefp(struct catalog **catalog)
{
	catalog_unref(*catalog);
}
#define _cleanup_catalog_ __attribute__((cleanup(catalog_unrefp)))

#endif
