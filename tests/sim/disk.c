#include "tests/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

struct disk_write {
	struct list link;
	struct journal_record record;
	journal_done *done;
	void *arg;
};

static bool same_id(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct disk_record, by_id)->record.lease_id, key) == 0;
}

static bool same_user(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct disk_record, by_user)->record.user, key) == 0;
}

static struct disk_record *by_id(const struct disk *disk, const char *id)
{
	struct table_node *node =
		table_find(&disk->by_id, table_hash_text(&disk->by_id, id), same_id, id);

	return node ? container_of(node, struct disk_record, by_id) : NULL;
}

const struct journal_record *disk_by_user(const struct disk *disk, const char *user)
{
	struct table_node *node =
		table_find(&disk->by_user, table_hash_text(&disk->by_user, user), same_user, user);

	return node ? &container_of(node, struct disk_record, by_user)->record : NULL;
}

static void erase(struct disk *disk, struct disk_record *at)
{
	table_remove(&disk->by_id, &at->by_id);
	table_remove(&disk->by_user, &at->by_user);
	list_remove(&at->link);
	free(at);
}

static void store(struct disk *disk, const struct journal_record *record)
{
	struct disk_record *old = by_id(disk, record->lease_id);

	if (old)
		erase(disk, old);
	if (record->state != JOURNAL_GONE) {
		struct disk_record *made = alloc_zeroed(1, sizeof(*made));

		made->record = *record;
		table_insert(&disk->by_id, &made->by_id,
			     table_hash_text(&disk->by_id, record->lease_id));
		table_insert(&disk->by_user, &made->by_user,
			     table_hash_text(&disk->by_user, record->user));
		list_append(&disk->records, &made->link);
	}
	if (disk->changed)
		disk->changed(disk->arg, record);
}

static void commit(struct timer *timer)
{
	struct disk *disk = container_of(timer, struct disk, commit);
	struct list batch;

	list_take_all(&batch, &disk->queue);
	while (!list_empty(&batch)) {
		struct disk_write *write = list_first(&batch, struct disk_write, link);
		struct dsec_error err;

		list_remove(&write->link);
		if (disk->full)
			dsec_error_set(&err, DSEC_ERROR_NO_SPACE, "no space left on device");
		else
			store(disk, &write->record);
		if (write->done)
			write->done(write->arg, disk->full ? &err : NULL);
		free(write);
	}
}

static void write_record(struct journal *journal, const struct journal_record *record,
			 journal_done *done, void *arg)
{
	struct disk *disk = container_of(journal, struct disk, journal);
	struct disk_write *write = alloc_zeroed(1, sizeof(*write));

	write->record = *record;
	write->done = done;
	write->arg = arg;
	if (list_empty(&disk->queue))
		world_arm(disk->world, &disk->commit,
			  world_between(disk->world, disk->delay_min_ms, disk->delay_max_ms));
	list_append(&disk->queue, &write->link);
}

void disk_init(struct disk *disk, struct world *world)
{
	static const struct journal_ops ops = {write_record};

	*disk = (struct disk){
		.journal.ops = &ops,
		.world = world,
		.commit.fire = commit,
		.delay_min_ms = 1,
		.delay_max_ms = 10,
	};
	table_init(&disk->by_id, 1);
	table_init(&disk->by_user, 2);
	list_init(&disk->records);
	list_init(&disk->queue);
}

static void drop_queue(struct disk *disk)
{
	world_disarm(disk->world, &disk->commit);
	list_each (at, &disk->queue) {
		list_remove(at);
		free(container_of(at, struct disk_write, link));
	}
}

void disk_crash(struct disk *disk)
{
	while (!disk->full && !list_empty(&disk->queue) && world_chance(disk->world, 0.5)) {
		struct disk_write *write = list_first(&disk->queue, struct disk_write, link);

		list_remove(&write->link);
		store(disk, &write->record);
		free(write);
	}
	drop_queue(disk);
}

void disk_damage(struct disk *disk)
{
	list_each (at, &disk->records)
		erase(disk, container_of(at, struct disk_record, link));
}

void disk_finish(struct disk *disk)
{
	drop_queue(disk);
	disk_damage(disk);
	table_finish(&disk->by_id);
	table_finish(&disk->by_user);
}
