#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/message.h"
#include "fs/node.h"
#include "tests/fs/sample.h"

#define ARENA_SIZE (1024ul * 1024)
#define NOW_AT     1000000

struct world {
	struct catalog *catalog;
	struct tree *tree;
	struct shared *shared;
	struct queue outbox;
	struct nodes nodes;
	size_t arena_before;
};

static struct tree *grow(struct world *world, const char *region)
{
	struct catalog *catalog = sample_catalog(region);
	struct tree *tree;

	assert_int_equal(tree_new(&tree, catalog, "1", 0, NULL), 0);
	catalog_unref(world->catalog);
	world->catalog = catalog;
	world->tree = tree;
	return tree;
}

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	queue_init(&world->outbox);
	assert_int_equal(shared_map_private(&world->shared, NULL), 0);
	atomic_store(&world->shared->last_node, 99);
	nodes_init(&world->nodes, world->shared, grow(world, "eu"), &world->outbox);
	world->arena_before = secret_arena_used();
	*state = world;
	return 0;
}

/* The messages of one kind that were sent; all are freed. */
static unsigned sent(struct world *world, enum message_kind kind)
{
	struct queue_item *item = queue_take(&world->outbox);
	unsigned n = 0;

	while (item) {
		struct queue_item *next = item->next;
		n += message_of(item)->kind == kind;
		message_free(message_of(item));
		item = next;
	}
	return n;
}

static int finish(void **state)
{
	struct world *world = *state;

	nodes_finish(&world->nodes);
	shared_unmap(world->shared);
	sent(world, MESSAGE_DISCARD);
	queue_finish(&world->outbox);
	catalog_unref(world->catalog);
	free(world);
	return 0;
}

static const struct entry *entry(const struct world *world, const char *config, const char *file)
{
	const struct entry *at = tree_root(world->tree);

	at = entry_child(entry_child(at, "app"), config);
	return file ? entry_child(at, file) : at;
}

static struct node *leased(struct world *world, const char *config, const char *file,
			   struct lease *lease, lease_holder holder)
{
	const struct lease *leases[] = {lease};
	struct node_key key = {
		.kind = NODE_LEASED,
		.entry = entry(world, config, file),
		.holder = holder,
		.leases = leases,
	};
	struct node *node = nodes_get(&world->nodes, &key);

	node->lookups++;
	return node;
}

static struct lease *active(struct world *world, const char *config, uint64_t generation,
			    lease_holder holder)
{
	struct lease *lease =
		sample_lease(world->catalog, config, "AWS_USER", generation, holder, NOW_AT);

	leases_active(&world->nodes.leases, lease);
	return lease;
}

/* As a reader of that uid has its leases. */
static bool choose(struct world *world, const struct entry *of, int64_t ttl_ms, uid_t uid,
		   int64_t now_at, const struct lease *ret[CATALOG_DYNAMICS_MAX], int64_t *until)
{
	const lease_holder holders[SCOPES] = {[SCOPE_USER] = lease_holder_user(uid)};

	return leases_choose(&world->nodes.leases, of, ttl_ms, uid, holders, now_at, ret, until);
}

static void forget(struct world *world, struct node *node)
{
	node->lookups = 0;
	node_settle(&world->nodes, node);
}

static void two_generations_never_share_a_node(void **state)
{
	struct world *world = *state;
	struct lease *one = active(world, "dev", 1, 0), *two = active(world, "dev", 2, 0);
	struct node *first = leased(world, "dev", ".json", one, 0);

	assert_ptr_equal(leased(world, "dev", ".json", one, 0), first);
	assert_ptr_not_equal(leased(world, "dev", ".json", two, 0), first);
	assert_ptr_not_equal(leased(world, "dev", ".env", one, 0), first);
	assert_int_equal(leased(world, "dev", ".json", two, 0)->ino, first->ino);
	lease_unref(one);
	lease_unref(two);
}

static void two_holders_never_share_a_node(void **state)
{
	struct world *world = *state;
	struct node_key key = {
		.kind = NODE_UNLEASED,
		.entry = entry(world, "own", ".json"),
		.holder = 1001,
	};
	struct node *first = nodes_get(&world->nodes, &key);

	assert_ptr_equal(nodes_get(&world->nodes, &key), first);
	key.holder = 1002;
	assert_ptr_not_equal(nodes_get(&world->nodes, &key), first);
}

static void a_node_id_is_never_used_twice(void **state)
{
	struct world *world = *state;
	uint64_t last = 0;

	for (uint64_t i = 1; i <= 100; i++) {
		struct lease *lease = active(world, "dev", i, 0);
		struct node *node = leased(world, "dev", ".json", lease, 0);

		assert_true(node->id > last);
		assert_true(node->id >= 100);
		last = node->id;
		forget(world, node);
		assert_null(nodes_find(&world->nodes, last));
		lease_unref(lease);
	}
}

static void an_ended_leases_bytes_go_at_once_where_nobody_has_them_open(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	char id[LEASE_ID_MAX];

	memcpy(id, lease->id, sizeof(id));
	leased(world, "dev", ".json", lease, 0);
	leased(world, "dev", ".env", lease, 0);
	lease_unref(lease);
	assert_true(secret_arena_used() > world->arena_before);
	nodes_end_lease(&world->nodes, id);
	assert_int_equal(secret_arena_used(), world->arena_before);
	assert_int_equal(sent(world, MESSAGE_INVALIDATE), 2);
}

/* Zeroes in the page cache are for what is dead: a pipe may share the pages of what is not. */
static void only_a_dead_leases_pages_are_zeroed(void **state)
{
	struct world *world = *state;
	struct lease *dead = active(world, "dev", 1, 0), *alive = active(world, "dev", 2, 0);
	uint64_t zeroed = leased(world, "dev", ".env", dead, 0)->id;
	unsigned dropped = 0;

	leased(world, "dev", ".json", alive, 0);
	nodes_end_lease(&world->nodes, dead->id);
	nodes_reload(&world->nodes, grow(world, "us"));
	for (struct queue_item *next, *item = queue_take(&world->outbox); item; item = next) {
		struct message *message = message_of(item);

		next = item->next;
		if (message->kind == MESSAGE_INVALIDATE) {
			assert_int_equal(message->size > 0, message->node == zeroed);
			dropped++;
		}
		message_free(message);
	}
	assert_true(dropped >= 2);
	lease_unref(dead);
	lease_unref(alive);
}

static void an_open_file_keeps_its_bytes_until_it_is_closed(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	struct node *node = leased(world, "dev", "AWS_USER_SECRET_ACCESS_KEY", lease, 0);
	uint64_t id = node->id;
	struct download bytes = {0};

	lease_unref(lease);
	node->opens = 1;
	nodes_end_lease(&world->nodes, "AWS_USER-1");
	assert_false(node_alive(node, NOW_AT));
	assert_int_equal(node_render(&world->nodes, node, &bytes), 0);
	assert_int_equal(bytes.n, 40);
	download_finish(&bytes);
	forget(world, node);
	assert_ptr_equal(nodes_find(&world->nodes, id), node);
	node->opens = 0;
	node_settle(&world->nodes, node);
	assert_null(nodes_find(&world->nodes, id));
	assert_int_equal(secret_arena_used(), world->arena_before);
}

static void a_dead_lease_is_not_opened_though_nobody_said_so(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	struct node *node = leased(world, "dev", ".json", lease, 0);

	assert_true(node_alive(node, lease->rotate_at + 1));
	assert_true(node_alive(node, lease->expire_at - 1));
	assert_false(node_alive(node, lease->expire_at));
	lease_unref(lease);
}

static void a_renewed_version_takes_the_older_ones_place(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	struct lease *renewed =
		sample_lease(world->catalog, "dev", "AWS_USER", 2, 0, NOW_AT + 1000);
	const struct lease *given[CATALOG_DYNAMICS_MAX];
	const struct entry *json = entry(world, "dev", ".json");
	int64_t until_at;

	memcpy(renewed->id, lease->id, sizeof(renewed->id));
	struct node *node = leased(world, "dev", ".json", lease, 0);
	leases_active(&world->nodes.leases, renewed);
	assert_true(choose(world, json, 0, 0, NOW_AT + 2000, given, &until_at));
	assert_int_equal(given[0]->generation, 2);
	assert_true(node_alive(node, NOW_AT + 2000));
	nodes_end_lease(&world->nodes, lease->id);
	assert_false(node_alive(node, NOW_AT + 2000));
	assert_false(choose(world, json, 0, 0, NOW_AT + 2000, given, &until_at));
	lease_unref(lease);
	lease_unref(renewed);
}

static void an_adopted_lease_has_no_secret_and_is_given_to_nobody(void **state)
{
	struct world *world = *state;
	struct lease *lease = sample_lease(world->catalog, "dev", "AWS_USER", 1, 0, NOW_AT);
	const struct lease *given[CATALOG_DYNAMICS_MAX];
	int64_t until_at;

	lease->secret_access_key = secret_unref(lease->secret_access_key);
	leases_active(&world->nodes.leases, lease);
	assert_false(choose(world, entry(world, "dev", ".json"), 0, 0, NOW_AT, given, &until_at));
	lease_unref(lease);
}

static void a_caller_keeps_its_lease_and_a_stranger_gets_the_newest(void **state)
{
	struct world *world = *state;
	struct lease *old = active(world, "dev", 1, 0), *new;
	struct node *node = leased(world, "dev", ".json", old, 0);
	const struct lease *given[CATALOG_DYNAMICS_MAX];
	const struct entry *json = entry(world, "dev", ".json");
	int64_t until_at;

	leases_remember(&world->nodes.leases, &node->bindings[0], 1001, NOW_AT);
	new = sample_lease(world->catalog, "dev", "AWS_USER", 2, 0, NOW_AT + 1000);
	leases_active(&world->nodes.leases, new);
	assert_true(choose(world, json, 0, 1001, NOW_AT + 2000, given, &until_at));
	assert_int_equal(given[0]->generation, 1);
	assert_true(choose(world, json, 0, 1002, NOW_AT + 2000, given, &until_at));
	assert_int_equal(given[0]->generation, 2);
	assert_int_equal(until_at, NOW_AT + 2000);
	lease_unref(old);
	lease_unref(new);
}

static void a_lease_of_another_ttl_serves_only_who_asked_for_it(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	const struct lease *given[CATALOG_DYNAMICS_MAX];
	const struct entry *json = entry(world, "dev", ".json");
	int64_t until_at;

	assert_int_equal(node_file_ttl(json, 1800000), 0);
	assert_int_equal(node_file_ttl(json, 10800000), 10800000);
	assert_true(choose(world, json, 0, 0, NOW_AT, given, &until_at));
	assert_false(choose(world, json, 10800000, 0, NOW_AT, given, &until_at));
	lease_unref(lease);
}

static void an_unleased_node_becomes_the_leased_one_of_its_name(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	const struct lease *leases[] = {lease};
	struct node_key key = {.kind = NODE_UNLEASED, .entry = entry(world, "dev", ".json")};
	struct node *node = nodes_get(&world->nodes, &key);
	struct download bytes = {0};

	assert_int_equal(node->size, 0);
	node_bind(&world->nodes, node, leases);
	assert_int_equal(node_render(&world->nodes, node, &bytes), 0);
	assert_int_equal(node->size, bytes.n);
	assert_ptr_equal(leased(world, "dev", ".json", lease, 0), node);
	assert_ptr_not_equal(nodes_get(&world->nodes, &key), node);
	download_finish(&bytes);
	lease_unref(lease);
}

static void a_spent_node_is_not_found_by_its_name_again(void **state)
{
	struct world *world = *state;
	struct node_key key = {.kind = NODE_UNLEASED, .entry = entry(world, "dev", ".json")};
	struct node *node = nodes_get(&world->nodes, &key);

	node->lookups = 1;
	node_spend(&world->nodes, node);
	assert_ptr_not_equal(nodes_get(&world->nodes, &key), node);
}

static void a_reload_keeps_nodes_of_equal_bytes_and_only_those(void **state)
{
	struct world *world = *state;
	struct lease *lease = active(world, "dev", 1, 0);
	struct node_key region = {.kind = NODE_STATIC, .entry = entry(world, "dev", "REGION")};
	struct node_key project = {.kind = NODE_STATIC,
				   .entry = entry(world, "dev", "DOPPLER_PROJECT")};
	struct node *changing = nodes_get(&world->nodes, &region);
	struct node *same = nodes_get(&world->nodes, &project);
	struct node *key = leased(world, "dev", "AWS_USER_ARN", lease, 0);
	struct node *whole = leased(world, "dev", ".json", lease, 0);
	struct download before = {0}, after = {0};

	changing->lookups = same->lookups = 1;
	changing->opens = whole->opens = 1;
	assert_int_equal(node_render(&world->nodes, whole, &before), 0);
	nodes_reload(&world->nodes, grow(world, "us"));

	assert_false(same->stale);
	assert_false(key->stale);
	assert_true(changing->stale);
	assert_true(whole->stale);
	region.entry = entry(world, "dev", "REGION");
	project.entry = entry(world, "dev", "DOPPLER_PROJECT");
	assert_ptr_equal(nodes_get(&world->nodes, &project), same);
	assert_ptr_not_equal(nodes_get(&world->nodes, &region), changing);
	assert_ptr_equal(leased(world, "dev", "AWS_USER_ARN", lease, 0), key);

	assert_int_equal(node_render(&world->nodes, whole, &after), 0);
	assert_int_equal(before.n, after.n);
	assert_memory_equal(before.bytes, after.bytes, before.n);
	download_finish(&before);
	download_finish(&after);
	changing->opens = whole->opens = 0;
	node_settle(&world->nodes, changing);
	node_settle(&world->nodes, whole);
	lease_unref(lease);
}

static void made_up_names_are_bounded(void **state)
{
	struct world *world = *state;
	struct node_key project = {
		.kind = NODE_FOLDER,
		.entry = entry_child(tree_root(world->tree), "app"),
		.folder = NODE_ROOT,
		.name = "app",
	};
	uint64_t folder = nodes_get(&world->nodes, &project)->id;
	char name[32];
	struct node_key key = {
		.kind = NODE_FOLDER,
		.entry = entry(world, "dev", NULL),
		.folder = folder,
		.name = name,
	};

	for (unsigned i = 0; i < NODES_VARIANTS_MAX; i++) {
		snprintf(name, sizeof(name), "dev@%ums", 10000 + i);
		assert_non_null(nodes_get(&world->nodes, &key));
	}
	snprintf(name, sizeof(name), "dev@1h");
	assert_null(nodes_get(&world->nodes, &key));
	snprintf(name, sizeof(name), "dev");
	assert_non_null(nodes_get(&world->nodes, &key));
	assert_int_equal(sent(world, MESSAGE_FORGET), NODES_VARIANTS_MAX - NODES_VARIANTS_KEPT);
}

static int open_arena(void **state)
{
	return secret_arena_init(ARENA_SIZE, NULL);
}

static int close_arena(void **state)
{
	secret_arena_finish();
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_generations_never_share_a_node),
		TEST(two_holders_never_share_a_node),
		TEST(a_node_id_is_never_used_twice),
		TEST(an_ended_leases_bytes_go_at_once_where_nobody_has_them_open),
		TEST(only_a_dead_leases_pages_are_zeroed),
		TEST(an_open_file_keeps_its_bytes_until_it_is_closed),
		TEST(a_dead_lease_is_not_opened_though_nobody_said_so),
		TEST(a_renewed_version_takes_the_older_ones_place),
		TEST(an_adopted_lease_has_no_secret_and_is_given_to_nobody),
		TEST(a_caller_keeps_its_lease_and_a_stranger_gets_the_newest),
		TEST(a_lease_of_another_ttl_serves_only_who_asked_for_it),
		TEST(an_unleased_node_becomes_the_leased_one_of_its_name),
		TEST(a_spent_node_is_not_found_by_its_name_again),
		TEST(a_reload_keeps_nodes_of_equal_bytes_and_only_those),
		TEST(made_up_names_are_bounded),
	};

	return cmocka_run_group_tests(tests, open_arena, close_arena);
}
