/*
 * source.h: the secrets of a config, from the mount where one can be seen, else from the daemon's
 * socket.
 */
#ifndef DSEC_CLI_SOURCE_H
#define DSEC_CLI_SOURCE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/command.h"
#include "cli/mounted.h"
#include "cli/names.h"
#include "cli/values.h"
#include "lease/download.h"
#include "lease/error.h"
#include "lease/journal.h"

/* A lease is made within the daemon's read_timeout, 30 s by default; an API that answers "not yet"
 * is asked again for so long. */
#define SOURCE_TIMEOUT_MS 60000

struct source {
	struct names names;
	bool is_mounted;
	struct mounted mounted;
	char socket[PATH_MAX]; /* where it is not mounted */
};

/* Takes --project, --config, --tree and --socket (which means the socket, whatever is mounted). */
int source_find(struct source *ret, const struct options *options, struct dsec_error *err);

/* What of the config is asked for, and in which leases. */
struct source_choice {
	struct download_choice download;
	int64_t ttl_ms; /* 0: each secret's own */
	bool own;       /* a lease for this process alone, which ends when it lets go */
};

/* What has to be held for the lease to go on: an open file of the mount, or at the socket nothing:
 * there the holder renews and revokes by id. */
#define SOURCE_LEASES_MAX 64 /* a config's dynamic secrets */
struct source_lease {
	int fd;                     /* -1: at the socket, or let go */
	bool lasts;                 /* not ours alone: it ends at its TTL, whoever holds it */
	char status_file[PATH_MAX]; /* in the mount; "": none */
	char ids[SOURCE_LEASES_MAX][LEASE_ID_MAX];
	size_t n_ids;
	int64_t end_s; /* at the socket: when the first of them ends, in seconds of the calendar */
};

/* Gets them, rendered as the choice says. `ret_lease` may be NULL where it is not to be held. With
 * `choice->download.only`, *ret_missing (may be NULL; for free()) names those that are not there,
 * "" for none. */
int source_get(struct download *ret, struct source_lease *ret_lease, char **ret_missing,
	       const struct source *source, const struct source_choice *choice,
	       struct dsec_error *err);

/* All keys of the config but those of the dynamic secret `except`, as a list with commas, for
 * free(). Leases nothing. */
int source_keys(char **ret, const struct source *source, const char *except,
		struct dsec_error *err);

/* Is the key of a dynamic secret, so that reading it leases. Only where it is mounted. */
bool source_is_dynamic(const struct source *source, const char *key);

/* --dynamic-ttl as Doppler's command takes it: 0 for the default when it is not given, zero or
 * negative. */
int source_ttl(int64_t *ret_ms, const char *text, struct dsec_error *err);

/* Seconds of the calendar from a time as dsec writes it; 0 where it is none. */
int64_t source_seconds(const char *iso);

#endif
