/*
 * Preloaded into a dsec that runs under valgrind, where a program that runs itself again by
 * /proc/self/exe, as the keeper does for its worker, runs valgrind's own program.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* Valgrind answers readlink(2) with the program that it runs. */
int execv(const char *path, char *const argv[])
{
	char program[PATH_MAX];

	if (strcmp(path, "/proc/self/exe") == 0) {
		ssize_t n = readlink(path, program, sizeof(program) - 1);
		if (n < 0)
			return -1;
		program[n] = '\0';
		path = program;
	}
	return execve(path, argv, environ);
}
