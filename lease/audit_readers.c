/*
 * audit_readers.c: a line for each reader of a lease, not for each read.
 *
 * Who has the lease is what matters, and a read from the kernel's cache must not cost a write. So
 * each uid, executable and container that opens a file of a lease is named when it does so first;
 * from then on its opens are counted, and the number is told when the lease's user is gone.
 */
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/audit_private.h"
#include "lease/who.h"

/* What a line needs of a lease; not the lease itself, which would keep its secret. */
struct read_lease {
	struct table_node by_lease;
	struct list readers;
	struct lease shown; /* without a secret; its texts are this one's own */
};

struct reader {
	struct table_node by_key;
	struct list link, in_lease;
	struct read_lease *lease;
	struct lease_caller caller; /* the first of its kind */
	uint64_t count;
};

struct reader_key {
	const char *lease_id;
	const struct lease_caller *caller;
};

/* Readers are of one kind when these are the same: the executable, the container or else the
 * cgroup. */
static const char *executable_of(const struct lease_caller *caller)
{
	if (!caller->who)
		return "";
	return caller->who->executable ? caller->who->executable : caller->who->command;
}

static const char *place_of(const struct lease_caller *caller)
{
	const struct who *who = caller->who;

	if (who && who->container)
		return who->container;
	return who && who->cgroup ? who->cgroup : "";
}

static uint64_t hash_key(const struct audit_readers *readers, const struct reader_key *key)
{
	const uint64_t parts[] = {
		table_hash_text(&readers->by_key, key->lease_id),
		key->caller->uid,
		table_hash_text(&readers->by_key, executable_of(key->caller)),
		table_hash_text(&readers->by_key, place_of(key->caller)),
	};

	return table_hash(&readers->by_key, parts, sizeof(parts));
}

static bool same_reader(const struct table_node *node, const void *key)
{
	const struct reader *reader = container_of(node, struct reader, by_key);
	const struct reader_key *wanted = key;

	return reader->caller.uid == wanted->caller->uid &&
	       strcmp(reader->lease->shown.id, wanted->lease_id) == 0 &&
	       strcmp(executable_of(&reader->caller), executable_of(wanted->caller)) == 0 &&
	       strcmp(place_of(&reader->caller), place_of(wanted->caller)) == 0;
}

static bool same_lease(const struct table_node *node, const void *id)
{
	return strcmp(container_of(node, struct read_lease, by_lease)->shown.id, id) == 0;
}

static struct read_lease *find_lease(const struct audit_readers *readers, const char *id)
{
	struct table_node *node = table_find(
		&readers->by_lease, table_hash_text(&readers->by_lease, id), same_lease, id);

	return node ? container_of(node, struct read_lease, by_lease) : NULL;
}

static struct read_lease *get_lease(struct audit_readers *readers, const struct lease *from)
{
	struct read_lease *lease = find_lease(readers, from->id);

	if (lease)
		return lease;
	lease = alloc_zeroed(1, sizeof(*lease));
	list_init(&lease->readers);
	lease->shown = (struct lease){
		.slot = {.project = alloc_copy(from->slot.project),
			 .config = alloc_copy(from->slot.config),
			 .secret = alloc_copy(from->slot.secret)},
		.user = alloc_copy(from->user),
		.access_key_id = alloc_copy(from->access_key_id),
		.expires_ms = from->expires_ms,
	};
	memcpy(lease->shown.id, from->id, sizeof(lease->shown.id));
	table_insert(&readers->by_lease, &lease->by_lease,
		     table_hash_text(&readers->by_lease, from->id));
	return lease;
}

static void lease_settle(struct audit_readers *readers, struct read_lease *lease)
{
	if (!list_empty(&lease->readers))
		return;
	table_remove(&readers->by_lease, &lease->by_lease);
	free((char *)lease->shown.slot.project);
	free((char *)lease->shown.slot.config);
	free((char *)lease->shown.slot.secret);
	free((char *)lease->shown.user);
	free((char *)lease->shown.access_key_id);
	free(lease);
}

static void forget(struct audit_readers *readers, struct reader *reader)
{
	struct read_lease *lease = reader->lease;

	table_remove(&readers->by_key, &reader->by_key);
	list_remove(&reader->link);
	list_remove(&reader->in_lease);
	who_unref(reader->caller.who);
	free(reader);
	readers->n--;
	lease_settle(readers, lease);
}

static void tell(struct audit *audit, struct reader *reader)
{
	struct audit_entry entry;

	if (reader->count > 0) {
		audit_begin(&entry, audit, "reads");
		audit_add_lease(&entry, &reader->lease->shown);
		audit_add_caller(&entry, &reader->caller);
		audit_add(&entry, entry.json, "count", json_integer((json_int_t)reader->count));
		audit_end(&entry, audit);
	}
	forget(&audit->readers, reader);
}

bool audit_readers_see(struct audit *audit, const struct lease *lease,
		       const struct lease_caller *caller, uint64_t count)
{
	struct audit_readers *readers = &audit->readers;
	const struct reader_key key = {lease->id, caller};
	uint64_t hash = hash_key(readers, &key);
	struct table_node *node = table_find(&readers->by_key, hash, same_reader, &key);

	if (node) {
		struct reader *known = container_of(node, struct reader, by_key);

		known->count += count;
		list_remove(&known->link);
		list_append(&readers->all, &known->link);
		return false;
	}
	if (readers->n >= AUDIT_READERS_MAX)
		tell(audit, list_first(&readers->all, struct reader, link));

	struct reader *reader = alloc_zeroed(1, sizeof(*reader));

	reader->lease = get_lease(readers, lease);
	reader->caller = *caller;
	reader->caller.name = NULL; /* it ends with the request */
	who_ref(reader->caller.who);
	reader->count = count;
	list_init(&reader->link);
	list_init(&reader->in_lease);
	list_append(&readers->all, &reader->link);
	list_append(&reader->lease->readers, &reader->in_lease);
	table_insert(&readers->by_key, &reader->by_key, hash);
	readers->n++;
	return true;
}

void audit_readers_end(struct audit *audit, const struct lease *lease)
{
	struct read_lease *known;

	/* The last reader takes it along. */
	while ((known = find_lease(&audit->readers, lease->id)))
		tell(audit, list_first(&known->readers, struct reader, in_lease));
}

void audit_readers_end_all(struct audit *audit)
{
	while (!list_empty(&audit->readers.all))
		tell(audit, list_first(&audit->readers.all, struct reader, link));
}

void audit_readers_init(struct audit_readers *readers, uint64_t seed)
{
	*readers = (struct audit_readers){0};
	table_init(&readers->by_key, seed);
	table_init(&readers->by_lease, seed);
	list_init(&readers->all);
}

void audit_readers_finish(struct audit_readers *readers)
{
	while (!list_empty(&readers->all))
		forget(readers, list_first(&readers->all, struct reader, link));
	table_finish(&readers->by_key);
	table_finish(&readers->by_lease);
}
