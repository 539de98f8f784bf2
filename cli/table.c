#include "cli/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t table_width(const char *text, size_t n)
{
	size_t width = 0;

	for (size_t i = 0; i < n; i++)
		width += ((unsigned char)text[i] & 0xc0) != 0x80; /* begins a character */
	return width;
}

static void widen(size_t *width, const char *cell)
{
	while (*cell) {
		size_t n = strcspn(cell, "\n"), w = table_width(cell, n);
		*width = w > *width ? w : *width;
		cell += n + (cell[n] == '\n');
	}
}

static void print_rule(const size_t *widths, size_t n, const char *left, const char *middle,
		       const char *right)
{
	for (size_t i = 0; i < n; i++) {
		fputs(i == 0 ? left : middle, stdout);
		for (size_t j = 0; j < widths[i] + 2; j++)
			fputs("─", stdout);
	}
	puts(right);
}

static void print_row(const size_t *widths, size_t n, const char *const *cells)
{
	const char *at[TABLE_COLUMNS_MAX];
	bool more = true;

	for (size_t i = 0; i < n; i++)
		at[i] = cells[i];
	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			size_t length = strcspn(at[i], "\n");
			printf("│ %.*s%*s ", (int)length, at[i],
			       (int)(widths[i] - table_width(at[i], length)), "");
			at[i] += length + (at[i][length] == '\n');
			more = more || *at[i];
		}
		puts("│");
	}
}

void table_print(const char *const *header, size_t n_columns, const char *const *cells,
		 size_t n_rows)
{
	size_t widths[TABLE_COLUMNS_MAX] = {0};

	for (size_t i = 0; i < n_columns; i++) {
		widen(&widths[i], header[i]);
		for (size_t row = 0; row < n_rows; row++)
			widen(&widths[i], cells[row * n_columns + i]);
	}
	print_rule(widths, n_columns, "┌", "┬", "┐");
	print_row(widths, n_columns, header);
	print_rule(widths, n_columns, "├", "┼", "┤");
	for (size_t row = 0; row < n_rows; row++)
		print_row(widths, n_columns, cells + row * n_columns);
	print_rule(widths, n_columns, "└", "┴", "┘");
}
