/*
 * Whatever order requests of the kernel, answers of the engine, ends of leases, interrupts and
 * reloads come in: nothing is used after its end, nothing leaks, and no secret is left.
 *
 * The input is a list of steps, a byte that says what and three that say with what. Requests are
 * well-formed, as a kernel's are; ids and order are not.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "lease/secret.h"
#include "tests/fs/sample.h"

#define ARENA_SIZE (4ul * 1024 * 1024)
#define STEPS_MAX  400
#define UIDS       3

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tree *trees[2];
static struct catalog *catalogs[2];
static int64_t now_at;

static int64_t fuzz_now(const struct clock *clock)
{
	return now_at;
}

static void fuzz_random(const struct clock *clock, void *to, size_t n)
{
	memset(to, 42, n);
}

static const struct clock fuzz_clock = {
	.boottime_at = fuzz_now,
	.calendar_ms = fuzz_now,
	.random_bytes = fuzz_random,
};

struct world {
	struct files files;
	unsigned tree;
	uint64_t unique, generation;
	unsigned interrupts;
	uint8_t a, b, c; /* the step's */
};

static struct tree *grow(struct catalog *catalog)
{
	struct tree *tree;

	if (tree_new(&tree, catalog, "1", 0, NULL) < 0)
		abort();
	return tree;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct dsec_error err;

	if (secret_arena_init(ARENA_SIZE, &err) < 0)
		abort();
	catalogs[0] = sample_catalog("eu");
	catalogs[1] = sample_catalog("us");
	trees[0] = grow(catalogs[0]);
	trees[1] = grow(catalogs[1]);
	return 0;
}

static void request(struct world *world, uint32_t opcode, const void *body, size_t n,
		    const char *name)
{
	size_t name_n = name ? strlen(name) + 1 : 0;
	size_t size = sizeof(struct fuse_in_header) + n + name_n;
	char *bytes = malloc(size); /* of its exact size, so that reading past it is seen */
	struct fuse_in_header header = {
		.len = (uint32_t)size,
		.opcode = opcode,
		.unique = ++world->unique,
		.nodeid = world->a,
		.uid = world->c % UIDS,
	};

	if (!bytes)
		abort();
	memcpy(bytes, &header, sizeof(header));
	if (n > 0)
		memcpy(bytes + sizeof(header), body, n);
	if (name)
		memcpy(bytes + sizeof(header) + n, name, name_n);
	files_process(&world->files, bytes, size);
	free(bytes);
}

static void look_up(struct world *world)
{
	static const char *const names[] = {
		"app",
		".dsec",
		"dev",
		"own",
		"two",
		"plain",
		"dev@3h",
		"own@10s",
		"two@1h",
		".json",
		".env",
		"AWS_USER_ARN",
		".aws",
		"AWS_USER",
		"credentials",
		".status",
		"metrics",
		"version",
		".probe",
		"A",
		"REGION",
		"AWS_ONE_ACCESS_KEY_ID",
		"dev@9s",
		"\xff@\xff@",
		"",
	};

	request(world, FUSE_LOOKUP, NULL, 0, names[world->b % (sizeof(names) / sizeof(names[0]))]);
}

static void open_file(struct world *world)
{
	static const uint32_t flags[] = {O_RDONLY, O_RDONLY, O_RDONLY | O_NONBLOCK, O_RDWR};
	struct fuse_open_in in = {.flags = flags[world->b % 4]};

	request(world, FUSE_OPEN, &in, sizeof(in), NULL);
}

static void read_file(struct world *world, uint32_t opcode)
{
	struct fuse_read_in in = {.offset = world->b, .size = world->b * 16u};

	request(world, opcode, &in, sizeof(in), NULL);
}

static void release(struct world *world)
{
	struct fuse_release_in in = {0};

	request(world, FUSE_RELEASE, &in, sizeof(in), NULL);
}

static void forget(struct world *world)
{
	struct fuse_forget_in in = {.nlookup = world->b};

	request(world, FUSE_FORGET, &in, sizeof(in), NULL);
}

static void get_attribute(struct world *world)
{
	struct fuse_getxattr_in in = {.size = world->b};

	request(world, FUSE_GETXATTR, &in, sizeof(in),
		world->b & 1 ? "user.dsec.lease_id" : FS_ATTRIBUTE_PID);
}

static void get_attributes(struct world *world)
{
	struct fuse_getattr_in in = {0};

	request(world, FUSE_GETATTR, &in, sizeof(in), NULL);
}

static void interrupt(struct world *world)
{
	struct fuse_interrupt_in in = {.unique = world->unique - world->b % 16};

	request(world, FUSE_INTERRUPT, &in, sizeof(in), NULL);
	world->interrupts++;
}

/* The engine's side. */

static struct lease *make(struct world *world, const struct lease_slot *slot)
{
	return sample_lease(catalogs[world->tree], slot->config, slot->secret, ++world->generation,
			    slot->holder, now_at);
}

static void tell_lease(struct world *world, enum lease_event event, const struct lease *lease)
{
	struct message *message = message_new(MESSAGE_LEASE, 1);

	message->event = event;
	message->leases[0] = lease_ref(lease);
	files_take(&world->files, message);
}

static void answer(struct world *world, const struct message *question)
{
	const struct entry *entry = question->entry;
	size_t n = (size_t)__builtin_popcountll(entry->secrets), at = 0;
	bool fails = world->b % 4 == 0;
	struct message *message = message_new(MESSAGE_ACQUIRED, fails ? 0 : n);

	message->acquire = question->acquire;
	message->node = question->node;
	message->error = fails ? 5 : 0;
	for (uint64_t left = fails ? 0 : entry->secrets; left; left &= left - 1) {
		const struct dynamic_secret *secret =
			&entry->config->dynamics[__builtin_ctzll(left)];
		struct lease_slot slot = {
			.config = entry->config->name,
			.secret = secret->name,
			.holder = secret->scope == SCOPE_USER ? question->caller.uid + 1u : 0,
		};
		message->leases[at] = make(world, &slot);
		if (world->b & 8)
			tell_lease(world, LEASE_ACTIVE, message->leases[at]);
		at++;
	}
	files_take(&world->files, message);
}

static void serve_engine(struct world *world)
{
	struct queue_item *item = queue_take(&world->files.outbox);

	while (item) {
		struct queue_item *next = item->next;
		struct message *message = message_of(item);

		item = next;
		if (message->kind == MESSAGE_REPORT) {
			message->text = strdup(world->b & 1 ? "one\n" : "another\n");
			files_take(&world->files, message);
			continue;
		}
		if (message->kind == MESSAGE_ACQUIRE)
			answer(world, message);
		message_free(message);
	}
}

static void change_lease(struct world *world)
{
	static const char *const configs[] = {"dev", "own"};
	struct lease_slot slot = {
		.config = configs[world->a % 2],
		.secret = "AWS_USER",
		.holder = world->a % 2 ? world->c % UIDS + 1u : 0,
	};
	struct lease *lease;

	if (world->b & 1) {
		lease = make(world, &slot);
		tell_lease(world, LEASE_ACTIVE, lease);
	} else {
		/* One that there was, or a renewed one of it. */
		uint64_t generation = world->generation ? world->b % world->generation + 1 : 1;
		lease = sample_lease(catalogs[world->tree], slot.config, slot.secret, generation,
				     slot.holder, now_at);
		lease->generation = ++world->generation;
		tell_lease(world, world->b & 2 ? LEASE_ACTIVE : LEASE_ENDED, lease);
	}
	lease_unref(lease);
}

static void reload(struct world *world)
{
	struct message *message = message_new(MESSAGE_TREE, 0);

	world->tree = !world->tree;
	message->tree = tree_ref(trees[world->tree]);
	files_take(&world->files, message);
}

static void choose(struct world *world, int first_open)
{
	struct message *message = message_new(MESSAGE_CHOSEN, 0);

	message->first_open = first_open;
	files_take(&world->files, message);
}

static void step(struct world *world, uint8_t what)
{
	switch (what % 18) {
	case 0:
	case 1:
	case 2:
		look_up(world);
		break;
	case 3:
	case 4:
		open_file(world);
		break;
	case 5:
		read_file(world, FUSE_READ);
		break;
	case 6:
		release(world);
		break;
	case 7:
		forget(world);
		break;
	case 8:
		interrupt(world);
		break;
	case 9:
	case 10:
		serve_engine(world);
		break;
	case 11:
		change_lease(world);
		break;
	case 12:
		reload(world);
		break;
	case 13:
		get_attribute(world);
		break;
	case 14:
		read_file(world, FUSE_READDIR);
		break;
	case 15:
		choose(world, world->b & 1 ? FS_FIRST_OPEN_STORE : FS_FIRST_OPEN_ESTALE);
		break;
	case 16:
		now_at += world->b * INT64_C(60000);
		break;
	default:
		get_attributes(world);
		break;
	}
}

static void begin(struct world *world)
{
	struct fs_options options = {
		.clock = &fuzz_clock,
		.first_open = FS_FIRST_OPEN_PROBE,
		.state_folder = "",
		.config_file = "",
	};
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = 31};

	*world = (struct world){0};
	now_at = 1000000;
	if (queue_init(&world->files.inbox) < 0 || queue_init(&world->files.outbox) < 0 ||
	    shared_map_private(&world->files.shared, NULL) < 0 ||
	    session_open(&world->files, open("/dev/null", O_RDWR | O_CLOEXEC), NULL) < 0)
		abort();
	files_init(&world->files, &options, tree_ref(trees[0]));
	/* Older kernels' INIT is shorter; the rest of the struct says what is newer. */
	request(world, FUSE_INIT, &in, sizeof(in), NULL);
}

static void finish(struct world *world)
{
	/* libfuse keeps an interrupt that came for no request until the next one, and for ever when
	 * there is none. */
	for (; world->interrupts > 0; world->interrupts--)
		get_attributes(world);
	files_take(&world->files, message_new(MESSAGE_STOP, 0));
	if (world->files.n_kept != 0)
		abort();
	files_finish(&world->files);
	session_close(&world->files);
	shared_unmap(world->files.shared);
	for (struct queue_item *item = queue_take(&world->files.outbox); item;) {
		struct queue_item *next = item->next;
		message_free(message_of(item));
		item = next;
	}
	queue_finish(&world->files.inbox);
	queue_finish(&world->files.outbox);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	size_t used = secret_arena_used();

	begin(&world);
	for (size_t i = 0; i < STEPS_MAX && size >= 4; i++, data += 4, size -= 4) {
		world.a = data[1];
		world.b = data[2];
		world.c = data[3];
		step(&world, data[0]);
	}
	finish(&world);
	if (secret_arena_used() != used)
		abort();
	return 0;
}
