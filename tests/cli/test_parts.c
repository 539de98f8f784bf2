/* The parts of the command that need neither a mount nor AWS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/notify.h"
#include "cli/paths.h"
#include "cli/progress.h"
#include "cli/state.h"
#include "tests/lib/cmocka_skip.h"

static void assert_progress(size_t left, size_t total, int64_t estimate_ms, const char *expected)
{
	char text[PROGRESS_TEXT_MAX];

	progress_text(text, left, total, estimate_ms);
	assert_string_equal(text, expected);
}

static void progress_is_read_at_a_glance(void **state)
{
	assert_progress(4213, 5000, 180000, "revoking 4,213 of 5,000, about 3 min left");
	assert_progress(1, 1, 0, "revoking 1 of 1, about 0 s left");
	assert_progress(999, 1000, 1500, "revoking 999 of 1,000, about 2 s left");
	assert_progress(1234567, 12345678, 2 * 3600000 + 300000,
			"revoking 1,234,567 of 12,345,678, about 2 h 5 min left");
	assert_progress(5, 7, PROGRESS_UNKNOWN, "revoking 5 of 7");
}

static void progress_of_enormous_numbers_fits(void **state)
{
	char text[PROGRESS_TEXT_MAX];

	progress_text(text, SIZE_MAX, SIZE_MAX, INT64_MAX - 999);
	assert_true(strlen(text) < sizeof(text));
}

/* Defaults. The tests of other users run as one in tests/cli/unprivileged.py. */

static void relative_path_survives_that_the_daemon_leaves_its_folder(void **state)
{
	char folder[] = "/tmp/dsec-test-XXXXXX", expected[64], path[PATH_MAX], before[PATH_MAX];
	struct dsec_error err;

	assert_non_null(getcwd(before, sizeof(before)));
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(paths_mountpoint(path, "mnt", &err), 0);
	snprintf(expected, sizeof(expected), "%s/mnt", folder);
	assert_string_equal(path, expected);
	assert_int_equal(paths_mountpoint(path, "mnt/", &err), 0);
	assert_string_equal(path, expected);
	assert_int_equal(paths_mountpoint(path, ".", &err), 0);
	assert_string_equal(path, folder);
	assert_int_equal(chdir(before), 0);
	rmdir(folder);
}

static void path_below_nothing_is_refused_with_a_sentence(void **state)
{
	char path[PATH_MAX];
	struct dsec_error err;

	assert_true(paths_state(path, "/nonexistent/folder/state", &err) < 0);
	assert_string_equal(err.message, "/nonexistent/folder: No such file or directory");
}

static void overlong_path_is_refused(void **state)
{
	char path[PATH_MAX], given[PATH_MAX + 10];
	struct dsec_error err;

	memset(given, 'x', sizeof(given) - 1);
	given[sizeof(given) - 1] = '\0';
	assert_true(paths_config(path, given, &err) < 0);
}

/* Telling the service manager. */

static int manager(const char *name, size_t n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval deadline = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, n);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
			 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)), 0);
	return fd;
}

static void assert_told(int fd, const char *expected)
{
	char text[256] = "";

	notify_send("READY=1\nSTATUS=%s", "serving");
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, expected);
	close(fd);
}

static void manager_on_an_abstract_socket_is_told(void **state)
{
	char name[64], variable[65];
	int n = snprintf(name, sizeof(name), "%cdsec-test-%d", 0, (int)getpid());

	int fd = manager(name, (size_t)n);
	snprintf(variable, sizeof(variable), "@%s", name + 1);
	setenv("NOTIFY_SOCKET", variable, 1);
	notify_init();
	assert_told(fd, "READY=1\nSTATUS=serving");
	/* No child may speak for the daemon. */
	assert_null(getenv("NOTIFY_SOCKET"));
}

static void manager_on_a_socket_file_is_told(void **state)
{
	char folder[] = "/tmp/dsec-test-XXXXXX", name[64];

	assert_non_null(mkdtemp(folder));
	snprintf(name, sizeof(name), "%s/socket", folder);
	int fd = manager(name, strlen(name) + 1);
	setenv("NOTIFY_SOCKET", name, 1);
	notify_init();
	assert_told(fd, "READY=1\nSTATUS=serving");
	unlink(name);
	rmdir(folder);
}

/* The state folder. */

struct folder {
	char path[32], state[48];
};

static int make_folder(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));

	if (!folder)
		return -1;
	strcpy(folder->path, "/tmp/dsec-test-XXXXXX");
	if (!mkdtemp(folder->path))
		return -1;
	snprintf(folder->state, sizeof(folder->state), "%s/state", folder->path);
	*state = folder;
	return 0;
}

static int remove_folder(void **state)
{
	static const char *const files[] = {"lock", "daemon.salt"};
	struct folder *folder = *state;
	char path[96];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder->state, files[i]);
		unlink(path);
	}
	rmdir(folder->state);
	int r = rmdir(folder->path);
	free(folder);
	return r;
}

static void second_daemon_on_a_state_folder_is_told_the_first(void **state)
{
	const struct folder *folder = *state;
	char found[PATH_MAX], expected[PATH_MAX + 128];
	int first, second;
	struct dsec_error err;

	assert_int_equal(state_lock(found, &first, folder->state, &err), 0);
	assert_string_equal(found, folder->state);
	assert_int_equal(state_lock(found, &second, folder->state, &err), -EBUSY);
	snprintf(expected, sizeof(expected), "another dsec (pid %d) uses the state folder %s",
		 (int)getpid(), folder->state);
	assert_string_equal(err.message, expected);
	close(first);
	assert_int_equal(state_lock(found, &second, folder->state, &err), 0);
	close(second);
}

/* A keeper was killed, and its worker, which has the lock too, is not gone yet. */
static void lock_of_a_dead_daemon_is_waited_for(const struct folder *folder, bool reaped)
{
	char found[PATH_MAX];
	struct dsec_error err;
	siginfo_t ended;
	int second;

	need_pidfd_open();
	pid_t keeper = fork();
	if (keeper == 0) {
		int lock;
		if (state_lock(found, &lock, folder->state, NULL) < 0 || fork() > 0)
			_exit(0);
		usleep(200000); /* the worker */
		_exit(0);
	}
	assert_int_equal(waitid(P_PID, (id_t)keeper, &ended, WEXITED | (reaped ? 0 : WNOWAIT)), 0);
	assert_int_equal(state_lock(found, &second, folder->state, &err), 0);
	close(second);
	if (!reaped)
		assert_int_equal(waitpid(keeper, NULL, 0), keeper);
}

static void lock_of_a_dead_daemon_that_is_still_held_is_waited_for(void **state)
{
	lock_of_a_dead_daemon_is_waited_for(*state, true);
}

static void dead_daemon_that_nobody_has_reaped_is_no_second_one(void **state)
{
	lock_of_a_dead_daemon_is_waited_for(*state, false);
}

static void daemon_is_the_same_after_a_restart(void **state)
{
	const struct folder *folder = *state;
	struct state first, second;
	struct dsec_error err;

	assert_int_equal(state_open(&first, folder->state, &err), 0);
	assert_int_equal(state_open(&second, folder->state, &err), 0);
	assert_string_equal(first.daemon_id, second.daemon_id);
	/* Only the first may believe that a journal which is not there was never there. */
	assert_true(first.fresh);
	assert_false(second.fresh);
}

static void state_folder_that_others_can_write_to_is_refused(void **state)
{
	const struct folder *folder = *state;
	struct state opened;
	struct dsec_error err;

	assert_int_equal(mkdir(folder->state, 0700), 0);
	assert_int_equal(chmod(folder->state, 0777), 0);
	assert_true(state_open(&opened, folder->state, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_NOT_ALLOWED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(progress_is_read_at_a_glance),
		cmocka_unit_test(progress_of_enormous_numbers_fits),
		cmocka_unit_test(relative_path_survives_that_the_daemon_leaves_its_folder),
		cmocka_unit_test(path_below_nothing_is_refused_with_a_sentence),
		cmocka_unit_test(overlong_path_is_refused),
		cmocka_unit_test(manager_on_an_abstract_socket_is_told),
		cmocka_unit_test(manager_on_a_socket_file_is_told),
		cmocka_unit_test_setup_teardown(second_daemon_on_a_state_folder_is_told_the_first,
						make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			lock_of_a_dead_daemon_that_is_still_held_is_waited_for, make_folder,
			remove_folder),
		cmocka_unit_test_setup_teardown(dead_daemon_that_nobody_has_reaped_is_no_second_one,
						make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(daemon_is_the_same_after_a_restart, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(state_folder_that_others_can_write_to_is_refused,
						make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
