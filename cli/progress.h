/*
 * progress.h: how far a revocation is: one line on a terminal, rewritten in place; elsewhere
 * nothing.
 */
#ifndef DSEC_CLI_PROGRESS_H
#define DSEC_CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#define PROGRESS_UNKNOWN (-1)

/* "revoking 4,213 of 5,000, about 3 min left"; the time is left out when estimate_ms is
 * PROGRESS_UNKNOWN. */
#define PROGRESS_TEXT_MAX 96
void progress_text(char to[PROGRESS_TEXT_MAX], size_t left, size_t total, int64_t estimate_ms);

void progress_show(size_t left, size_t total, int64_t estimate_ms);

/* Takes the line away, so that something else can be written. */
void progress_clear(void);

#endif
