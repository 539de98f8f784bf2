/*
 * record.h: which calls came, in which order, and how they were answered.
 */
#ifndef DSEC_TESTS_IAM_RECORD_H
#define DSEC_TESTS_IAM_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_ENTRIES_MAX 65536 /* older ones are overwritten */

struct record_entry {
	uint64_t number; /* from 1 */
	int64_t wall_ms;
	char action[48];
	char user[65];          /* UserName, else who calls */
	char access_key_id[33]; /* who calls */
	bool effect;            /* the action was carried out */
	unsigned status;        /* of the answer; 0: none yet, or none ever */
	char code[64];
};

struct record {
	struct record_entry *entries; /* a ring */
	uint64_t count;
	json_t *totals; /* by action: {"received", "effects"} */
};

/* Valid until RECORD_ENTRIES_MAX more have been added. */
struct record_entry *record_add(struct record *record, const char *action);
void record_effect(struct record *record, struct record_entry *entry);
/* How many calls of the action there were; `what` is "received" or "effects". */
int64_t record_total(const struct record *record, const char *action, const char *what);
/* The entries after number `since`, oldest first; a new reference. */
json_t *record_json(const struct record *record, uint64_t since);
void record_finish(struct record *record);

#endif
