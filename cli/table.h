/*
 * table.h: rows with a frame, as Doppler's command draws them.
 */
#ifndef DSEC_CLI_TABLE_H
#define DSEC_CLI_TABLE_H

#include <stddef.h>

#define TABLE_COLUMNS_MAX 4

/* Columns that a text takes on a terminal, as far as that can be known without its font. */
size_t table_width(const char *text, size_t n);

/* Prints a header and rows of n_columns cells each to stdout; a cell may have several lines. */
void table_print(const char *const *header, size_t n_columns, const char *const *cells,
		 size_t n_rows);

#endif
