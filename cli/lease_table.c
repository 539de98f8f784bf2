#include "cli/lease_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/source.h"
#include "cli/style.h"
#include "cli/table.h"
#include "lease/alloc.h"

#define USER_PREFIX "Doppler-Dynamic-"
#define CELL_MAX    448 /* project/config/secret, each as long as it may be */

enum { ID, SECRET, USER, HOLDER, AGE, CELLS };
static const char *const titles[CELLS] = {"ID", "SECRET", "USER", "HOLDER", "AGE"};

struct row {
	char cells[CELLS][CELL_MAX];
	const char *state;
	int64_t left_s, whole_s;
};

static const char *member(const json_t *lease, const char *name)
{
	const char *text = json_string_value(json_object_get(lease, name));

	return text ? text : "";
}

void lease_time_text(char to[LEASE_TIME_MAX], int64_t seconds)
{
	long long s = seconds;

	if (s < 0)
		snprintf(to, LEASE_TIME_MAX, "-");
	else if (s < 60)
		snprintf(to, LEASE_TIME_MAX, "%llds", s);
	else if (s < 600)
		snprintf(to, LEASE_TIME_MAX, "%lldm %llds", s / 60, s % 60);
	else if (s < 3600)
		snprintf(to, LEASE_TIME_MAX, "%lldm", s / 60);
	else if (s < 86400)
		snprintf(to, LEASE_TIME_MAX, "%lldh %lldm", s / 3600, s / 60 % 60);
	else
		snprintf(to, LEASE_TIME_MAX, "%lldd %lldh", s / 86400 % 10000, s / 3600 % 24);
}

void lease_bar_text(char to[LEASE_BAR_MAX], int64_t left_s, int64_t whole_s)
{
	int64_t full = whole_s > 0 ? (left_s * LEASE_TABLE_BAR + whole_s - 1) / whole_s : 0;
	size_t n = 0;

	for (int64_t i = 0; i < LEASE_TABLE_BAR; i++)
		n += (size_t)snprintf(to + n, LEASE_BAR_MAX - n, "%s", i < full ? "█" : "░");
}

static void fill(struct row *row, const json_t *lease, bool brief, int64_t now_s)
{
	const char *id = member(lease, "id"), *user = member(lease, "user");
	int64_t start_s = source_seconds(member(lease, "start"));
	int64_t end_s = source_seconds(member(lease, "expires"));
	char age[LEASE_TIME_MAX];

	lease_time_text(age, now_s - start_s);
	snprintf(row->cells[ID], CELL_MAX, "%.*s", brief ? LEASE_TABLE_ID : CELL_MAX - 1, id);
	snprintf(row->cells[SECRET], CELL_MAX, "%.128s/%.128s/%.128s", member(lease, "project"),
		 member(lease, "config"), member(lease, "secret"));
	if (brief && strncmp(user, USER_PREFIX, strlen(USER_PREFIX)) == 0)
		snprintf(row->cells[USER], CELL_MAX, "…%s", user + strlen(USER_PREFIX));
	else
		snprintf(row->cells[USER], CELL_MAX, "%s", user);
	snprintf(row->cells[HOLDER], CELL_MAX, "%s", member(lease, "holder"));
	snprintf(row->cells[AGE], CELL_MAX, "%s", age);
	row->state = member(lease, "state");
	row->left_s = end_s - now_s;
	row->whole_s = end_s - start_s;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->left_s > y->left_s) - (x->left_s < y->left_s);
}

static void print_cell(const char *text, size_t width)
{
	printf("%s%*s  ", text, (int)(width - table_width(text, strlen(text))), "");
}

static enum style style_of(const struct row *row)
{
	if (row->left_s * 10 < row->whole_s)
		return STYLE_RED;
	return row->left_s * 2 < row->whole_s ? STYLE_YELLOW : STYLE_GREEN;
}

static void print_left(const struct row *row, bool colour)
{
	char bar[LEASE_BAR_MAX], left[LEASE_TIME_MAX];

	if (strcmp(row->state, "active") != 0) {
		printf("%s%s%s\n", style_on(colour, STYLE_DIM), row->state, style_off(colour));
		return;
	}
	lease_bar_text(bar, row->left_s, row->whole_s);
	lease_time_text(left, row->left_s < 0 ? 0 : row->left_s);
	printf("%s%s%s %s\n", style_on(colour, style_of(row)), bar, style_off(colour), left);
}

static size_t width_of(const size_t widths[CELLS])
{
	size_t width = LEASE_TABLE_BAR + 1 + strlen("23h 59m");

	for (int i = 0; i < CELLS; i++)
		width += widths[i] + 2;
	return width;
}

static size_t collect(struct row *rows, const json_t *leases, bool brief, int64_t now_s,
		      size_t widths[CELLS])
{
	const json_t *lease;
	size_t n;

	for (int i = 0; i < CELLS; i++)
		widths[i] = strlen(titles[i]);
	json_array_foreach(leases, n, lease)
	{
		fill(&rows[n], lease, brief, now_s);
		for (int i = 0; i < CELLS; i++) {
			size_t w = table_width(rows[n].cells[i], strlen(rows[n].cells[i]));
			widths[i] = w > widths[i] ? w : widths[i];
		}
	}
	return n;
}

void lease_table_print(const json_t *leases, size_t columns, bool colour, int64_t now_s)
{
	struct row *rows = alloc_zeroed(json_array_size(leases) + 1, sizeof(*rows));
	size_t widths[CELLS];
	size_t n = collect(rows, leases, false, now_s, widths);

	if (columns > 0 && width_of(widths) > columns)
		collect(rows, leases, true, now_s, widths);
	qsort(rows, n, sizeof(*rows), compare_rows);
	fputs(style_on(colour, STYLE_BOLD), stdout);
	for (int i = 0; i < CELLS; i++)
		print_cell(titles[i], widths[i]);
	printf("LEFT%s\n", style_off(colour));
	for (size_t row = 0; row < n; row++) {
		for (int i = 0; i < CELLS; i++)
			print_cell(rows[row].cells[i], widths[i]);
		print_left(&rows[row], colour);
	}
	free(rows);
}
