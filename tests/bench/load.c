/*
 * load.c: what a filesystem costs its readers.
 *
 *     load read|stat|list TURNS ROUNDS PATH…   a line a turn: the microseconds of one, for each
 * path load crowd TURNS MS READERS PATH…        a line a turn: reads a second of so many processes
 *     load once PATH…                          a line a path: the microseconds of its one read
 *     load for MS PATH                         a line a read: its microseconds
 *     load users FIRST N PROCESSES PATH        reads it as each of N uids; a line a uid, as above
 *
 * The paths take turns, so that what else the machine does falls on all of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 256

static void fail(const char *path)
{
	perror(path);
	exit(1);
}

static void read_file(const char *path)
{
	char bytes[4096];
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		fail(path);
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	close(fd);
}

static void stat_file(const char *path)
{
	struct stat stat;

	if (lstat(path, &stat) < 0)
		fail(path);
}

static void list_folder(const char *path)
{
	DIR *folder = opendir(path);

	if (!folder)
		fail(path);
	while (readdir(folder))
		;
	closedir(folder);
}

static double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || n < 0) {
		fprintf(stderr, "load: %s is no number\n", text);
		exit(2);
	}
	return n;
}

static int take_turns(void (*operation)(const char *path), char **words, int n)
{
	long turns = number(words[0]), rounds = number(words[1]);

	for (long turn = 0; turn < turns; turn++) {
		for (int i = 2; i < n; i++) {
			double begin = microseconds();

			for (long round = 0; round < rounds; round++)
				operation(words[i]);
			printf("%.3f ", (microseconds() - begin) / (double)rounds);
		}
		puts("");
	}
	return 0;
}

/* Reads until the time is over, and says how often. */
static long read_until(const char *path, double end)
{
	long n = 0;

	while (microseconds() < end) {
		read_file(path);
		n++;
	}
	return n;
}

static void wait_for_children(void)
{
	int status;

	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			exit(1);
}

static void *shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static double crowd(const char *path, double ms, long readers)
{
	long *counts = shared((size_t)readers * sizeof(*counts)), all = 0;
	double begin = microseconds() + 20000; /* all are there by then */

	for (long i = 0; i < readers; i++)
		if (fork() == 0) {
			while (microseconds() < begin)
				;
			counts[i] = read_until(path, begin + ms * 1000);
			_exit(0);
		}
	wait_for_children();
	for (long i = 0; i < readers; i++)
		all += counts[i];
	munmap(counts, (size_t)readers * sizeof(*counts));
	return (double)all / ms * 1000;
}

static int crowds(char **words, int n)
{
	long turns = number(words[0]), ms = number(words[1]), readers = number(words[2]);

	for (long turn = 0; turn < turns; turn++) {
		for (int i = 3; i < n; i++)
			printf("%.1f ", crowd(words[i], (double)ms, readers));
		puts("");
		fflush(stdout);
	}
	return 0;
}

static double once(const char *path)
{
	double begin = microseconds();

	read_file(path);
	return microseconds() - begin;
}

static int each_once(char **words, int n)
{
	for (int i = 0; i < n; i++)
		printf("%.3f\n", once(words[i]));
	return 0;
}

static int for_a_while(char **words)
{
	for (double end = microseconds() + (double)number(words[0]) * 1000; microseconds() < end;)
		printf("%.3f\n", once(words[1]));
	return 0;
}

/* The thread's alone: setuid(3) would ask the other threads too, were there any. */
static void become(uid_t uid)
{
	if (syscall(SYS_setresuid, -1, uid, 0) < 0)
		fail("setresuid");
}

static int as_users(char **words)
{
	long first = number(words[0]), n = number(words[1]), processes = number(words[2]);
	double *taken = shared((size_t)n * sizeof(*taken));

	if (processes < 1 || processes > PROCESSES_MAX)
		return 2;
	for (long process = 0; process < processes; process++)
		if (fork() == 0) {
			for (long i = process; i < n; i += processes) {
				become((uid_t)(first + i));
				taken[i] = once(words[3]);
				become(0);
			}
			_exit(0);
		}
	wait_for_children();
	for (long i = 0; i < n; i++)
		printf("%.3f\n", taken[i]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	char **words = argv + 2;
	int n = argc - 2;

	if (strcmp(what, "read") == 0 && n > 2)
		return take_turns(read_file, words, n);
	if (strcmp(what, "stat") == 0 && n > 2)
		return take_turns(stat_file, words, n);
	if (strcmp(what, "list") == 0 && n > 2)
		return take_turns(list_folder, words, n);
	if (strcmp(what, "crowd") == 0 && n > 3)
		return crowds(words, n);
	if (strcmp(what, "once") == 0 && n > 0)
		return each_once(words, n);
	if (strcmp(what, "for") == 0 && n == 2)
		return for_a_while(words);
	if (strcmp(what, "users") == 0 && n == 4)
		return as_users(words);
	fprintf(stderr, "load: see the head of load.c\n");
	return 2;
}
