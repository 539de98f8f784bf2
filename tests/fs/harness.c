/*
 * harness.c: the filesystem over an engine that does as it is told: the other end of the tests in
 * Python.
 *
 *     harness MOUNTPOINT CONFIG probe|store|estale
 *
 * Says "ready MODE OTHERS" when it serves, then answers each line of its input with one of its own.
 * At the end of the input it stops and unmounts.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "tests/fs/engine_double.h"

#define ARENA_SIZE (4ul * 1024 * 1024)

struct harness {
	struct engine *engine;
	struct fs *fs;
	char rotating[256]; /* a config; "": none */
	int rotate_ms;
	int64_t rotate_at;
	bool done;
};

/* Users and groups of the configuration: "u1001". */
static int group(const struct catalog_system *system, const char *name, gid_t *ret)
{
	char *end;
	unsigned long id = strtoul(name + 1, &end, 10);

	if (name[0] != 'u' || *end)
		return -ENOENT;
	*ret = (gid_t)id;
	return 0;
}

static int user(const struct catalog_system *system, const char *name, uid_t *ret, gid_t *ret_group)
{
	*ret_group = 0;
	if (group(system, name, ret_group) < 0)
		return -ENOENT;
	*ret = *ret_group;
	return 0;
}

static struct catalog *load(const char *file)
{
	struct catalog_system system;
	static struct catalog_problems problems;
	struct catalog *catalog;
	static char text[CATALOG_FILE_SIZE_MAX];
	FILE *in = fopen(file, "re");
	size_t n = in ? fread(text, 1, sizeof(text), in) : 0;

	if (in)
		fclose(in);
	catalog_system_init(&system);
	system.user = user;
	system.group = group;
	if (catalog_parse(&catalog, text, n, file, true, &system, &problems) < 0) {
		for (size_t i = 0; i < problems.n; i++)
			fprintf(stderr, "%s: %s\n", problems.at[i].path, problems.at[i].message);
		exit(1);
	}
	return catalog;
}

static int error_kind(const char *name)
{
	for (int kind = 0; kind <= DSEC_ERROR_CLOCK_SKEW; kind++)
		if (strcmp(dsec_error_kind_name((enum dsec_error_kind)kind), name) == 0)
			return kind;
	return -1;
}

static void reload(struct harness *harness, const char *file)
{
	struct catalog *catalog = load(file);

	double_reload(harness->engine, catalog);
	fs_reload(harness->fs, catalog);
	catalog_unref(catalog);
}

static void print_counts(const struct harness *harness)
{
	struct double_counts counts = double_counts(harness->engine);

	printf("%u %u %u %u %u %u\n", counts.acquires, counts.leases, counts.abandoned,
	       counts.waiting, counts.let_go, counts.refused);
}

/* False: it is no command. */
static bool command(struct harness *harness, const char *word, const char *name, const char *more,
		    int number)
{
	if (strcmp(word, "delay") == 0) {
		double_script(harness->engine, name, number, -1);
	} else if (strcmp(word, "fail") == 0) {
		double_script(harness->engine, name, number, error_kind(more));
	} else if (strcmp(word, "rotate") == 0) {
		double_rotate(harness->engine, name, (size_t)number);
	} else if (strcmp(word, "rotating") == 0) {
		snprintf(harness->rotating, sizeof(harness->rotating), "%s", name);
		harness->rotate_ms = number;
		harness->rotate_at = 0;
	} else if (strcmp(word, "replace") == 0) {
		double_replace(harness->engine, name);
	} else if (strcmp(word, "end") == 0) {
		double_end_all(harness->engine);
	} else if (strcmp(word, "reload") == 0) {
		reload(harness, name);
	} else {
		return false;
	}
	return true;
}

/* WORD [NAME [MORE] [NUMBER]] */
static void obey(struct harness *harness, char *line)
{
	char *rest, *word = strtok_r(line, " ", &rest), *name = strtok_r(NULL, " ", &rest),
		    *more = strtok_r(NULL, " ", &rest), *last = strtok_r(NULL, " ", &rest);
	const char *number = last ? last : more ? more : "0";

	if (word && strcmp(word, "counts") == 0)
		print_counts(harness);
	else if (word && strcmp(word, "ended") == 0)
		printf("%d\n", fs_ended(harness->fs));
	else if (word && command(harness, word, name ? name : "", more ? more : "",
				 (int)strtol(number, NULL, 10)))
		puts("ok");
	else
		puts("unknown");
}

/* Lines come one at a time, each after the answer to the one before. */
static void read_line(struct harness *harness)
{
	char line[512];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0) {
		harness->done = true;
		return;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	obey(harness, line);
	fflush(stdout);
}

static int rotate_if_due(struct harness *harness)
{
	int64_t now = system_clock.boottime_at(&system_clock);

	if (!harness->rotating[0])
		return -1;
	if (now >= harness->rotate_at) {
		double_rotate(harness->engine, harness->rotating, 4);
		harness->rotate_at = now + harness->rotate_ms;
	}
	return (int)(harness->rotate_at - now);
}

static void serve(struct harness *harness)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = fs_fd(harness->fs), .events = POLLIN},
	};

	while (!harness->done) {
		int wait = double_tick(harness->engine), rotate = rotate_if_due(harness);

		if (wait < 0 || (rotate >= 0 && rotate < wait))
			wait = rotate;
		if (poll(fds, 2, wait) < 0)
			continue;
		if (fds[1].revents)
			fs_dispatch(harness->fs, harness->engine);
		if (fds[0].revents)
			read_line(harness);
	}
}

int main(int argc, char **argv)
{
	struct harness harness = {0};
	struct fs_options options = {
		.clock = &system_clock,
		.version = "0.0-test",
		.state_folder = "/state/of/the/test",
	};
	struct dsec_error error;
	bool others;

	if (argc != 4) {
		fprintf(stderr, "usage: harness MOUNTPOINT CONFIG probe|store|estale\n");
		return 2;
	}
	options.mountpoint = argv[1];
	options.config_file = argv[2];
	options.first_open = strcmp(argv[3], "store") == 0    ? FS_FIRST_OPEN_STORE
			     : strcmp(argv[3], "estale") == 0 ? FS_FIRST_OPEN_ESTALE
							      : FS_FIRST_OPEN_PROBE;
	if (secret_arena_init(ARENA_SIZE, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	options.catalog = load(argv[2]);
	if (fs_mount(argv[1], &options.fuse_fd, &others, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	if (fs_start(&harness.fs, &options, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		fs_unmount(argv[1], NULL);
		return 1;
	}
	harness.engine = double_new(options.catalog);
	double_publish_to(harness.engine, harness.fs);
	catalog_unref(options.catalog);
	printf("ready %s %d\n",
	       fs_first_open_chosen(harness.fs) == FS_FIRST_OPEN_STORE ? "store" : "estale",
	       others);
	fflush(stdout);

	serve(&harness);

	int r = fs_unmount(argv[1], &error);
	if (r < 0)
		fprintf(stderr, "%s\n", error.message);
	fs_stop(harness.fs);
	double_free(harness.engine);
	secret_arena_finish();
	return r < 0;
}
