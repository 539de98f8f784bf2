/*
 * read_files.c: what a warm read costs: open, read to the end, close.
 *
 *     read_files ROUNDS FILE…     prints the microseconds of a read, a line a file
 *
 * The files take turns, and the best of several turns counts: a turn's other work on the machine is
 * not the filesystem's.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TURNS     15
#define FILES_MAX 16

static void read_once(const char *file)
{
	char bytes[4096];
	int fd = open(file, O_RDONLY);

	if (fd < 0) {
		perror(file);
		exit(1);
	}
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	close(fd);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double turn(const char *file, int rounds)
{
	double begin = seconds();

	for (int i = 0; i < rounds; i++)
		read_once(file);
	return (seconds() - begin) / rounds;
}

int main(int argc, char **argv)
{
	double best[FILES_MAX];
	int rounds = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0, n = argc - 2;

	if (rounds <= 0 || n > FILES_MAX)
		return 2;
	for (int t = 0; t < TURNS; t++)
		for (int i = 0; i < n; i++) {
			double taken = turn(argv[i + 2], rounds);
			if (t == 0 || taken < best[i])
				best[i] = taken;
		}
	for (int i = 0; i < n; i++)
		printf("%.2f\n", best[i] * 1e6);
	return 0;
}
