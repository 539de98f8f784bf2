/*
 * duration.h: durations as Doppler's clients write them, which is Go's: "90s", "30m", "1h30m",
 * "1.5h", "1500ms".
 */
#ifndef DSEC_LEASE_DURATION_H
#define DSEC_LEASE_DURATION_H

#include <stddef.h>
#include <stdint.h>

#define DURATION_MAX_MS   (366LL * 24 * 3600 * 1000) /* longer ones are refused */
#define DURATION_TEXT_MAX 32

/* Reads n bytes. 0; -EINVAL for anything that is no Go duration ("3", "3d", "3H", "", "h"); -ERANGE
 * beyond DURATION_MAX_MS or below 0. */
int duration_parse(const char *text, size_t n, int64_t *ret_ms);

/* The shortest form that reads back the same: 5400000 is "1h30m". */
void duration_format(char to[DURATION_TEXT_MAX], int64_t ms);

#endif
