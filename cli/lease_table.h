/*
 * lease_table.h: the leases as a table that people like to read.
 */
#ifndef DSEC_CLI_LEASE_TABLE_H
#define DSEC_CLI_LEASE_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_TABLE_ID  8 /* so much of an id is shown on a terminal, and is enough to name it */
#define LEASE_TABLE_BAR 10
#define LEASE_TIME_MAX  16
#define LEASE_BAR_MAX   (LEASE_TABLE_BAR * 3 + 1)

/* The list's leases, the one that ends first above, to stdout. `columns`: the terminal's (then ids
 * and users are shortened to what fits); 0: it goes into a file. `now_s`: seconds of the calendar.
 */
void lease_table_print(const json_t *leases, size_t columns, bool colour, int64_t now_s);

/* "3h 12m", "42s": the two greatest units, at most; "-" below 0. */
void lease_time_text(char to[LEASE_TIME_MAX], int64_t seconds);

/* How much of a lease's time is left, as LEASE_TABLE_BAR cells. */
void lease_bar_text(char to[LEASE_BAR_MAX], int64_t left_s, int64_t whole_s);

#endif
