/*
 * Any text as the files of an audit log, which the worker writes and root reads: what is printed of
 * them is printable, each line is of one that was written, and what is no log is told apart.
 *
 * The first byte says how: bit 0, whole lines are given the MACs that they should have; bit 1, the
 * head that the state folder has kept is that of the last of them; bit 2, somebody gives that head;
 * bit 3, all of it; bit 4, another one; bit 5, with another number. Form feeds divide the rest into
 * files.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/audit_lines.h"
#include "lease/audit_verify.h"
#include "lease/secret.h"

#define ARENA_SIZE  4096ul
#define FILES_MAX   3
#define PRINTED_MAX (16ul * 1024 * 1024)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct secret *key;
static int files[FILES_MAX], printed;
static char paths[FILES_MAX][32];

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static void finish(void)
{
	secret_unref(key);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	unsigned char bytes[AUDIT_MAC_SIZE];

	memset(bytes, 7, sizeof(bytes));
	check(secret_arena_init(ARENA_SIZE, NULL) == 0 &&
	      secret_new(&key, bytes, sizeof(bytes), NULL) == 0);
	for (int i = 0; i < FILES_MAX; i++) {
		files[i] = memfd_create("audit", MFD_CLOEXEC);
		check(files[i] >= 0);
		snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d", files[i]);
	}
	/* What is printed goes there, and not to whom the fuzzer prints. */
	printed = memfd_create("printed", MFD_CLOEXEC);
	check(printed >= 0 && dup2(printed, STDOUT_FILENO) == STDOUT_FILENO);
	atexit(finish);
	return 0;
}

static void put(int fd, const char *bytes, size_t n)
{
	check(n == 0 || write(fd, bytes, n) == (ssize_t)n);
}

/* One line with its newline; sealed, where it looks like one that a daemon would write. */
static void put_line(int fd, const char *line, size_t n, bool seal, struct audit_head *head)
{
	static char text[AUDIT_LINE_MAX + AUDIT_SEAL_MAX];
	bool whole = n >= 3 && n <= AUDIT_LINE_MAX - AUDIT_SEAL_MAX && line[n - 1] == '\n' &&
		     line[n - 2] == '}';

	if (!seal || !whole) {
		put(fd, line, n);
		return;
	}
	memcpy(text, line, n - 1);
	text[n - 1] = '\0';
	head->number = audit_line_number(text, n - 1);
	put(fd, text, audit_seal(text, n - 1, key, head->mac, head->mac));
}

/* How many files. */
static size_t write_files(const char *text, size_t size, bool seal, struct audit_head *ret_head)
{
	size_t n = 0;

	for (int i = 0; i < FILES_MAX; i++)
		check(ftruncate(files[i], 0) == 0 && lseek(files[i], 0, SEEK_SET) == 0);
	while (n < FILES_MAX) {
		const char *end = size > 0 ? memchr(text, '\f', size) : NULL;
		size_t left = end ? (size_t)(end - text) : size;

		size -= left;
		while (left > 0) {
			const char *newline = memchr(text, '\n', left);
			size_t line = newline ? (size_t)(newline - text) + 1 : left;
			put_line(files[n], text, line, seal, ret_head);
			text += line;
			left -= line;
		}
		n++;
		if (size == 0)
			break;
		text++;
		size--;
	}
	return n;
}

/* All that a terminal gets to see. */
static void check_printed(bool as_it_is)
{
	off_t size = lseek(printed, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);

	check(size >= 0 && (size_t)size < PRINTED_MAX && text);
	check(pread(printed, text, (size_t)size, 0) == (ssize_t)size);
	for (off_t i = 0; i < size && !as_it_is; i++)
		check(((unsigned char)text[i] >= ' ' && text[i] != 0x7f) || text[i] == '\n' ||
		      text[i] == '\t');
	free(text);
	check(ftruncate(printed, 0) == 0 && lseek(printed, 0, SEEK_SET) == 0);
}

static void print(size_t n, const struct audit_question *question)
{
	for (size_t i = 0; i < n; i++) {
		FILE *file = fopen(paths[i], "re");
		check(file);
		audit_lines_print(file, question);
		fclose(file);
	}
	check(fflush(stdout) == 0);
	check_printed(question->json);
}

static void verify(size_t n, const struct audit_head *head, const char *wanted)
{
	static struct audit_verdict verdict;
	const char *names[FILES_MAX];
	struct audit_files sorted = {0};
	struct dsec_error err = {0};

	for (size_t i = 0; i < n; i++)
		names[i] = paths[i];
	check(audit_files_sort(&sorted, names, n, &err) == 0 && sorted.n <= n);
	check(audit_verify(&verdict, &sorted, key, head, wanted, &err) == 0);
	check(verdict.good || *verdict.problem);
	check(!verdict.good || verdict.head.number >= head->number);
	audit_files_finish(&sorted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct audit_question all, some = {.user = "user", .since = "2022"},
						as_they_are = {.lease = "lease", .json = true};
	uint8_t how = size > 0 ? data[0] : 0;
	struct audit_head head = {0};
	char hex[AUDIT_HEX_MAX];
	size_t n = write_files((const char *)data + (size > 0), size - (size > 0), how & 1, &head);

	head.mac[0] ^= how & 16 ? 1 : 0;
	head.number += how & 32 ? 1 : 0;
	audit_hex(hex, head.mac);
	hex[how & 8 ? 2 * AUDIT_MAC_SIZE : AUDIT_HEAD_DIGITS_MIN] = '\0';
	print(n, &all);
	print(n, &some);
	print(n, &as_they_are);
	verify(n, how & 2 ? &head : &(struct audit_head){0}, how & 4 ? hex : NULL);
	return 0;
}
