#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* cmocka 1.1.5 reports a test that called skip() as "not ok 3 # SKIP name", which is a failure by
 * TAP's rules and meson's. All that it prints goes through this function of its interface, which a
 * program may have of its own. */
void print_message(const char *const format, ...)
{
	static const char wrong[] = "not ok %u # SKIP";
	size_t skipped = strncmp(format, wrong, sizeof(wrong) - 1) == 0 ? strlen("not ") : 0;
	va_list arguments;

	va_start(arguments, format);
	vprintf(format + skipped, arguments);
	va_end(arguments);
}
