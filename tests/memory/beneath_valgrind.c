/*
 * Preloaded into a dsec that runs under valgrind, which stands in two of its ways. A program that
 * runs itself again by /proc/self/exe runs valgrind's own program. And the sandbox forbids what
 * valgrind needs: this makes the kernel one without Landlock and seccomp, which dsec can do with.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
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
