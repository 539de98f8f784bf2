/*
 * skew.h: how far the local clock is from AWS's.
 *
 * AWS refuses a request whose X-Amz-Date is more than five minutes from its own time. Its time
 * stands in the Date of every answer, and every answer that gets here came over verified TLS or
 * loopback, so it may be believed. A difference of minutes is mended by signing with AWS's time;
 * one of hours is a broken clock, on which no lease's end could be told.
 */
#ifndef DSEC_AWS_SKEW_H
#define DSEC_AWS_SKEW_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/error.h"

/* Below this the local time is signed as it is: Date has whole seconds and travels for some. */
#define SKEW_TOLERATED_MS 60000

struct skew {
	bool known;
	int64_t offset_ms; /* AWS's time less ours */
};

/* An answer of `server_ms` (0: it had no Date) came at the local time `local_ms`. */
void skew_learn(struct skew *skew, int64_t server_ms, int64_t local_ms);

/* What to sign with at the local time `local_ms`: AWS's time where the two differ and can be
 * mended, else the local one. */
int64_t skew_signing_time(const struct skew *skew, int64_t local_ms);

/* AWS refused a request that was signed with `signed_ms`. If the clock explains it, says so: BUSY,
 * because the next attempt is signed right, or CLOCK_SKEW; else 0. */
int skew_explains(const struct skew *skew, int64_t signed_ms, int64_t local_ms,
		  struct dsec_error *err);

#endif
