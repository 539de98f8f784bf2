#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "aws/aws.h"
#include "aws/keyring.h"
#include "aws/process.h"
#include "tests/lib/cmocka_skip.h"

#define NOW        1645000000000LL
#define PATIENCE_S 30

static char folder[] = "/tmp/dsec-keyring-XXXXXX";

/* A clock that the test owns: process deadlines come when it says so. */
static int64_t boottime_at = 1000000, calendar_ms = NOW;

static int64_t tell_boottime(const struct clock *clock)
{
	return boottime_at;
}

static int64_t tell_calendar(const struct clock *clock)
{
	return calendar_ms;
}

static const struct clock owned_clock = {.boottime_at = tell_boottime,
					 .calendar_ms = tell_calendar};

static struct loop loop;
static unsigned changes;

static void pass(int64_t ms)
{
	boottime_at += ms;
	calendar_ms += ms;
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_text(const char *name, const char *text, mode_t mode)
{
	FILE *file = fopen(path_of(name), "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path_of(name), mode), 0);
}

static void on_change(void *arg)
{
	changes++;
}

/* Until the keyring has told of a change. */
static void wait_change(void)
{
	time_t begun = time(NULL);
	unsigned before = changes;

	while (changes == before) {
		struct pollfd ready = {.fd = loop.epoll, .events = POLLIN};

		assert_true(time(NULL) - begun < PATIENCE_S);
		poll(&ready, 1, 100);
		loop_dispatch(&loop);
	}
}

static struct keyring *make_static(struct credentials *credentials)
{
	*credentials = (struct credentials){.source = CREDENTIALS_STATIC,
					    .access_key_id = "AKIA",
					    .secret_access_key_file = strdup(path_of("key"))};
	return keyring_new(&loop, credentials, on_change, NULL);
}

/* A script that counts its runs, and prints keys that end `seconds` after NOW (0: never). */
static struct keyring *make_process(struct credentials *credentials, int seconds)
{
	char script[1024], expiration[64] = "", when[32];
	time_t end = NOW / 1000 + seconds;
	struct tm tm;

	need_pidfd_open();
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &tm));
	if (seconds)
		snprintf(expiration, sizeof(expiration), ", \"Expiration\": \"%s\"", when);
	snprintf(script, sizeof(script),
		 "#!/bin/sh\necho >> %s/count\nn=$(wc -l < %s/count)\n"
		 "echo '{\"Version\": 1, \"AccessKeyId\": \"AKIA'$n'\", \"SecretAccessKey\": "
		 "\"secret\"%s}'\n",
		 folder, folder, expiration);
	write_text("count", "", 0600);
	write_text("run", script, 0700);
	*credentials = (struct credentials){.source = CREDENTIALS_PROCESS,
					    .command = strdup(path_of("run"))};
	return keyring_new(&loop, credentials, on_change, NULL);
}

static void finish(struct keyring *keyring, struct credentials *credentials)
{
	keyring_free(keyring);
	free((char *)credentials->command);
	free((char *)credentials->secret_access_key_file);
}

static struct keys *must_get(struct keyring *keyring)
{
	struct keys *keys = NULL;
	struct dsec_error err = {0};
	int r = keyring_get(keyring, calendar_ms, &keys, &err);

	if (r == -EINPROGRESS) {
		wait_change();
		r = keyring_get(keyring, calendar_ms, &keys, &err);
	}
	if (r < 0)
		fail_msg("%s", err.message);
	return keys;
}

static void assert_id(struct keyring *keyring, const char *id)
{
	_cleanup_keys_ struct keys *keys = must_get(keyring);

	assert_string_equal(keys->id, id);
}

static void a_refused_key_is_read_again_at_once(void **state)
{
	struct credentials credentials;
	struct keyring *keyring;
	struct keys *old, *now;

	write_text("key", "old", 0600);
	keyring = make_static(&credentials);
	old = must_get(keyring);
	write_text("key", "new", 0600);
	now = must_get(keyring);
	assert_ptr_equal(old, now); /* nobody refused it */
	keys_unref(now);
	pass(KEYRING_GAP_MS);
	keyring_refused(keyring, old);
	now = must_get(keyring);
	assert_false(keys_equal(old, now));
	keys_unref(old);
	keys_unref(now);
	finish(keyring, &credentials);
}

static void a_key_that_stays_refused_does_not_wear_out_its_source(void **state)
{
	struct credentials credentials;
	struct keyring *keyring = make_process(&credentials, 0);
	struct keys *keys = must_get(keyring);
	struct keys *again = NULL;

	for (int i = 0; i < 10; i++) {
		keyring_refused(keyring, keys);
		assert_int_equal(keyring_get(keyring, calendar_ms, &again, NULL), 0);
		keys_unref(again);
	}
	pass(KEYRING_GAP_MS);
	keyring_refused(keyring, keys);
	assert_int_equal(keyring_get(keyring, calendar_ms, &again, NULL), -EINPROGRESS);
	wait_change();
	assert_id(keyring, "AKIA2");
	keys_unref(keys);
	finish(keyring, &credentials);
}

static void old_news_of_a_refusal_changes_nothing(void **state)
{
	struct credentials credentials;
	struct keyring *keyring = make_process(&credentials, 0);
	struct keys *old = must_get(keyring);

	pass(KEYRING_GAP_MS);
	keyring_refused(keyring, old);
	assert_id(keyring, "AKIA2");
	pass(KEYRING_GAP_MS);
	keyring_refused(keyring, old); /* a call that was on its way all the while */
	assert_id(keyring, "AKIA2");
	keys_unref(old);
	finish(keyring, &credentials);
}

static void keys_are_fetched_ahead_of_their_end_and_nobody_waits(void **state)
{
	int64_t begun = calendar_ms;
	struct credentials credentials;
	struct keyring *keyring = make_process(&credentials, (int)(begun - NOW) / 1000 + 3600);

	assert_id(keyring, "AKIA1");
	pass(3600000 - KEYRING_AHEAD_MS - 1000);
	assert_id(keyring, "AKIA1");
	pass(1000);
	assert_id(keyring, "AKIA1"); /* still good, while the next ones are on their way */
	wait_change();
	assert_id(keyring, "AKIA2");
	finish(keyring, &credentials);
}

static void keys_that_have_ended_are_not_used(void **state)
{
	struct credentials credentials;
	struct keyring *keyring =
		make_process(&credentials, (int)((calendar_ms - NOW) / 1000) + 3600);
	struct keys *keys = NULL;
	struct dsec_error err;

	assert_id(keyring, "AKIA1");
	pass(3600000);
	assert_int_equal(keyring_get(keyring, calendar_ms, &keys, &err), -EINPROGRESS);
	wait_change();
	/* The command gives the same end again, which has passed. */
	assert_true(keyring_get(keyring, calendar_ms, &keys, &err) < 0);
	assert_int_equal(err.kind, DSEC_ERROR_CREDENTIALS);
	assert_non_null(strstr(err.message, "expired"));
	finish(keyring, &credentials);
}

static void a_source_that_fails_meanwhile_leaves_good_keys_alone(void **state)
{
	struct credentials credentials;
	struct keyring *keyring =
		make_process(&credentials, (int)((calendar_ms - NOW) / 1000) + 3600);

	assert_id(keyring, "AKIA1");
	write_text("run", "#!/bin/sh\nexit 1\n", 0700);
	pass(3600000 - KEYRING_AHEAD_MS);
	assert_id(keyring, "AKIA1");
	wait_change();
	assert_id(keyring, "AKIA1");
	finish(keyring, &credentials);
}

/* What a process came to: its error's message, or its output. */
struct outcome_of_process {
	bool done;
	size_t n;
	char text[DSEC_ERROR_MESSAGE_MAX];
};

static void on_process(void *arg, const char *output, size_t n, const struct dsec_error *err)
{
	struct outcome_of_process *outcome = arg;

	outcome->done = true;
	outcome->n = n;
	snprintf(outcome->text, sizeof(outcome->text), "%.*s", (int)(err ? 500 : n),
		 err ? err->message : output);
}

static void run(const char *command, int64_t pass_ms, struct outcome_of_process *outcome)
{
	struct process *process = NULL;
	struct dsec_error err;
	time_t begun = time(NULL);

	need_pidfd_open();
	*outcome = (struct outcome_of_process){0};
	if (process_start(&process, &loop, command, on_process, outcome, &err) < 0) {
		snprintf(outcome->text, sizeof(outcome->text), "%s", err.message);
		return;
	}
	pass(pass_ms);
	while (!outcome->done) {
		struct pollfd ready = {.fd = loop.epoll, .events = POLLIN};

		assert_true(time(NULL) - begun < PATIENCE_S);
		poll(&ready, 1, 100);
		loop_dispatch(&loop);
	}
}

static void assert_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_process_that_hangs_is_killed_with_its_children(void **state)
{
	struct outcome_of_process outcome;

	run("/bin/sh -c 'sleep 1000 & sleep 1000'", AWS_CREDENTIAL_PROCESS_TIMEOUT_MS, &outcome);
	assert_non_null(strstr(outcome.text, "took too long"));
	assert_no_child();
}

static void a_process_that_prints_for_ever_is_killed(void **state)
{
	struct outcome_of_process outcome;

	run("/usr/bin/yes", 0, &outcome);
	assert_non_null(strstr(outcome.text, "printed too much"));
	assert_true(outcome.n <= AWS_CREDENTIAL_PROCESS_OUTPUT_MAX + 1);
	assert_no_child();
}

static void a_daemon_that_it_leaves_behind_is_not_waited_for(void **state)
{
	struct outcome_of_process outcome;

	run("/bin/sh -c 'echo done; sleep 5 &'", 0, &outcome);
	assert_string_equal(outcome.text, "done\n");
	assert_no_child();
}

static void a_process_that_fails_is_told_by_how(void **state)
{
	struct outcome_of_process outcome;

	run("/bin/sh -c 'echo my secret; exit 7'", 0, &outcome);
	assert_non_null(strstr(outcome.text, "status 7"));
	assert_null(strstr(outcome.text, "my secret"));
	run("/bin/sh -c 'kill -9 $$'", 0, &outcome);
	assert_non_null(strstr(outcome.text, "signal 9"));
	run("'", 0, &outcome);
	assert_non_null(strstr(outcome.text, "quote"));
	assert_no_child();
}

static void a_program_that_is_not_there_is_named(void **state)
{
	struct outcome_of_process outcome;

	if (under_valgrind())
		skip_because(
			"valgrind's vfork(2) is a fork(2), which tells posix_spawn(3) nothing");
	run("/nonexistent/program x", 0, &outcome);
	assert_non_null(strstr(outcome.text, "/nonexistent/program"));
	assert_no_child();
}

static void a_process_inherits_nothing_but_three_descriptors(void **state)
{
	struct outcome_of_process outcome;

	run("/bin/sh -c 'cat; trap; ls -l /proc/self/fd | grep -c -v -e pipe -e null -e fd -e "
	    "total'",
	    0, &outcome);
	assert_non_null(strstr(outcome.text, "status 1")); /* grep counted none */
}

static void freeing_a_process_ends_it(void **state)
{
	struct outcome_of_process outcome = {0};
	struct process *process = NULL;

	need_pidfd_open();
	assert_int_equal(
		process_start(&process, &loop, "/bin/sleep 1000", on_process, &outcome, NULL), 0);
	process_free(process);
	assert_false(outcome.done);
	assert_no_child();
}

static int set_up(void **state)
{
	return aws_global_init(NULL) < 0 || secret_arena_init(1 << 20, NULL) < 0 ||
	       loop_init(&loop, &owned_clock, NULL) < 0 || !mkdtemp(folder);
}

static int tear_down(void **state)
{
	unlink(path_of("key"));
	unlink(path_of("run"));
	unlink(path_of("count"));
	loop_finish(&loop);
	secret_arena_finish();
	aws_global_finish();
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_key_is_read_again_at_once),
		cmocka_unit_test(a_key_that_stays_refused_does_not_wear_out_its_source),
		cmocka_unit_test(old_news_of_a_refusal_changes_nothing),
		cmocka_unit_test(keys_are_fetched_ahead_of_their_end_and_nobody_waits),
		cmocka_unit_test(keys_that_have_ended_are_not_used),
		cmocka_unit_test(a_source_that_fails_meanwhile_leaves_good_keys_alone),
		cmocka_unit_test(a_process_that_hangs_is_killed_with_its_children),
		cmocka_unit_test(a_process_that_prints_for_ever_is_killed),
		cmocka_unit_test(a_daemon_that_it_leaves_behind_is_not_waited_for),
		cmocka_unit_test(a_process_that_fails_is_told_by_how),
		cmocka_unit_test(a_program_that_is_not_there_is_named),
		cmocka_unit_test(a_process_inherits_nothing_but_three_descriptors),
		cmocka_unit_test(freeing_a_process_ends_it),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
