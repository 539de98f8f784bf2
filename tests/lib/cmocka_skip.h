/* Tests that cannot be, here: skipped by name and with the reason, which the summary shows. */
#ifndef DSEC_TESTS_LIB_CMOCKA_SKIP_H
#define DSEC_TESTS_LIB_CMOCKA_SKIP_H

#include <stdbool.h>

/* Ends the running test as skipped. As skip() it does not return. */
void skip_because(const char *reason);

/* Is this program run by valgrind, whose allocator and signals take the place of the program's? */
bool under_valgrind(void);

/* Goes on only where there is pidfd_open(2): valgrind answers ENOSYS for a call that its version
 * does not know. */
void need_pidfd_open(void);

#endif
