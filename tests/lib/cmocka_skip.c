#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Without its header, which its package brings, there is no valgrind that could run this. */
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "tests/lib/cmocka_skip.h"

static const char *reason_of_skip;

/* cmocka 1.1.5 reports a test that called skip() as "not ok 3 # SKIP name", which is a failure by
 * TAP's rules and meson's. All that it prints goes through this function of its interface, which a
 * program may have of its own; so the reason comes into that line, too. */
void print_message(const char *const format, ...)
{
	static const char wrong[] = "not ok %u # SKIP";
	size_t skipped = strncmp(format, wrong, sizeof(wrong) - 1) == 0 ? strlen("not ") : 0;
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	if (reason_of_skip && strstr(format, "# SKIP")) {
		vsnprintf(text, sizeof(text), format + skipped, arguments);
		text[strcspn(text, "\n")] = '\0';
		printf("%s: %s\n", text, reason_of_skip);
		reason_of_skip = NULL;
	} else {
		vprintf(format + skipped, arguments);
	}
	va_end(arguments);
}

void skip_because(const char *reason)
{
	reason_of_skip = reason;
	skip();
}

bool under_valgrind(void)
{
	return RUNNING_ON_VALGRIND != 0;
}

void need_pidfd_open(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0 && errno == ENOSYS)
		skip_because(under_valgrind() ? "this valgrind does not know pidfd_open(2)"
					      : "this kernel has no pidfd_open(2)");
	close(fd);
}
