#include "fs/holders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/message.h"
#include "lease/alloc.h"

/* Behind the engine's own kinds: a set of holders, where the secrets of one file have different
 * scopes. The engine never sees one. */
#define HOLDER_SET ((enum holder_kind)0x10)

struct holder {
	struct table_node by_key, by_number;
	struct list link; /* in idle or watched */
	lease_holder number;
	bool watched;
	struct shared_holder *slot; /* NULL: it is not watched, or had no room */

	/* What it is known by. */
	enum holder_kind kind;
	uint64_t a, b, c; /* PROCESS: pid, start; CONTAINER: number; SET: its holders */
	char *place;      /* CONTAINER: hierarchy and path; "" for a mount namespace */

	char *folder; /* CONTAINER: its cgroup's; NULL: none that we see */
	bool unified;
};

struct holder_key {
	enum holder_kind kind;
	uint64_t a, b, c;
	const char *place;
};

/* Slots. */

static void give_back(struct holders *holders, uint32_t place)
{
	if (holders->n_free_slots == holders->free_slots_size) {
		holders->free_slots_size =
			holders->free_slots_size ? 2 * holders->free_slots_size : 256;
		holders->free_slots = alloc_resized(holders->free_slots, holders->free_slots_size,
						    sizeof(*holders->free_slots));
	}
	holders->free_slots[holders->n_free_slots++] = place;
}

static uint32_t slots_used(const struct holders *holders)
{
	uint32_t used = atomic_load(&holders->shared->holders_used);

	return used < SHARED_HOLDERS_MAX ? used : SHARED_HOLDERS_MAX;
}

static struct shared_holder *take_slot(struct holders *holders)
{
	struct shared *shared = holders->shared;
	uint32_t used = slots_used(holders);

	if (holders->n_free_slots > 0)
		return &shared->holders[holders->free_slots[--holders->n_free_slots]];
	if (used >= SHARED_HOLDERS_MAX)
		return NULL;
	atomic_store(&shared->holders_used, used + 1);
	return &shared->holders[used];
}

/* By whom the next process finds a mount namespace: the reader itself may be long gone then. */
static pid_t eldest(const struct holder *holder, pid_t tid)
{
	struct caller eldest;

	return caller_eldest(tid, holder->a, &eldest) < 0 ? tid : eldest.pid;
}

/* So that the next process knows it. */
static void write_slot(struct holders *holders, struct holder *holder, pid_t tid)
{
	if (strlen(holder->place) >= SHARED_PLACE_MAX)
		return;
	holder->slot = take_slot(holders);
	if (!holder->slot)
		return;
	holder->slot->a = holder->a;
	holder->slot->b = holder->b;
	holder->slot->c = *holder->place || holder->kind == HOLDER_PROCESS
				  ? 0
				  : (uint64_t)eldest(holder, tid);
	memcpy(holder->slot->place, holder->place, strlen(holder->place) + 1);
	atomic_store(&holder->slot->number, holder->number);
}

static void erase_slot(struct holders *holders, struct shared_holder *slot)
{
	atomic_store(&slot->number, 0);
	give_back(holders, (uint32_t)(slot - holders->shared->holders));
}

void holders_init(struct holders *holders, struct shared *shared, struct queue *outbox)
{
	*holders = (struct holders){.shared = shared, .outbox = outbox};
	table_init(&holders->by_key, shared->seed);
	table_init(&holders->by_number, shared->seed);
	list_init(&holders->idle);
	list_init(&holders->watched);
	cgroup_mounts_read(&holders->mounts);
}

static void holder_free(struct holders *holders, struct holder *holder)
{
	table_remove(&holders->by_key, &holder->by_key);
	table_remove(&holders->by_number, &holder->by_number);
	list_remove(&holder->link);
	if (holder->watched)
		holders->n_watched--;
	else
		holders->n_idle--;
	free(holder->place);
	free(holder->folder);
	free(holder);
}

void holders_finish(struct holders *holders)
{
	list_each (at, &holders->idle)
		holder_free(holders, container_of(at, struct holder, link));
	list_each (at, &holders->watched)
		holder_free(holders, container_of(at, struct holder, link));
	table_finish(&holders->by_key);
	table_finish(&holders->by_number);
	free(holders->free_slots);
}

/* Finding. */

static bool same_key(const struct table_node *at, const void *with)
{
	const struct holder *holder = container_of(at, struct holder, by_key);
	const struct holder_key *key = with;

	return holder->kind == key->kind && holder->a == key->a && holder->b == key->b &&
	       holder->c == key->c && strcmp(holder->place, key->place) == 0;
}

static bool same_number(const struct table_node *at, const void *number)
{
	return container_of(at, struct holder, by_number)->number == *(const lease_holder *)number;
}

static uint64_t hash_number(const struct holders *holders, lease_holder number)
{
	return table_hash(&holders->by_number, &number, sizeof(number));
}

static struct holder *holder_new(struct holders *holders, const struct holder_key *key,
				 uint64_t hash, lease_holder number)
{
	struct holder *holder = alloc_zeroed(1, sizeof(*holder));

	if (holders->n_idle >= HOLDERS_IDLE_MAX)
		holder_free(holders, list_first(&holders->idle, struct holder, link));
	holder->number = number;
	holder->kind = key->kind;
	holder->a = key->a;
	holder->b = key->b;
	holder->c = key->c;
	holder->place = alloc_copy(key->place);
	list_init(&holder->link);
	list_append(&holders->idle, &holder->link);
	holders->n_idle++;
	table_insert(&holders->by_key, &holder->by_key, hash);
	table_insert(&holders->by_number, &holder->by_number, hash_number(holders, holder->number));
	return holder;
}

static uint64_t hash_key(const struct holders *holders, const struct holder_key *key)
{
	uint64_t parts[] = {key->kind, key->a, key->b, key->c,
			    table_hash_text(&holders->by_key, key->place)};

	return table_hash(&holders->by_key, parts, sizeof(parts));
}

static struct holder *get(struct holders *holders, const struct holder_key *key, bool *ret_new)
{
	uint64_t hash = hash_key(holders, key);
	struct table_node *at = table_find(&holders->by_key, hash, same_key, key);

	*ret_new = !at;
	if (!at)
		return holder_new(holders, key, hash,
				  lease_holder_of(key->kind, shared_take_holder(holders->shared)));

	struct holder *holder = container_of(at, struct holder, by_key);
	if (!holder->watched) {
		list_remove(&holder->link);
		list_append(&holders->idle, &holder->link);
	}
	return holder;
}

/* Looking. */

static int fail(struct viewer *viewer, int error, const char *reason)
{
	viewer->error = error;
	viewer->reason = reason;
	viewer->node = HOLDER_NOBODY;
	return -error;
}

static int refuse_unseen(struct viewer *viewer, pid_t tid, int r)
{
	if (tid == 0)
		return fail(viewer, EACCES,
			    "its reader is in a pid namespace that dsec does not see, so that "
			    "nobody can tell whose lease it would be; run dsec in the host's, or "
			    "use scope shared or user");
	if (r == -ENAMETOOLONG)
		return fail(viewer, EACCES, "the path of its reader's cgroup is too long");
	return fail(viewer, EACCES,
		    "dsec cannot look at its reader in /proc (is /proc mounted with hidepid?), so "
		    "that nobody can tell whose lease it would be");
}

static int view_process(struct holders *holders, struct viewer *viewer, pid_t tid)
{
	struct caller caller = {0};
	int r = caller_process(tid, &caller);
	bool is_new;

	if (r < 0)
		return refuse_unseen(viewer, tid, r);

	const struct holder_key key = {
		.kind = HOLDER_PROCESS,
		.a = (uint64_t)caller.pid,
		.b = caller.start,
		.place = "",
	};
	viewer->process = get(holders, &key, &is_new);
	viewer->holders[SCOPE_PROCESS] = viewer->process->number;
	return 0;
}

/* Where all callers are in the root of the cgroups, containers differ in their mount namespaces. */
static int view_namespace(struct holders *holders, struct viewer *viewer, pid_t tid)
{
	struct holder_key key = {.kind = HOLDER_CONTAINER, .place = ""};
	int r = caller_mount_namespace(tid, &key.a);
	bool is_new;

	if (r == -EACCES)
		return fail(viewer, EACCES,
			    "its reader is in no cgroup of its own, and dsec may not see its mount "
			    "namespace; give the container a cgroup, or use scope shared or user");
	if (r < 0)
		return refuse_unseen(viewer, tid, r);
	viewer->container = get(holders, &key, &is_new);
	return 0;
}

static void describe(struct holders *holders, struct holder *holder, const struct cgroup *cgroup)
{
	char folder[2 * CGROUP_PATH_MAX];

	holder->unified = !*cgroup->hierarchy;
	if (cgroup_folder(&holders->mounts, cgroup, folder, sizeof(folder)) == 0)
		holder->folder = alloc_copy(folder);
}

static void view_cgroup(struct holders *holders, struct viewer *viewer, const struct cgroup *cgroup)
{
	char place[CGROUP_NAME_MAX + CGROUP_PATH_MAX + 1];
	struct holder_key key = {
		.kind = HOLDER_CONTAINER,
		.a = cgroup_number(&holders->mounts, cgroup),
		.place = place,
	};
	bool is_new;

	snprintf(place, sizeof(place), "%s:%s", cgroup->hierarchy, cgroup->path);
	viewer->container = get(holders, &key, &is_new);
	if (is_new)
		describe(holders, viewer->container, cgroup);
}

static int view_container(struct holders *holders, struct viewer *viewer, pid_t tid)
{
	char text[CALLER_CGROUPS_MAX];
	struct cgroup cgroup;
	int r = caller_cgroups(tid, text);

	if (r == 0)
		r = cgroup_parse(&cgroup, text);
	if (r == 0)
		view_cgroup(holders, viewer, &cgroup);
	else if (r == -ENOENT)
		r = view_namespace(holders, viewer, tid);
	else
		r = refuse_unseen(viewer, tid, r);
	if (r == 0)
		viewer->holders[SCOPE_CONTAINER] = viewer->container->number;
	return r;
}

/* One number for those of the holders that matter. */
static lease_holder join(struct holders *holders, unsigned scopes, const struct viewer *viewer)
{
	const lease_holder *of = viewer->holders;
	struct holder_key key = {.kind = HOLDER_SET, .place = ""};
	lease_holder only = 0;
	unsigned n = 0;
	bool is_new;

	for (int scope = SCOPE_USER; scope < SCOPES; scope++)
		if (scopes >> scope & 1) {
			only = of[scope];
			n++;
		}
	if (n <= 1)
		return only;
	key.a = scopes >> SCOPE_USER & 1 ? of[SCOPE_USER] : 0;
	key.b = of[SCOPE_CONTAINER];
	key.c = of[SCOPE_PROCESS];
	return get(holders, &key, &is_new)->number;
}

void holders_view(struct holders *holders, unsigned scopes, uid_t uid, pid_t tid,
		  struct viewer *ret)
{
	*ret = (struct viewer){.holders = {[SCOPE_USER] = lease_holder_user(uid)}};
	if (scopes >> SCOPE_PROCESS & 1 && view_process(holders, ret, tid) < 0)
		return;
	if (scopes >> SCOPE_CONTAINER & 1 && view_container(holders, ret, tid) < 0)
		return;
	ret->node = join(holders, scopes, ret);
}

/* Watching. */

/* tid: of one of its threads, 0 where none is known. */
static void send_watch(struct holders *holders, struct holder *holder, pid_t tid)
{
	struct message *message = message_new(MESSAGE_WATCH, 0);

	message->holders[0] = holder->number;
	message->watched = (struct caller){.pid = tid};
	if (holder->kind == HOLDER_PROCESS)
		message->watched = (struct caller){(pid_t)holder->a, holder->b};
	else if (!*holder->place)
		message->namespace = holder->a;
	message->text = alloc_copy(holder->folder);
	message->unified = holder->unified;
	message_send(holders->outbox, message);
	list_remove(&holder->link);
	list_append(&holders->watched, &holder->link);
	holder->watched = true;
	holders->n_idle--;
	holders->n_watched++;
}

static int watch(struct holders *holders, struct viewer *viewer, struct holder *holder, pid_t tid)
{
	if (!holder || holder->watched)
		return 0;
	if (holders->n_watched >= HOLDERS_WATCHED_MAX) {
		viewer->reason = "there are too many holders of leases at this moment";
		return EAGAIN;
	}
	write_slot(holders, holder, tid);
	send_watch(holders, holder, tid);
	return 0;
}

int holders_watch(struct holders *holders, struct viewer *viewer, pid_t tid)
{
	int error = watch(holders, viewer, viewer->container, tid);

	return error ? error : watch(holders, viewer, viewer->process, tid);
}

char *holders_payer(const struct holders *holders, uid_t uid, pid_t tid)
{
	char text[CALLER_CGROUPS_MAX], name[CGROUP_PATH_MAX] = "";
	struct cgroup cgroup;

	if (caller_cgroups(tid, text) == 0 && cgroup_parse(&cgroup, text) == 0 &&
	    cgroup_believed(&holders->mounts, &cgroup))
		cgroup_lasting(&cgroup, name);
	if (!*name)
		snprintf(name, sizeof(name), "uid:%u", (unsigned)uid);
	return alloc_copy(name);
}

static struct holder *find(const struct holders *holders, lease_holder number)
{
	struct table_node *at =
		table_find(&holders->by_number, hash_number(holders, number), same_number, &number);

	return at ? container_of(at, struct holder, by_number) : NULL;
}

bool holders_known(const struct holders *holders, lease_holder number)
{
	const struct holder *holder = find(holders, number);

	return holder && holder->watched;
}

bool holders_is_set(lease_holder number)
{
	return number >> 56 == HOLDER_SET;
}

void holders_ended(struct holders *holders, lease_holder number)
{
	struct holder *holder = find(holders, number);

	if (!holder)
		return;
	if (holder->slot)
		erase_slot(holders, holder->slot);
	holder_free(holders, holder);
}

static void restore(struct holders *holders, struct shared_holder *slot, lease_holder number)
{
	const struct holder_key key = {
		.kind = (enum holder_kind)(number >> 56),
		.a = slot->a,
		.b = slot->b,
		.place = slot->place,
	};
	struct holder *holder = holder_new(holders, &key, hash_key(holders, &key), number);
	char text[sizeof("0:") + SHARED_PLACE_MAX];
	struct cgroup cgroup;

	holder->slot = slot;
	snprintf(text, sizeof(text), "0:%s", slot->place);
	if (*slot->place && cgroup_parse(&cgroup, text) == 0)
		describe(holders, holder, &cgroup);
	send_watch(holders, holder, (pid_t)slot->c);
}

void holders_restore(struct holders *holders)
{
	for (uint32_t i = slots_used(holders); i > 0; i--) {
		struct shared_holder *slot = &holders->shared->holders[i - 1];
		lease_holder number = atomic_load(&slot->number);

		slot->place[SHARED_PLACE_MAX - 1] = '\0';
		if (number && !find(holders, number))
			restore(holders, slot, number);
		else
			erase_slot(holders, slot);
	}
}
