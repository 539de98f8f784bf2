/*
 * audit_private.h: what the audit log's files share.
 *
 *   audit.c          the events, as lines
 *   audit_log.c      the file: its end, its lines, its rotation
 *   audit_readers.c  who has been named as a reader of which lease, and how often it read
 *   audit_chain.c, audit_files.c, audit_store.c, audit_verify.c   see their headers
 */
#ifndef DSEC_LEASE_AUDIT_PRIVATE_H
#define DSEC_LEASE_AUDIT_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lease/audit.h"
#include "lease/audit_chain.h"
#include "lease/audit_store.h"
#include "lease/list.h"
#include "lease/table.h"

#define AUDIT_TEXT_MAX 1024 /* of each text in a line, made printable; the rest is cut off */

struct audit_readers {
	struct table by_key, by_lease;
	struct list all; /* the one longest not seen first */
	size_t n;
};

struct audit {
	struct audit_options options; /* its texts are the audit's own */
	struct secret *key;
	bool opened;
	struct audit_store *store; /* NULL until there is something for it: it is a thread */
	struct audit_readers readers;

	int fd; /* -1: it cannot be opened, and need not be */
	uint64_t size;
	uint64_t rotate_at; /* the size at which the next file is begun */
	struct audit_head head;
	uint64_t gap; /* so many numbers are skipped, since their lines are not there any more */

	char *fragment; /* what stands behind the last whole line; NULL: nothing */
	size_t n_fragment;

	uint64_t n_lines, n_lost, n_untold; /* since the start; lost; lost and not yet told */
	bool unwritable;
	char problem[DSEC_ERROR_MESSAGE_MAX]; /* why */

	uint64_t told;   /* the number of the head that was told last */
	int64_t told_at; /* boottime */
};

/* A line as it grows. A member that finds no memory makes the line a lost one. */
struct audit_entry {
	json_t *json;
	bool is_incomplete;
};

void audit_begin(struct audit_entry *entry, const struct audit *audit, const char *event);
void audit_add(struct audit_entry *entry, json_t *to, const char *name, json_t *value);
void audit_add_text(struct audit_entry *entry, json_t *to, const char *name, const char *text);
void audit_add_caller(struct audit_entry *entry, const struct lease_caller *caller);
void audit_add_lease(struct audit_entry *entry, const struct lease *lease);
bool audit_end(struct audit_entry *entry, struct audit *audit); /* false: it is lost */

/* audit_log.c */

void audit_say(const struct audit *audit, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int audit_log_open(struct audit *audit, struct dsec_error *err);
bool audit_log_write(struct audit *audit, json_t *json);
void audit_log_tell_head(struct audit *audit);
void audit_log_close(struct audit *audit);

/* audit_readers.c */

void audit_readers_init(struct audit_readers *readers, uint64_t seed);
void audit_readers_finish(struct audit_readers *readers);

/* True: it is named for the first time. */
bool audit_readers_see(struct audit *audit, const struct lease *lease,
		       const struct lease_caller *caller, uint64_t count);
/* Tells how often each of its readers did, and forgets them. */
void audit_readers_end(struct audit *audit, const struct lease *lease);
void audit_readers_end_all(struct audit *audit);

#endif
