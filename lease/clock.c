#include "lease/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_boottime_at(const struct clock *clock)
{
	return read_ms(CLOCK_BOOTTIME);
}

static int64_t system_calendar_ms(const struct clock *clock)
{
	return read_ms(CLOCK_REALTIME);
}

static void system_random_bytes(const struct clock *clock, void *to, size_t n)
{
	unsigned char *at = to;

	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* a kernel without getrandom(2) cannot run this program */
		}
		at += got;
		n -= (size_t)got;
	}
}

const struct clock system_clock = {
	.boottime_at = system_boottime_at,
	.calendar_ms = system_calendar_ms,
	.random_bytes = system_random_bytes,
};

/* The forms have room for years of four digits. What lies beyond (DSEC_NEVER, say) becomes the
 * first or the last moment that they can tell. */
#define FIRST_MS INT64_C(-30610224000000) /* 1000-01-01T00:00:00Z */
#define LAST_MS  INT64_C(253402300799000) /* 9999-12-31T23:59:59Z */

static int64_t clamp(int64_t ms)
{
	return ms < FIRST_MS ? FIRST_MS : ms > LAST_MS ? LAST_MS : ms;
}

static int64_t floor_seconds(int64_t ms)
{
	return ms >= 0 ? ms / 1000 : -((999 - ms) / 1000);
}

void clock_iso(char to[CLOCK_ISO_MAX], int64_t calendar_ms)
{
	int64_t ms = clamp(calendar_ms);
	time_t seconds = floor_seconds(ms);
	struct tm tm;
	char date[CLOCK_ISO_MAX];

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(to, CLOCK_ISO_MAX, "%.19s.%03dZ", date, (int)(ms - seconds * 1000));
}

void clock_compact(char to[CLOCK_COMPACT_MAX], int64_t calendar_ms)
{
	time_t seconds = floor_seconds(clamp(calendar_ms) + 999);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(to, CLOCK_COMPACT_MAX, "%Y%m%dT%H%M%SZ", &tm);
}

/* What is no digit gives some number, too. */
static int number(const char *text, int n_digits)
{
	int n = 0;

	for (int i = 0; i < n_digits; i++)
		n = n * 10 + (text[i] - '0');
	return n;
}

int clock_parse_compact(const char *text, int64_t *ret_calendar_ms)
{
	char again[CLOCK_COMPACT_MAX];
	struct tm back;

	if (strlen(text) != CLOCK_COMPACT_MAX - 1)
		return -EINVAL;
	struct tm tm = {
		.tm_year = number(text, 4) - 1900,
		.tm_mon = number(text + 4, 2) - 1,
		.tm_mday = number(text + 6, 2),
		.tm_hour = number(text + 9, 2),
		.tm_min = number(text + 11, 2),
		.tm_sec = number(text + 13, 2),
	};
	time_t seconds = timegm(&tm);
	/* Written again, it must be the same text: this refuses the 31st of February and whatever
	 * is not a digit. */
	gmtime_r(&seconds, &back);
	strftime(again, sizeof(again), "%Y%m%dT%H%M%SZ", &back);
	if (strcmp(text, again) != 0)
		return -EINVAL;
	*ret_calendar_ms = (int64_t)seconds * 1000;
	return 0;
}
