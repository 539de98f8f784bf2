/* Files for who asks the socket: what the engine is asked for. The file thread is the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/give.h"
#include "lease/secret.h"
#include "tests/fs/sample.h"

#define PAYER      "web.service"
#define ARENA_SIZE (1ul << 20)

static struct {
	unsigned acquires, abandoned;
	char project[32], config[32], payer[32];
} asked;

uint64_t engine_acquire(struct engine *engine, const struct acquire *request, engine_acquired *done,
			void *arg)
{
	asked.acquires++;
	snprintf(asked.project, sizeof(asked.project), "%s", request->project);
	snprintf(asked.config, sizeof(asked.config), "%s", request->config);
	snprintf(asked.payer, sizeof(asked.payer), "%s", request->payer ? request->payer : "-");
	return asked.acquires;
}

void engine_abandon(struct engine *engine, uint64_t ticket)
{
	asked.abandoned++;
}

void engine_refused(struct engine *engine, const char *project, const char *config,
		    uint64_t secrets, const struct lease_caller *caller,
		    const struct dsec_error *err)
{
}

struct world {
	struct tree *tree;
	struct queue inbox; /* the file thread's */
	struct gives gives;
	unsigned n_given;
	char told[DSEC_ERROR_MESSAGE_MAX];
};

static void given(void *arg, struct download *bytes, const struct dsec_error *err)
{
	struct world *world = arg;

	world->n_given++;
	snprintf(world->told, sizeof(world->told), "%s", err ? err->message : "");
}

static struct tree *grow(const char *region)
{
	struct catalog *catalog = sample_catalog(region);
	struct tree *tree;

	assert_int_equal(tree_new(&tree, catalog, "1", 0, NULL), 0);
	catalog_unref(catalog);
	return tree;
}

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	memset(&asked, 0, sizeof(asked));
	world->tree = grow("eu");
	assert_int_equal(queue_init(&world->inbox), 0);
	gives_init(&world->gives, &world->inbox);
	*state = world;
	return 0;
}

static int finish(void **state)
{
	struct world *world = *state;

	gives_finish(&world->gives);
	assert_null(queue_take(&world->inbox));
	queue_finish(&world->inbox);
	tree_unref(world->tree);
	free(world);
	return 0;
}

static void ask(struct world *world, const char *path)
{
	const struct lease_caller caller = {.uid = getuid(), .gid = getgid(), .pid = getpid()};

	assert_int_not_equal(
		give_begin(&world->gives, NULL, world->tree, path, &caller, given, world), 0);
}

/* The question that the file thread was asked. */
static struct message *question(struct world *world)
{
	struct queue_item *item = queue_take(&world->inbox);

	assert_non_null(item);
	assert_null(item->next);
	assert_int_equal(message_of(item)->kind, MESSAGE_VIEW);
	return message_of(item);
}

static void answer(struct world *world, struct message *message)
{
	message->kind = MESSAGE_VIEWED;
	message->text = strdup(PAYER);
	give_viewed(&world->gives, world->tree, message);
	message_free(message);
}

static void replace(struct world *world, struct tree *tree)
{
	tree_unref(world->tree);
	world->tree = tree;
}

/* All units are of one user, who has a part of max_rate only. */
static void units_do_not_pay_for_each_other(void **state)
{
	struct world *world = *state;
	static const char *const paths[] = {"app/dev/.json", "app/own/.json"};

	for (unsigned i = 0; i < 2; i++) {
		ask(world, paths[i]);
		answer(world, question(world));
		assert_int_equal(asked.acquires, i + 1);
		assert_string_equal(asked.payer, PAYER);
	}
}

static void a_reload_between_question_and_answer_refuses_nobody(void **state)
{
	struct world *world = *state;

	ask(world, "app/dev/.json");
	struct message *message = question(world);
	replace(world, grow("us"));
	answer(world, message);
	assert_int_equal(asked.acquires, 0); /* whose the leases are is asked anew */
	answer(world, question(world));
	assert_int_equal(asked.acquires, 1);
	assert_string_equal(asked.config, "dev");
	assert_int_equal(world->n_given, 0); /* it waits */
}

static void a_file_that_a_reload_took_away_is_refused_once(void **state)
{
	static const char without[] = "{\"integrations\":{},\"projects\":{}}";
	struct world *world = *state;
	struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog;
	struct tree *tree;

	catalog_system_init(&system);
	assert_int_equal(catalog_parse(&catalog, without, strlen(without), "none.json", true,
				       &system, &problems),
			 0);
	assert_int_equal(tree_new(&tree, catalog, "1", 0, NULL), 0);
	catalog_unref(catalog);
	ask(world, "app/dev/.json");
	struct message *message = question(world);
	replace(world, tree);
	answer(world, message);
	assert_int_equal(world->n_given, 1);
	assert_string_equal(world->told, "there is no such file");
	assert_int_equal(asked.acquires, 0);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(units_do_not_pay_for_each_other),
		TEST(a_reload_between_question_and_answer_refuses_nobody),
		TEST(a_file_that_a_reload_took_away_is_refused_once),
	};

	return cmocka_run_group_tests(tests, open_arena, close_arena);
}
