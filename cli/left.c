#include "cli/left.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/log.h"
#include "lease/clock.h"
#include "lease/journal.h"

#define NAMED_MAX 20 /* users that are told by name; the rest are counted */

struct tally {
	const struct catalog *catalog;
	bool name_each;
	size_t n;
	size_t without_end; /* of those, users whose policy does not end by itself */
	int64_t last_ms;    /* the latest end of a policy */
};

static bool ends_by_itself(const struct catalog *catalog, const struct journal_record *record)
{
	const struct integration *integration =
		catalog ? catalog_integration(catalog, record->integration) : NULL;

	return !integration || integration->expiry_in_policy;
}

static void add(void *arg, const struct journal_record *record)
{
	struct tally *tally = arg;

	tally->n++;
	if (!ends_by_itself(tally->catalog, record))
		tally->without_end++;
	else if (record->expires_ms > tally->last_ms)
		tally->last_ms = record->expires_ms;
	if (tally->name_each && tally->n <= NAMED_MAX)
		log_line(LOG_WARNING, "left: user %s of integration %s (%s/%s/%s, %s%s%s)",
			 record->user, record->integration, record->project, record->config,
			 record->secret, journal_state_name(record->state),
			 record->reason[0] ? ": " : "", record->reason);
}

static ssize_t read_journal(const char *state_folder, struct tally *tally, struct dsec_error *err)
{
	int r = journal_sqlite_read(state_folder, add, tally, err);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : (ssize_t)tally->n;
}

ssize_t left_count(const char *state_folder, struct dsec_error *err)
{
	struct tally tally = {0};

	return read_journal(state_folder, &tally, err);
}

static void say_how_long(const struct tally *tally, bool keys_deleted)
{
	char end[CLOCK_ISO_MAX];

	if (keys_deleted) {
		log_line(LOG_WARNING, "their keys are deleted: nobody can use them");
		return;
	}
	clock_iso(end, tally->last_ms);
	if (tally->n > tally->without_end)
		log_line(LOG_WARNING,
			 "their keys, where they still exist, are powerless from %s on", end);
	if (tally->without_end > 0)
		log_line(
			LOG_WARNING,
			"%zu of them belong to an integration without expiry_in_policy: their keys "
			"may work until they are removed",
			tally->without_end);
}

ssize_t left_report(const char *state_folder, const struct catalog *catalog, bool keys_deleted)
{
	struct tally tally = {.catalog = catalog, .name_each = true};
	struct dsec_error err;

	ssize_t n = read_journal(state_folder, &tally, &err);
	if (n < 0)
		log_error(LOG_ERR, &err, "cannot tell what is left: the journal in %s",
			  state_folder);
	if (n <= 0)
		return n;
	if (n > NAMED_MAX)
		log_line(LOG_WARNING, "left: and %zd more", n - NAMED_MAX);
	log_line(LOG_WARNING, "%zd user%s may still exist in IAM", n, n == 1 ? "" : "s");
	say_how_long(&tally, keys_deleted);
	log_line(LOG_WARNING,
		 "the next 'dsec mount' with the state folder %s removes them, and so "
		 "does 'dsec sweep' once their time is over",
		 state_folder);
	return n;
}
