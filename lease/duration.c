#include "lease/duration.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000ULL
#define MAX_NS    ((uint64_t)DURATION_MAX_MS * NS_PER_MS)

/* Digits of a fraction that are looked at: as many as fit, like Go's; the rest is read over. */
#define FRACTION_MAX 100000000000000000ULL

static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{"h", 3600ULL * 1000 * NS_PER_MS},
	{"m", 60ULL * 1000 * NS_PER_MS},
	{"s", 1000 * NS_PER_MS},
	{"ms", NS_PER_MS},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
	{"\xce\xbcs", 1000}, /* U+03BC, Greek mu */
	{"ns", 1},
};

struct scan {
	const char *at, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool at_digit(const struct scan *scan)
{
	return scan->at < scan->end && is_digit(*scan->at);
}

/* The unit is everything up to the next number, as in Go, so that "3hm" is no duration. */
static const struct unit *scan_unit(struct scan *scan)
{
	const char *from = scan->at;

	while (scan->at < scan->end && *scan->at != '.' && !is_digit(*scan->at))
		scan->at++;
	size_t n = (size_t)(scan->at - from);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == n && memcmp(units[i].name, from, n) == 0)
			return &units[i];
	return NULL;
}

/* One "1.5h" of a duration, added to *total, which stops growing beyond MAX_NS. */
static int scan_term(struct scan *scan, uint64_t *total)
{
	uint64_t whole = 0, fraction = 0;
	double scale = 1;
	size_t digits = 0;

	for (; at_digit(scan); scan->at++, digits++)
		if (whole <= MAX_NS)
			whole = whole * 10 + (uint64_t)(*scan->at - '0');
	if (scan->at < scan->end && *scan->at == '.') {
		for (scan->at++; at_digit(scan); scan->at++, digits++)
			if (fraction < FRACTION_MAX) {
				fraction = fraction * 10 + (uint64_t)(*scan->at - '0');
				scale *= 10;
			}
	}
	if (digits == 0)
		return -EINVAL;
	const struct unit *unit = scan_unit(scan);
	if (!unit)
		return -EINVAL;

	if (whole > MAX_NS / unit->ns || *total > MAX_NS) {
		*total = MAX_NS + 1;
		return 0;
	}
	*total += whole * unit->ns;
	/* Go's arithmetic, so that both sides of the wire get the same number. */
	*total += (uint64_t)((double)fraction * ((double)unit->ns / scale));
	return 0;
}

int duration_parse(const char *text, size_t n, int64_t *ret_ms)
{
	struct scan scan = {.at = text, .end = text + n};
	bool negative = false;
	uint64_t total = 0;

	if (n > 0 && (*text == '-' || *text == '+')) {
		negative = *text == '-';
		scan.at++;
	}
	if (scan.at == scan.end)
		return -EINVAL;
	if (scan.end - scan.at == 1 && *scan.at == '0') { /* the one number without a unit */
		*ret_ms = 0;
		return 0;
	}
	while (scan.at < scan.end) {
		int r = scan_term(&scan, &total);
		if (r < 0)
			return r;
	}
	if (total > MAX_NS || (negative && total > 0))
		return -ERANGE;
	*ret_ms = (int64_t)(total / NS_PER_MS);
	return 0;
}

void duration_format(char to[DURATION_TEXT_MAX], int64_t ms)
{
	int64_t hours = ms / 3600000;
	int minutes = (int)(ms / 60000 % 60), seconds = (int)(ms / 1000 % 60);
	int thousandths = (int)(ms % 1000);
	size_t n = 0;

	if (hours > 0)
		n += (size_t)snprintf(to, DURATION_TEXT_MAX, "%lldh", (long long)hours);
	if (minutes > 0)
		n += (size_t)snprintf(to + n, DURATION_TEXT_MAX - n, "%dm", minutes);
	if (thousandths == 0) {
		if (seconds > 0 || n == 0)
			snprintf(to + n, DURATION_TEXT_MAX - n, "%ds", seconds);
		return;
	}
	if (seconds == 0) {
		snprintf(to + n, DURATION_TEXT_MAX - n, "%dms", thousandths);
		return;
	}
	int digits = 3;
	for (; thousandths % 10 == 0; thousandths /= 10)
		digits--;
	snprintf(to + n, DURATION_TEXT_MAX - n, "%d.%0*ds", seconds, digits, thousandths);
}
