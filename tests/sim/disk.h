/*
 * disk.h: a journal that takes time, fails, and loses what was not committed when the daemon dies.
 */
#ifndef DSEC_TESTS_SIM_DISK_H
#define DSEC_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>

#include "lease/journal.h"
#include "lease/list.h"
#include "lease/table.h"
#include "tests/sim/world.h"

struct disk_record {
	struct table_node by_id, by_user;
	struct list link;
	struct journal_record record;
};

struct disk {
	struct journal journal; /* what the engine sees */
	struct world *world;
	struct table by_id, by_user;
	struct list records; /* what is durable, oldest first */
	struct list queue;   /* what is not yet */
	struct timer commit;
	int64_t delay_min_ms, delay_max_ms;
	bool full; /* every write fails */
	/* Called when a line has become durable, or is gone; may be NULL. */
	void (*changed)(void *arg, const struct journal_record *record);
	void *arg;
};

void disk_init(struct disk *disk, struct world *world);
void disk_finish(struct disk *disk);

const struct journal_record *disk_by_user(const struct disk *disk, const char *user);

/* The daemon is dead: some of what it wrote last is durable all the same, nobody is told. */
void disk_crash(struct disk *disk);
void disk_damage(struct disk *disk); /* all is lost */

#endif
