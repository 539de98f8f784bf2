/*
 * line.h: a principal's line of the journal, as the engine holds it. There are thousands of them,
 * and a journal_record, whose texts have room for the longest there may be, is ten times as long as
 * what stands in it. The names of the dynamic secret are its pool's, and are not here.
 */
#ifndef DSEC_LEASE_LINE_H
#define DSEC_LEASE_LINE_H

#include "lease/journal.h"

/* As in struct journal_record. No text is NULL; each changes by line_set alone, and stays where it
 * is while others change. */
struct line {
	char lease_id[LEASE_ID_MAX];
	enum journal_state state;
	const char *integration, *user, *path, *policy_name, *arn, *access_key_id, *reason;
	uint64_t fingerprint;
	int64_t ttl_ms, start_ms, expires_ms, last_end_ms, may_echo;
};

void line_init(struct line *line, const struct journal_record *record);
void line_finish(struct line *line);

/* `to` may be the text itself. */
void line_set(const char **text, const char *to);

/* Without the names of the dynamic secret. */
void line_record(const struct line *line, struct journal_record *ret);

#endif
