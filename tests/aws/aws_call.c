/*
 * aws_call: the provider for AWS behind a pipe, so that a test in another language can drive it.
 *
 * aws_call CONFIG-FILE INTEGRATION
 *
 * Each line of standard input is a call, a "cancel" or a "scan" of this process's memory, and has
 * an "id"; each answer is a line on standard output. Lines are JSON objects; their members are
 * those of struct provider_call and struct provider_answer.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "aws/aws.h"
#include "lease/alloc.h"

#define LINE_MAX_BYTES  65536
#define LIST_MAX        64
#define ARENA_BYTES     (1u << 20)
#define CALLS_MAX       64
#define SCAN_BLOCK      65536u
#define PATTERN_MAX     128u
#define SCAN_REGION_MAX (1ul << 30) /* larger ones are a sanitizer's own */
#define TIMEOUT_DEFAULT 10000

struct pending {
	int id;
	uint64_t handle;
};

static struct {
	struct aws *aws;
	struct provider *provider;
	struct pending pending[CALLS_MAX]; /* handle 0: free */
	bool submitting;
} helper;

static const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static void tell(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

/* Reads members into a list of strings that live as long as the object. */
static size_t read_list(const json_t *array, const char **to)
{
	size_t n = json_array_size(array);

	for (size_t i = 0; i < n && i < LIST_MAX; i++)
		to[i] = json_string_value(json_array_get(array, i));
	return n;
}

static size_t read_tags(const json_t *object, struct tag *to)
{
	const char *key;
	json_t *value;
	size_t n = 0;

	json_object_foreach((json_t *)object, key, value) if (n < LIST_MAX) to[n++] =
		(struct tag){key, json_string_value(value)};
	return n;
}

static enum provider_op read_op(const char *name)
{
	for (int op = 0; op <= PROVIDER_SIMULATE; op++)
		if (strcmp(provider_op_name(op), name) == 0)
			return op;
	fprintf(stderr, "aws_call: no such op: %s\n", name);
	exit(2);
}

static struct secret *make_secret(const char *text)
{
	struct secret *secret = NULL;

	if (text && secret_new(&secret, text, strlen(text), NULL) < 0)
		abort();
	return secret;
}

static char *show_secret(const struct secret *secret)
{
	char *text = alloc_zeroed(secret_size(secret) + 1, 1);

	secret_copy(secret, 0, text, secret_size(secret));
	return text;
}

static json_t *users_json(const struct provider_answer *answer)
{
	json_t *users = json_array();

	for (size_t i = 0; i < answer->n_users; i++)
		json_array_append_new(
			users, json_pack("{s:s s:s s:s s:I}", "name", answer->users[i].name, "path",
					 answer->users[i].path, "arn", answer->users[i].arn,
					 "created_ms", (json_int_t)answer->users[i].created_ms));
	return users;
}

static json_t *names_json(const struct provider_answer *answer)
{
	json_t *names = json_array();

	for (size_t i = 0; i < answer->n_names; i++)
		json_array_append_new(names, json_string(answer->names[i]));
	return names;
}

static json_t *answer_json(const struct provider_answer *answer)
{
	json_t *line = json_pack(
		"{s:o s:o s:s? s:s? s:I s:I s:I}", "users", users_json(answer), "names",
		names_json(answer), "marker", answer->marker, "access_key_id",
		answer->access_key_id, "users_used", (json_int_t)answer->users_used, "users_quota",
		(json_int_t)answer->users_quota, "server_ms", (json_int_t)answer->server_ms);

	if (answer->secret_access_key && getenv("AWS_CALL_SHOWS_SECRETS")) {
		char *text = show_secret(answer->secret_access_key);

		json_object_set_new(line, "secret_access_key", json_string(text));
		free(text);
	}
	return line;
}

static void on_done(void *arg, const struct provider_answer *answer, const struct dsec_error *err)
{
	struct pending *pending = arg;
	json_t *line = answer_json(answer);

	if (helper.submitting)
		abort(); /* the interface forbids it */
	json_object_set_new(line, "id", json_integer(pending->id));
	if (err)
		json_object_update_new(line,
				       json_pack("{s:s s:b s:s s:s s:s}", "error",
						 dsec_error_kind_name(err->kind), "ambiguous",
						 err->ambiguous, "code", err->code, "request_id",
						 err->request_id, "message", err->message));
	pending->handle = 0;
	tell(line);
}

static struct pending *find_pending(bool unused, int id)
{
	for (size_t i = 0; i < CALLS_MAX; i++)
		if (unused ? helper.pending[i].handle == 0
			   : helper.pending[i].handle != 0 && helper.pending[i].id == id)
			return &helper.pending[i];
	fprintf(stderr, "aws_call: no such call, or too many\n");
	exit(2);
}

static void submit(const json_t *line)
{
	const char *actions[LIST_MAX];
	struct tag tags[LIST_MAX];
	const json_t *timeout = json_object_get(line, "timeout_ms");
	_cleanup_secret_ struct secret *secret = make_secret(text_of(line, "secret_access_key"));
	struct pending *pending = find_pending(true, 0);
	struct provider_call call = {
		.op = read_op(text_of(line, "op")),
		.user = text_of(line, "user"),
		.path = text_of(line, "path"),
		.name = text_of(line, "name"),
		.document = text_of(line, "document"),
		.marker = text_of(line, "marker"),
		.permissions_boundary = text_of(line, "permissions_boundary"),
		.tags = tags,
		.n_tags = read_tags(json_object_get(line, "tags"), tags),
		.actions = actions,
		.n_actions = read_list(json_object_get(line, "actions"), actions),
		.resource = text_of(line, "resource"),
		.attachment = (enum provider_attachment)json_integer_value(
			json_object_get(line, "attachment")),
		.access_key_id = text_of(line, "access_key_id"),
		.secret_access_key = secret,
		.timeout_ms = timeout ? json_integer_value(timeout) : TIMEOUT_DEFAULT,
	};

	pending->id = (int)json_integer_value(json_object_get(line, "id"));
	helper.submitting = true;
	pending->handle = helper.provider->ops->submit(helper.provider, &call, on_done, pending);
	helper.submitting = false;
}

static void cancel(const json_t *line)
{
	int id = (int)json_integer_value(json_object_get(line, "id"));
	struct pending *pending = find_pending(false, id);

	helper.provider->ops->cancel(helper.provider, pending->handle);
	pending->handle = 0;
	tell(json_pack("{s:i s:b}", "id", id, "cancelled", 1));
}

/* What is looked for, or its beginning, comes with each byte's bits inverted, so that the request
 * does not find itself. */
static size_t read_pattern(const char *hex, unsigned char *to)
{
	size_t n = strlen(hex) / 2 < PATTERN_MAX ? strlen(hex) / 2 : PATTERN_MAX;

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)strtoul((char[]){hex[2 * i], hex[2 * i + 1], '\0'}, NULL,
					       16);
	return n;
}

static bool is_at(const unsigned char *at, const unsigned char *inverted, size_t n)
{
	size_t i = 0;

	while (i < n && (at[i] ^ inverted[i]) == 0xff)
		i++;
	return i == n;
}

/* The block is read by the kernel, so that neither a guard page nor a sanitizer is in the way. */
static unsigned scan_region(unsigned long from, unsigned long to, const unsigned char *inverted,
			    size_t n)
{
	static unsigned char block[SCAN_BLOCK + PATTERN_MAX];
	unsigned found = 0;

	for (unsigned long at = from; at < to; at += SCAN_BLOCK) {
		struct iovec local = {block, SCAN_BLOCK + n - 1};
		size_t left = to - at < local.iov_len ? to - at : local.iov_len;
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): /proc tells addresses as numbers */
		struct iovec remote = {(void *)at, left};
		ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

		for (ssize_t i = 0; i + (ssize_t)n <= got; i++)
			found += is_at(block + i, inverted, n);
		memset(block, 0, sizeof(block));
	}
	return found;
}

/* A line of /proc/self/maps: "FROM-TO MODES …". */
static unsigned scan_line(const char *line, const unsigned char *inverted, size_t n)
{
	char *rest;
	unsigned long from = strtoul(line, &rest, 16);
	unsigned long to = strtoul(rest + 1, &rest, 16);

	if (strncmp(rest, " rw", 3) != 0 || to - from > SCAN_REGION_MAX ||
	    strstr(rest, "secretmem"))
		return 0;
	return scan_region(from, to, inverted, n);
}

/* How often the pattern stands in the memory that may be written. */
static void scan(const json_t *request)
{
	unsigned char inverted[PATTERN_MAX];
	size_t n = read_pattern(text_of(request, "scan"), inverted);
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[LINE_MAX_BYTES];
	unsigned found = 0;

	while (fgets(line, sizeof(line), maps))
		found += scan_line(line, inverted, n);
	fclose(maps);
	tell(json_pack("{s:I s:I}", "id", json_integer_value(json_object_get(request, "id")),
		       "found", (json_int_t)found));
}

static void take_line(const json_t *line)
{
	if (json_object_get(line, "op"))
		submit(line);
	else if (json_object_get(line, "scan"))
		scan(line);
	else
		cancel(line);
}

static json_t *read_line(void)
{
	static char text[LINE_MAX_BYTES];
	json_t *line = NULL;

	if (fgets(text, sizeof(text), stdin))
		line = json_loads(text, 0, NULL);
	secret_wipe(text, sizeof(text));
	return line;
}

static int wait_ms(void)
{
	int64_t left = aws_deadline_at(helper.aws) - system_clock.boottime_at(&system_clock);

	return aws_deadline_at(helper.aws) == DSEC_NEVER || left > 1000 ? 1000
	       : left < 0                                               ? 0
									: (int)left;
}

static void run(void)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = aws_fd(helper.aws), .events = POLLIN}};

	for (;;) {
		poll(fds, 2, wait_ms());
		aws_dispatch(helper.aws);
		if (!fds[0].revents)
			continue;
		json_t *line = read_line();

		if (!line)
			return;
		take_line(line);
		json_decref(line);
	}
}

/* One reference, for the provider to share. */
static struct catalog *load(const char *file)
{
	struct catalog_problems problems = {0};
	struct catalog *catalog = NULL;
	struct catalog_system files;

	catalog_system_init(&files);
	if (catalog_load(&catalog, file, &files, &problems) == 0)
		return catalog;
	fprintf(stderr, "aws_call: %s: %s: %s\n", file, problems.at[0].path,
		problems.at[0].message);
	exit(2);
}

int main(int argc, char **argv)
{
	const struct integration *integration;
	struct catalog *catalog;
	struct dsec_error err;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdin, NULL, _IONBF, 0); /* so that poll sees whatever is left */
	if (argc != 3 || aws_global_init(&err) < 0 || secret_arena_init(ARENA_BYTES, &err) < 0 ||
	    aws_new(&helper.aws, &system_clock, &err) < 0)
		return 2;
	catalog = load(argv[1]);
	integration = catalog_integration(catalog, argv[2]);
	if (!integration)
		return 2;
	helper.provider = aws_provider(helper.aws, catalog, integration);
	catalog_unref(catalog);
	run();
	aws_free(helper.aws);
	aws_global_finish();
	secret_arena_finish();
	return 0;
}
