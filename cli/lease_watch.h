/*
 * lease_watch.h: the leases that a command runs with: renewed while it runs, told when they will
 * end, and ended with it.
 *
 * What is held as an open file of the mount is renewed by its daemon, and ends when the file is
 * closed. What came from the socket is renewed and revoked here.
 */
#ifndef DSEC_CLI_LEASE_WATCH_H
#define DSEC_CLI_LEASE_WATCH_H

#include <stdint.h>

#include "cli/source.h"

struct lease_watch {
	const struct source *source;
	struct source_lease lease;
};

/* Tells on stderr when a lease is soon to end for good, and renews what nobody else renews, on a
 * thread of its own. */
void lease_watch_begin(struct lease_watch *watch);

/* Lets the leases go. */
void lease_watch_end(struct lease_watch *watch);

/* From the text of a .status: the lease's present end, and the last that it can have, in seconds of
 * the calendar. -ENOENT where the lease is not in it. */
int lease_watch_ends(const char *status, const char *id, int64_t *ret_end, int64_t *ret_last);

#endif
