/*
 * Whatever order requests of the kernel, answers of the engine, ends of leases, interrupts, reloads
 * and deaths of the process come in, and whatever a process that has gone astray leaves to the
 * next: nothing is used after its end, nothing leaks, and no secret is left.
 *
 * The input is a list of steps, a byte that says what and three that say with what; some take
 * further bytes. Most requests are well-formed, as a kernel's are; ids and order are not. What
 * stands for the kernel takes each answer, or none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs_private.h"
#include "fs/request.h"
#include "lease/secret.h"
#include "tests/fs/sample.h"

#define ARENA_SIZE  (4ul * 1024 * 1024)
#define STEPS_MAX   400
#define UIDS        3
#define NAME_BYTES  64
#define RAW_MAX     1024
#define RAW_PADDING 512
#define LIVE_MAX    32  /* leases that the engine tells of again */
#define LEFT_MAX    512 /* of each kind of thing in the shared memory */

#define POLICY                                                                                     \
	"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"ec2:*\","    \
	"\"Resource\":\"*\"}}"
#define SECRET(name, more)                                                                         \
	"\"" name "\":{\"integration\":\"aws\",\"max_ttl\":\"4h\",\"policy\":" POLICY more "}"
#define CONFIG(name, secrets) "\"" name "\":{\"dynamic_secrets\":{" secrets "}}"

/* With what one reload changes. */
static const char configuration[] =
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":"
	"\"environment\"}}},"
	"\"projects\":{\"app\":{"
	"\"dev\":{\"secrets\":{\"REGION\":\"%1$s\"},\"dynamic_secrets\":{" SECRET("AWS_USER", "") "}}," CONFIG("own", SECRET("AWS_USER", ",\"scope\":\"user\"")) "," CONFIG(
		"two",
		SECRET("AWS_ONE", "") "," SECRET(
			"AWS_TWO",
			"")) "," CONFIG("process",
					SECRET("AWS_USER",
					       ",\"scope\":\"process\"")) "," CONFIG("box",
										     SECRET("AWS_"
											    "USER",
											    ",\"sco"
											    "pe\":"
											    "\"cont"
											    "ainer"
											    "\"")) "," CONFIG("mix",
													      SECRET("AWS_ONE", ",\"scope\":\"user\"") "," SECRET(
														      "AWS_TWO",
														      ",\"scope\":\"process\"")) ","
																		 "\"hidden\":{\"secrets\":{\"A\":\"1\"},\"dynamic_secrets\":{" SECRET(
																			 "AWS_USER",
																			 "") "},"
																			     "\"access\":{\"mode\":\"0444\",\"hide\":true,\"allow\":{\"uids\":[1]}}},"
																			     "\"lists\":{\"secrets\":{\"A\":\"1\"},\"access\":{\"mode\":\"0044\",\"hide\":%2$s,"
																			     "\"allow\":{\"gids\":[2],\"units\":[\"x*.service\"],\"containers\":[\"docker:*\"]}}},"
																			     "\"plain%1$s\":{\"secrets\":{\"A\":\"1\"}}},"
																			     "\"other\":{\"dev\":{}}}}";

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
	struct shared *shared;
	int null_fd, full_fd; /* what takes each answer, and what takes none */
	unsigned tree;
	uint64_t unique, generation;
	unsigned interrupts;
	struct lease *live[LIVE_MAX];
	unsigned n_live;
	size_t padding;  /* zeroes that follow a request */
	bool over;       /* the next process could not begin */
	uint8_t a, b, c; /* the step's */
	const uint8_t *rest;
	size_t n_rest;
};

/* The next bytes of the input, as many as there are; *n is how many. */
static const uint8_t *take(struct world *world, size_t *n)
{
	const uint8_t *at = world->rest;

	if (*n > world->n_rest)
		*n = world->n_rest;
	world->rest += *n;
	world->n_rest -= *n;
	return at;
}

static struct catalog *load(const char *region, const char *hide)
{
	static struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog;
	char text[8192];
	int n = snprintf(text, sizeof(text), configuration, region, hide);

	catalog_system_init(&system);
	if (n >= (int)sizeof(text) ||
	    catalog_parse(&catalog, text, (size_t)n, "dsec.json", true, &system, &problems) < 0) {
		fprintf(stderr, "%s: %s\n", problems.at[0].path, problems.at[0].message);
		abort();
	}
	return catalog;
}

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
	catalogs[0] = load("eu", "false");
	catalogs[1] = load("us", "true");
	trees[0] = grow(catalogs[0]);
	trees[1] = grow(catalogs[1]);
	return 0;
}

static void request(struct world *world, uint32_t opcode, const void *body, size_t n,
		    const char *name)
{
	size_t name_n = name ? strlen(name) + 1 : 0;
	size_t size = sizeof(struct fuse_in_header) + n + name_n;
	/* Of its exact size, so that reading past it is seen; but libfuse relies on whole ones. */
	char *bytes = calloc(size + world->padding, 1);
	struct fuse_in_header header = {
		.len = (uint32_t)size,
		.opcode = opcode,
		.unique = ++world->unique,
		.nodeid = world->a,
		.uid = world->c % UIDS,
		.gid = world->c % UIDS,
		.pid = world->c & 0x80 ? 0 : (uint32_t)getpid(),
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
		"plaineu",
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
		"process",
		"box",
		"mix",
		"hidden",
		"lists",
		"dev@fresh",
		"mix@fresh,1h",
		"dev@5h",
		"other",
		"hidden@fresh",
		"leases.json",
	};

	request(world, FUSE_LOOKUP, NULL, 0, names[world->b % (sizeof(names) / sizeof(names[0]))]);
}

static void look_up_any(struct world *world)
{
	char name[NAME_BYTES + 1] = "";
	size_t n = world->b % NAME_BYTES;
	const uint8_t *bytes = take(world, &n);

	if (n > 0)
		memcpy(name, bytes, n);
	request(world, FUSE_LOOKUP, NULL, 0, name);
}

/* Any opcode with any body. */
static void any_request(struct world *world)
{
	size_t n = world->c;
	const uint8_t *body = take(world, &n);

	/* The session's own begin and end are the process's. */
	if (world->b == FUSE_INIT || world->b == FUSE_DESTROY)
		return;
	world->padding = RAW_PADDING;
	request(world, world->b, body, n, NULL);
	world->padding = 0;
	world->interrupts += world->b == FUSE_INTERRUPT;
}

static void open_file(struct world *world)
{
	static const uint32_t flags[] = {O_RDONLY, O_RDONLY, O_RDONLY | O_NONBLOCK, O_RDWR};
	struct fuse_open_in in = {.flags = flags[world->b % 4]};

	request(world, FUSE_OPEN, &in, sizeof(in), NULL);
}

static void read_any(struct world *world, uint32_t opcode)
{
	struct fuse_read_in in = {.offset = world->b & 0x3f, .size = world->b * 16u};

	request(world, opcode, &in, sizeof(in), NULL);
}

static void read_bytes(struct world *world)
{
	read_any(world, FUSE_READ);
}

static void read_folder(struct world *world)
{
	read_any(world, FUSE_READDIR);
}

static void release(struct world *world)
{
	/* Of a place, as the first or a later one who had it. */
	struct fuse_release_in in = {.fh = (uint64_t)(world->c >> 2 & 3) << 32 | world->b};

	request(world, FUSE_RELEASE, &in, sizeof(in), NULL);
}

static void forget(struct world *world)
{
	struct fuse_forget_in in = {.nlookup = world->b};

	request(world, FUSE_FORGET, &in, sizeof(in), NULL);
}

static void get_attribute(struct world *world)
{
	static const char *const names[] = {
		"user.dsec.lease_id",  "user.dsec.expires",  FS_ATTRIBUTE_PID,
		FS_ATTRIBUTE_STATE,    FS_ATTRIBUTE_CONFIG,  FS_ATTRIBUTE_WORKER,
		FS_ATTRIBUTE_RESTARTS, FS_ATTRIBUTE_SANDBOX, FS_ATTRIBUTE_MEMORY,
		FS_ATTRIBUTE_NOTICE,   "security.selinux"};
	struct fuse_getxattr_in in = {.size = world->b};

	request(world, FUSE_GETXATTR, &in, sizeof(in), names[world->c / UIDS % 11]);
}

static void list_attributes(struct world *world)
{
	struct fuse_getxattr_in in = {.size = world->b};

	request(world, FUSE_LISTXATTR, &in, sizeof(in), NULL);
}

static void open_folder(struct world *world)
{
	struct fuse_open_in in = {0};

	request(world, FUSE_OPENDIR, &in, sizeof(in), NULL);
}

static void wait_for_change(struct world *world)
{
	struct fuse_poll_in in = {
		.fh = (uint64_t)(world->c >> 2 & 3) << 32 | (world->b & 0x0f),
		.kh = world->b >> 4,
		.flags = world->b & 1 ? FUSE_POLL_SCHEDULE_NOTIFY : 0,
	};

	request(world, FUSE_POLL, &in, sizeof(in), NULL);
}

static void forget_many(struct world *world)
{
	struct {
		struct fuse_batch_forget_in head;
		struct fuse_forget_one ones[2];
	} in = {{.count = 2}, {{world->b, 1}, {world->c, 2}}};

	request(world, FUSE_BATCH_FORGET, &in, sizeof(in), NULL);
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

static void tell(struct world *world, enum message_kind kind, enum lease_event event,
		 const struct lease *lease)
{
	struct message *message = message_new(kind, 1);

	message->event = event;
	message->leases[0] = lease_ref(lease);
	files_take(&world->files, message);
}

/* The engine knows it from now on: the next process is told of it, too. */
static void tell_active(struct world *world, const struct lease *lease)
{
	struct lease **at = &world->live[world->n_live++ % LIVE_MAX];

	lease_unref(*at);
	*at = lease_ref(lease);
	tell(world, MESSAGE_LEASE, LEASE_ACTIVE, lease);
}

static void answer(struct world *world, const struct message *question)
{
	const struct entry *entry = question->entry;
	size_t n = (size_t)__builtin_popcountll(entry->secrets), at = 0;
	bool fails = world->b % 4 == 0;
	struct message *message = message_new(MESSAGE_ACQUIRED, fails ? 0 : n);

	message->acquire = question->acquire + (world->b & 0x40);
	message->node = question->node;
	message->error = fails ? 5 : 0;
	for (uint64_t left = fails ? 0 : entry->secrets; left; left &= left - 1) {
		const struct dynamic_secret *secret =
			&entry->config->dynamics[__builtin_ctzll(left)];
		struct lease_slot slot = {
			.config = entry->config->name,
			.secret = secret->name,
			.holder = question->holders[secret->scope],
		};
		message->leases[at] = make(world, &slot);
		if (world->b & 8)
			tell_active(world, message->leases[at]);
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
			message->error = world->b & 2 ? EACCES : 0;
			if (!message->error)
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
		tell_active(world, lease);
	} else {
		/* One that there was, or a renewed one of it. */
		uint64_t generation = world->generation ? world->b % world->generation + 1 : 1;
		lease = sample_lease(catalogs[world->tree], slot.config, slot.secret, generation,
				     slot.holder, now_at);
		lease->generation = ++world->generation;
		tell(world, MESSAGE_LEASE, world->b & 2 ? LEASE_ACTIVE : LEASE_ENDED, lease);
	}
	lease_unref(lease);
}

/* Of one that it knows. */
static void turn_lease(struct world *world)
{
	struct lease **at = &world->live[world->a % LIVE_MAX];

	if (!*at)
		return;
	if (world->b % 4 == 0) {
		tell(world, MESSAGE_LEASE, LEASE_ENDED, *at);
		*at = lease_unref(*at);
	} else {
		tell(world, world->b & 1 ? MESSAGE_ROTATED : MESSAGE_DUE, LEASE_ACTIVE, *at);
	}
}

static void end_holder(struct world *world)
{
	struct message *message = message_new(MESSAGE_HOLDER_ENDED, 0);

	message->holders[0] =
		lease_holder_of(world->b & 1 ? HOLDER_PROCESS : HOLDER_CONTAINER, world->a);
	files_take(&world->files, message);
}

static void notice(struct world *world)
{
	struct message *message = message_new(MESSAGE_NOTICE, 0);

	message->text = strdup("a notice");
	files_take(&world->files, message);
	world->files.watches_readers = world->b & 1;
}

static void reload(struct world *world)
{
	struct message *message = message_new(MESSAGE_TREE, 0);

	world->tree = !world->tree;
	message->tree = tree_ref(trees[world->tree]);
	files_take(&world->files, message);
}

static void choose_way(struct world *world)
{
	struct message *message = message_new(MESSAGE_CHOSEN, 0);

	message->first_open = world->b & 1 ? FS_FIRST_OPEN_STORE : FS_FIRST_OPEN_ESTALE;
	files_take(&world->files, message);
}

static void pass_time(struct world *world)
{
	now_at += world->b * INT64_C(60000);
}

/* A process dies, and another takes its place. */

/* What stays of the shared memory: what was ever touched. */
struct left {
	struct shared_kept *kept;
	struct shared_handle *handles;
	struct shared_cell *cells;
	struct shared_holder *holders;
	uint32_t n_kept, n_handles, n_cells, n_holders;
	unsigned char current[RAW_MAX];
};

static void *copy(const void *from, size_t n, size_t size)
{
	void *to = calloc(n + 1, size);

	if (!to)
		abort();
	memcpy(to, from, n * size);
	return to;
}

static uint32_t few(uint32_t n)
{
	return n < LEFT_MAX ? n : LEFT_MAX;
}

/* What its memory is given back by changes what it has left. */
static void keep_left(struct left *left, const struct shared *shared)
{
	left->n_kept = few(shared->kept_used);
	left->n_handles = few(shared->handles_used);
	left->n_cells = few(shared->cells_used);
	left->n_holders = few(shared->holders_used);
	left->kept = copy(shared->kept, left->n_kept, sizeof(*left->kept));
	left->handles = copy(shared->handles, left->n_handles, sizeof(*left->handles));
	left->cells = copy(shared->cells, left->n_cells, sizeof(*left->cells));
	left->holders = copy(shared->holders, left->n_holders, sizeof(*left->holders));
	memcpy(left->current, shared->current, sizeof(left->current));
}

static void put_left(const struct left *left, struct shared *shared)
{
	memcpy(shared->kept, left->kept, left->n_kept * sizeof(*left->kept));
	memcpy(shared->handles, left->handles, left->n_handles * sizeof(*left->handles));
	memcpy(shared->cells, left->cells, left->n_cells * sizeof(*left->cells));
	memcpy(shared->holders, left->holders, left->n_holders * sizeof(*left->holders));
	memcpy(shared->current, left->current, sizeof(left->current));
	free(left->kept);
	free(left->handles);
	free(left->cells);
	free(left->holders);
}

/* Anything anywhere, but for the layout and the seed, which are not read again. */
static void spoil(struct world *world)
{
	struct shared *shared = world->shared;
	const struct {
		void *at;
		size_t size;
	} regions[] = {
		{(char *)shared + offsetof(struct shared, last_node),
		 offsetof(struct shared, init) - offsetof(struct shared, last_node)},
		{shared->init, sizeof(shared->init)},
		{&shared->current_tries, sizeof(uint64_t) + RAW_MAX},
		{shared->kept, 4 * sizeof(shared->kept[0])},
		{shared->handles, 16 * sizeof(shared->handles[0])},
		{shared->cells, 16 * sizeof(shared->cells[0])},
		{shared->holders, 4 * sizeof(shared->holders[0])},
		{shared->memory, sizeof(shared->memory[0])},
	};
	size_t region = world->a % (sizeof(regions) / sizeof(regions[0]));
	size_t at = (size_t)world->b * 4 + (size_t)(world->a >> 3) * 1024, n = world->c % 64;
	const uint8_t *bytes = take(world, &n);

	at %= regions[region].size;
	if (n > regions[region].size - at)
		n = regions[region].size - at;
	if (n > 0)
		memcpy((char *)regions[region].at + at, bytes, n);
	/* More than there is room for is tried; as many as that would only take long. */
	if (shared->cells_used != UINT32_MAX)
		shared->cells_used = few(shared->cells_used);
	if (shared->handles_used != UINT32_MAX)
		shared->handles_used = few(shared->handles_used);
}

static void discard(struct queue *queue)
{
	for (struct queue_item *item = queue_take(queue); item;) {
		struct queue_item *next = item->next;
		message_free(message_of(item));
		item = next;
	}
	queue_finish(queue);
}

static void end_process(struct world *world)
{
	/* libfuse keeps an interrupt that came for no request until the next one, and for ever when
	 * there is none. */
	world->a = NODE_ROOT;
	for (; world->interrupts > 0; world->interrupts--)
		get_attributes(world);
	files_take(&world->files, message_new(MESSAGE_STOP, 0));
	if (world->files.n_kept != 0)
		abort();
	files_finish(&world->files);
	session_close(&world->files);
	discard(&world->files.outbox);
	discard(&world->files.inbox);
}

static void begin_process(struct world *world)
{
	struct fs_options options = {
		.clock = &fuzz_clock,
		.first_open = FS_FIRST_OPEN_PROBE,
		.state_folder = "",
		.config_file = "",
		.sandbox = world->b & 1 ? "no capabilities" : NULL,
	};

	world->files = (struct files){.shared = world->shared};
	if (queue_init(&world->files.inbox) < 0 || queue_init(&world->files.outbox) < 0 ||
	    session_open(&world->files, open("/dev/null", O_RDWR | O_CLOEXEC), NULL) < 0)
		abort();
	world->files.announce_fd = -1;
	files_init(&world->files, &options, tree_ref(trees[world->tree]));
}

static void resume(struct world *world)
{
	struct shared *shared = world->shared;
	uint32_t n = shared->init_n;
	unsigned char bytes[SHARED_INIT_MAX];

	begin_process(world);
	if (n <= sizeof(bytes)) {
		memcpy(bytes, shared->init, n);
		files_process(&world->files, bytes, n);
	}
	world->over = !world->files.initialised;
	if (world->over)
		return;
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (world->live[i])
			tell(world, MESSAGE_LEASE, LEASE_ACTIVE, world->live[i]);
	files_take(&world->files, message_new(MESSAGE_RESUME, 0));
	kept_settle(&world->files);
}

static void die(struct world *world)
{
	struct left left;
	uint8_t spoils = world->a % 8;

	keep_left(&left, world->shared);
	end_process(world);
	put_left(&left, world->shared);
	while (spoils-- > 0 && world->n_rest >= 3) {
		size_t n = 3;
		const uint8_t *with = take(world, &n);
		world->a = with[0];
		world->b = with[1];
		world->c = with[2];
		spoil(world);
	}
	resume(world);
}

/* It dies of this one, or before it has answered it. */
static void die_of(struct world *world)
{
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct fuse_in_header header = {
		.len = sizeof(header) + sizeof(in),
		.opcode = world->b & 1 ? FUSE_OPEN : FUSE_GETATTR,
		.unique = ++world->unique,
		.nodeid = world->a,
	};

	memcpy(world->shared->current, &header, sizeof(header));
	memcpy(world->shared->current + sizeof(header), &in, sizeof(in));
	world->shared->current_tries = world->b >> 4;
	world->a = 0;
	die(world);
	if (!world->over && request_size(world->shared->current, RAW_MAX) != 0)
		abort(); /* it was not seen to */
}

/* The kernel takes no answer from now on, or each again. */
static void turn_answers(struct world *world)
{
	if (dup2(world->b & 1 ? world->full_fd : world->null_fd, world->files.fuse_fd) < 0)
		abort();
}

static void step(struct world *world, uint8_t what)
{
	static void (*const steps[])(struct world * world) = {
		look_up,         look_up,        look_up,         open_file,
		open_file,       read_bytes,     release,         forget,
		interrupt,       serve_engine,   serve_engine,    change_lease,
		reload,          get_attribute,  read_folder,     choose_way,
		pass_time,       get_attributes, look_up_any,     any_request,
		list_attributes, open_folder,    wait_for_change, forget_many,
		turn_lease,      end_holder,     notice,          die,
		die_of,          turn_answers,
	};

	steps[what % (sizeof(steps) / sizeof(steps[0]))](world);
}

static void begin(struct world *world)
{
	/* Older kernels' INIT is shorter; the rest of the struct says what is newer. */
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = 31};
	struct fuse_in_header header = {
		.len = sizeof(header) + sizeof(in),
		.opcode = FUSE_INIT,
	};

	*world = (struct world){
		.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
		.full_fd = open("/dev/full", O_RDWR | O_CLOEXEC),
	};
	now_at = 1000000;
	if (world->null_fd < 0 || world->full_fd < 0 ||
	    shared_map_private(&world->shared, NULL) < 0)
		abort();
	begin_process(world);
	memcpy(world->shared->init, &header, sizeof(header));
	memcpy(world->shared->init + sizeof(header), &in, sizeof(in));
	world->shared->init_n = sizeof(header) + sizeof(in);
	files_process(&world->files, world->shared->init, world->shared->init_n);
}

static void finish(struct world *world)
{
	end_process(world);
	for (unsigned i = 0; i < LIVE_MAX; i++)
		lease_unref(world->live[i]);
	shared_unmap(world->shared);
	close(world->null_fd);
	close(world->full_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	size_t used = secret_arena_used();

	begin(&world);
	world.rest = data;
	world.n_rest = size;
	for (size_t i = 0; i < STEPS_MAX && world.n_rest >= 4 && !world.over; i++) {
		size_t n = 4;
		const uint8_t *now = take(&world, &n);
		world.a = now[1];
		world.b = now[2];
		world.c = now[3];
		step(&world, now[0]);
	}
	finish(&world);
	if (secret_arena_used() != used)
		abort();
	return 0;
}
