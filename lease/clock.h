/*
 * clock.h: time and randomness as the domain asks for them, so that a test or a simulation can own
 * both.
 *
 * Two times, both in milliseconds, told apart by name:
 *   …_at     boottime: CLOCK_BOOTTIME, counts through suspend, never steps. All waiting and all
 * TTLs use it. …_ms     calendar: milliseconds since the epoch, UTC. Told to people and to AWS.
 */
#ifndef DSEC_LEASE_CLOCK_H
#define DSEC_LEASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define DSEC_NEVER INT64_MAX /* a deadline that does not come */

struct clock {
	int64_t (*boottime_at)(const struct clock *clock);
	int64_t (*calendar_ms)(const struct clock *clock);
	/* Fills n bytes that nobody can guess. */
	void (*random_bytes)(const struct clock *clock, void *to, size_t n);
};

/* The machine's own clock and getrandom(2). */
extern const struct clock system_clock;

#define CLOCK_ISO_MAX 25 /* "2022-02-15T17:04:54.782Z" and its end */

/* Doppler's form of a time: UTC with milliseconds. */
void clock_iso(char to[CLOCK_ISO_MAX], int64_t calendar_ms);

#define CLOCK_COMPACT_MAX 17 /* "20220215T170454Z" and its end */

/* The form that stands in a user's path; whole seconds, rounded up so that it is never early. */
void clock_compact(char to[CLOCK_COMPACT_MAX], int64_t calendar_ms);

/* Reads clock_compact's form, exactly; 0 or -EINVAL. */
int clock_parse_compact(const char *text, int64_t *ret_calendar_ms);

#endif
