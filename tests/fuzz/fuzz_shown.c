/*
 * Any text as what a daemon answers its commands, which root runs and which have more rights than
 * the worker that answers: what is shown is printable, and what is no answer is refused.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/lease_table.h"
#include "cli/lease_watch.h"
#include "cli/printable.h"
#include "cli/source.h"
#include "cli/values.h"

#define NOW_S 1644944694

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int printed;

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* What is printed goes there, and not to whom the fuzzer prints. */
	printed = memfd_create("printed", MFD_CLOEXEC);
	check(printed >= 0 && dup2(printed, STDOUT_FILENO) == STDOUT_FILENO);
	return 0;
}

static void check_text(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check(((unsigned char)text[i] >= ' ' && text[i] != 0x7f) || text[i] == '\n');
}

static void check_printed(void)
{
	check(fflush(stdout) == 0);
	off_t size = lseek(printed, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);

	check(size >= 0 && text && pread(printed, text, (size_t)size, 0) == (ssize_t)size);
	check_text(text, (size_t)size);
	free(text);
	check(ftruncate(printed, 0) == 0 && lseek(printed, 0, SEEK_SET) == 0);
}

static void leases(const char *text)
{
	json_t *root = json_loads(text, 0, NULL);
	const json_t *list = json_object_get(root, "leases");

	printable_json(root);
	if (json_array_size(list) > 0) {
		lease_table_print(list, 0, false, NOW_S);
		lease_table_print(list, 80, false, NOW_S);
	}
	check_printed();
	json_decref(root);
}

static void refusal(char *text, size_t n)
{
	struct client_answer answer = {.status = 403, .text = text, .n = n};
	struct dsec_error err = {0};

	check(client_refused(&answer, &err) < 0 && *err.message);
	check_text(err.message, strlen(err.message));
}

static void values(char *text, size_t n)
{
	struct download download = {.bytes = text, .n = n};
	json_t *values = values_json(&download);
	char names[256], name[VALUES_NAME_MAX];
	const char *at = text;

	while (values_next_name(&at, name))
		check(strlen(name) < sizeof(name));
	if (values)
		values_missing(values, text, names, sizeof(names));
	json_decref(values);
}

static void status(const char *text)
{
	int64_t end = 0, last = 0;

	if (lease_watch_ends(text, "1", &end, &last) == 0)
		check(end > 0);
	source_seconds(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Not by strndup(): the sanitizer wants a string there that ends. */
	char *text = malloc(size + 1);

	check(text);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	leases(text);
	refusal(text, size);
	values(text, strlen(text));
	status(text);
	free(text);
	return 0;
}
