#include "record.h"

#include <stdio.h>

#include "text.h"

static void count(struct record *record, const char *action, const char *what)
{
	if (!record->totals)
		record->totals = json_object();

	json_t *totals = json_object_get(record->totals, action);

	if (!totals) {
		totals =
			json_pack("{s:I s:I}", "received", (json_int_t)0, "effects", (json_int_t)0);
		json_object_set_new(record->totals, action, totals);
	}

	json_t *total = json_object_get(totals, what);

	json_integer_set(total, json_integer_value(total) + 1);
}

struct record_entry *record_add(struct record *record, const char *action)
{
	if (!record->entries)
		record->entries = must_alloc(RECORD_ENTRIES_MAX * sizeof(*record->entries));

	struct record_entry *entry = &record->entries[record->count++ % RECORD_ENTRIES_MAX];

	*entry = (struct record_entry){.number = record->count};
	snprintf(entry->action, sizeof(entry->action), "%s", action);
	count(record, entry->action, "received");
	return entry;
}

void record_effect(struct record *record, struct record_entry *entry)
{
	entry->effect = true;
	count(record, entry->action, "effects");
}

int64_t record_total(const struct record *record, const char *action, const char *what)
{
	return json_integer_value(json_object_get(json_object_get(record->totals, action), what));
}

json_t *record_json(const struct record *record, uint64_t since)
{
	json_t *ret = json_array();
	uint64_t oldest =
		record->count > RECORD_ENTRIES_MAX ? record->count - RECORD_ENTRIES_MAX : 0;

	for (uint64_t i = since > oldest ? since : oldest; i < record->count; i++) {
		const struct record_entry *entry = &record->entries[i % RECORD_ENTRIES_MAX];

		json_array_append_new(ret,
				      json_pack("{s:I s:I s:s s:s s:s s:b s:i s:s}", "n",
						(json_int_t)entry->number, "time_ms",
						(json_int_t)entry->wall_ms, "action", entry->action,
						"user", entry->user, "access_key_id",
						entry->access_key_id, "effect", (int)entry->effect,
						"status", (int)entry->status, "code", entry->code));
	}
	return ret;
}

void record_finish(struct record *record)
{
	free(record->entries);
	json_decref(record->totals);
	*record = (struct record){0};
}
