#include "fs/records.h"

#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

#define NAME_MAX_BYTES (sizeof(((struct record_found *)NULL)->name) - 1)
#define RECORD_MAX                                                                                 \
	(sizeof(struct record) + CATALOG_DYNAMICS_MAX * sizeof(struct record_binding) +            \
	 NAME_MAX_BYTES + RECORDS_TEXT_MAX)

/* Cells. */

static void give_back(struct records *records, uint32_t place)
{
	if (records->n_free == records->size) {
		records->size = records->size ? 2 * records->size : 256;
		records->free = alloc_resized(records->free, records->size, sizeof(*records->free));
	}
	records->free[records->n_free++] = place;
}

/* 1 + the place of a free cell; 0: there is none. */
static uint32_t take(struct records *records)
{
	struct shared *shared = records->shared;
	uint32_t used = atomic_load(&shared->cells_used);

	if (records->n_free > 0)
		return records->free[--records->n_free] + 1;
	if (used >= SHARED_CELLS_MAX)
		return 0;
	atomic_store(&shared->cells_used, used + 1);
	return used + 1;
}

static void give_back_chain(struct records *records, record_at at)
{
	while (at) {
		uint32_t next = records_cell(records, at)->next;
		give_back(records, at - 1);
		at = next;
	}
}

void records_erase(struct records *records, record_at at)
{
	if (!at)
		return;
	atomic_store(&records_cell(records, at)->node, 0);
	give_back_chain(records, at);
}

/* Writing. */

static size_t compose(unsigned char *to, const struct record *record,
		      const struct record_binding *bindings, const char *name, const char *text)
{
	size_t n = sizeof(*record), bindings_n = record->n_bindings * sizeof(*bindings);

	memcpy(to, record, n);
	if (bindings_n > 0)
		memcpy(to + n, bindings, bindings_n);
	n += bindings_n;
	if (record->name_n > 0)
		memcpy(to + n, name, record->name_n);
	n += record->name_n;
	if (record->text_n > 0)
		memcpy(to + n, text, record->text_n);
	return n + record->text_n;
}

/* From the last part to the first, so that each cell knows the next. */
static record_at write_cells(struct records *records, const unsigned char *bytes, size_t n)
{
	size_t parts = (n + SHARED_CELL_BYTES - 1) / SHARED_CELL_BYTES;
	record_at next = 0;

	while (parts > 0) {
		size_t from = --parts * SHARED_CELL_BYTES;
		record_at at = take(records);

		if (!at) {
			give_back_chain(records, next);
			records->full = true;
			return 0;
		}
		struct shared_cell *cell = records_cell(records, at);
		cell->n = (uint32_t)(n - from < SHARED_CELL_BYTES ? n - from : SHARED_CELL_BYTES);
		cell->next = next;
		memcpy(cell->bytes, bytes + from, cell->n);
		next = at;
	}
	return next;
}

record_at records_write(struct records *records, record_at old, uint64_t node,
			const struct record *record, const struct record_binding *bindings,
			const char *name, const char *text)
{
	unsigned char bytes[RECORD_MAX];
	struct shared *shared = records->shared;
	record_at at = 0;

	if (record->n_bindings <= CATALOG_DYNAMICS_MAX && record->name_n <= NAME_MAX_BYTES &&
	    record->text_n <= RECORDS_TEXT_MAX)
		at = write_cells(records, bytes, compose(bytes, record, bindings, name, text));
	if (at) {
		struct shared_cell *cell = records_cell(records, at);
		const struct shared_cell *before = old ? records_cell(records, old) : NULL;

		cell->version = atomic_fetch_add(&shared->last_version, 1) + 1;
		atomic_store(&cell->lookups, before ? atomic_load(&before->lookups) : 0);
		atomic_store(&cell->stored, 0);
		atomic_store(&cell->stale, before ? atomic_load(&before->stale) : 0);
		atomic_store(&cell->node, node); /* from here on it is valid */
	}
	records_erase(records, old);
	return at;
}

/* Finding. */

static uint32_t cells_used(const struct records *records)
{
	uint32_t used = atomic_load(&records->shared->cells_used);

	return used < SHARED_CELLS_MAX ? used : SHARED_CELLS_MAX;
}

/* Gathers a chain's bytes, and marks its cells as used. 0: it is none. */
static size_t gather(struct records *records, record_at at, unsigned char to[RECORD_MAX])
{
	size_t n = 0;

	while (at) {
		const struct shared_cell *cell;

		if (at > cells_used(records) || records->used[at - 1])
			return 0;
		cell = records_cell(records, at);
		if (cell->n > SHARED_CELL_BYTES || cell->n > RECORD_MAX - n)
			return 0;
		records->used[at - 1] = true;
		memcpy(to + n, cell->bytes, cell->n);
		n += cell->n;
		at = cell->next;
	}
	return n;
}

static bool read_record(struct records *records, record_at at, struct record_found *ret)
{
	const struct shared_cell *cell = records_cell(records, at);
	unsigned char bytes[RECORD_MAX];
	size_t n = gather(records, at, bytes), bindings_n;

	if (n < sizeof(ret->record))
		return false;
	memcpy(&ret->record, bytes, sizeof(ret->record));
	bindings_n = ret->record.n_bindings * sizeof(ret->bindings[0]);
	if (ret->record.n_bindings > CATALOG_DYNAMICS_MAX || ret->record.name_n > NAME_MAX_BYTES ||
	    ret->record.text_n > RECORDS_TEXT_MAX ||
	    n != sizeof(ret->record) + bindings_n + ret->record.name_n + ret->record.text_n)
		return false;
	memcpy(ret->bindings, bytes + sizeof(ret->record), bindings_n);
	memcpy(ret->name, bytes + sizeof(ret->record) + bindings_n, ret->record.name_n);
	ret->name[ret->record.name_n] = '\0';
	memcpy(ret->text, bytes + n - ret->record.text_n, ret->record.text_n);
	ret->text[ret->record.text_n] = '\0';
	ret->node = atomic_load(&cell->node);
	ret->at = at;
	ret->lookups = atomic_load(&cell->lookups);
	ret->stored = atomic_load(&cell->stored);
	ret->stale = atomic_load(&cell->stale) != 0;
	return true;
}

static const struct shared_cell *sorted_cells; /* of the one call of qsort at a time */

static int compare(const void *a, const void *b)
{
	const struct shared_cell *one = &sorted_cells[*(const uint32_t *)a];
	const struct shared_cell *other = &sorted_cells[*(const uint32_t *)b];
	uint64_t x = atomic_load(&one->node), y = atomic_load(&other->node);

	if (x != y)
		return x < y ? -1 : 1;
	return one->version > other->version ? -1 : 1; /* the newer first */
}

/* The places of all first cells, by id. */
static uint32_t *find_heads(const struct records *records, size_t *ret_n)
{
	uint32_t used = cells_used(records), *heads = alloc_zeroed(used + 1, sizeof(*heads));
	size_t n = 0;

	for (uint32_t i = 0; i < used; i++)
		if (atomic_load(&records->shared->cells[i].node) != 0)
			heads[n++] = i;
	sorted_cells = records->shared->cells;
	qsort(heads, n, sizeof(*heads), compare);
	*ret_n = n;
	return heads;
}

void records_begin(struct records *records, struct shared *shared, record_each *each, void *arg)
{
	_cleanup_free_ struct record_found *found = alloc_zeroed(1, sizeof(*found));
	uint64_t last = 0;
	size_t n;

	*records = (struct records){.shared = shared};
	records->used = alloc_zeroed(cells_used(records) + 1, sizeof(*records->used));
	_cleanup_free_ uint32_t *heads = find_heads(records, &n);
	for (size_t i = 0; i < n; i++) {
		struct shared_cell *cell = &shared->cells[heads[i]];

		if (atomic_load(&cell->node) == last ||
		    !read_record(records, heads[i] + 1, found)) {
			atomic_store(&cell->node, 0);
			continue;
		}
		last = found->node;
		each(arg, found);
	}
	for (uint32_t i = cells_used(records); i > 0; i--)
		if (!records->used[i - 1])
			give_back(records, i - 1);
	free(records->used);
	records->used = NULL;
}

void records_finish(struct records *records)
{
	free(records->free);
	free(records->used);
	records->free = NULL;
	records->used = NULL;
}
