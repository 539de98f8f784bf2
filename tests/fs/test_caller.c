#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/caller.h"

/* A process in a mount namespace of its own (its answer: 1), whose child reads and ends; then one
 * line is told, and the first ends with the pipe. */
struct container {
	pid_t first, reader;
	uint64_t namespace;
	int alive; /* closing this ends it */
};

static void be_container(int told, int alive)
{
	char byte;
	pid_t reader;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS) < 0)
		_exit(1);
	reader = fork();
	if (reader == 0) {
		(void)!read(alive, &byte, 1);
		_exit(0);
	}
	(void)!write(told, &reader, sizeof(reader));
	(void)!read(alive, &byte, 1);
	_exit(0);
}

static void start(struct container *container)
{
	int told[2], alive[2];

	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(alive), 0);
	container->first = fork();
	if (container->first == 0) {
		close(alive[1]);
		be_container(told[1], alive[0]);
	}
	close(told[1]);
	close(alive[0]);
	container->alive = alive[1];
	ssize_t n = read(told[0], &container->reader, sizeof(container->reader));
	close(told[0]);
	if (n != sizeof(container->reader)) { /* not allowed here */
		close(container->alive);
		waitpid(container->first, NULL, 0);
		skip();
	}
	assert_int_equal(caller_mount_namespace(container->reader, &container->namespace), 0);
}

static void end(const struct container *container)
{
	close(container->alive);
	waitpid(container->first, NULL, 0);
}

static void a_container_is_its_eldest_process_and_not_its_reader(void **state)
{
	struct container container;
	struct caller eldest;

	start(&container);
	assert_int_equal(caller_eldest(container.reader, container.namespace, &eldest), 0);
	assert_int_equal(eldest.pid, container.first);
	/* By the eldest, whose number is kept for the next worker, it is found as well. */
	assert_int_equal(caller_eldest(eldest.pid, container.namespace, &eldest), 0);
	assert_int_equal(eldest.pid, container.first);
	end(&container);
}

static void a_number_that_is_anothers_now_is_no_container(void **state)
{
	struct container container;
	struct caller eldest;

	start(&container);
	assert_int_equal(caller_eldest(getpid(), container.namespace, &eldest), -ESRCH);
	end(&container);
	assert_int_equal(caller_eldest(container.first, container.namespace, &eldest), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_is_its_eldest_process_and_not_its_reader),
		cmocka_unit_test(a_number_that_is_anothers_now_is_no_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
