#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lease/audit.h"

static int64_t fixed_calendar_ms(const struct clock *clock)
{
	return INT64_C(1644944694782);
}

static const struct clock fixed_clock = {.calendar_ms = fixed_calendar_ms};

static const struct lease lease = {
	.id = "f2bbbbea-7ef3-4eb5-a2b6-0ca1cd7c33f2",
	.slot = {.project = "app", .config = "dev", .secret = "AWS_USER"},
	.user = "Doppler-Dynamic-ABCdef0123456",
	.access_key_id = "AKIAIOSFODNN7EXAMPLE",
	.expires_ms = INT64_C(1644946494782),
};
#define LEASE_TEXT                                                                                 \
	"\"project\":\"app\",\"config\":\"dev\",\"secret\":\"AWS_USER\","                          \
	"\"lease_id\":\"f2bbbbea-7ef3-4eb5-a2b6-0ca1cd7c33f2\","                                   \
	"\"user\":\"Doppler-Dynamic-ABCdef0123456\",\"access_key_id\":\"AKIAIOSFODNN7EXAMPLE\","   \
	"\"expires\":\"2022-02-15T17:34:54.782Z\""
#define TIME_TEXT "\"time\":\"2022-02-15T17:04:54.782Z\""

struct fixture {
	char folder[64], file[96], old_file[128];
	struct audit *audit;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	snprintf(fixture->folder, sizeof(fixture->folder), "%s", "/tmp/dsec-test-audit-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	snprintf(fixture->file, sizeof(fixture->file), "%s/audit.jsonl", fixture->folder);
	snprintf(fixture->old_file, sizeof(fixture->old_file), "%s.1", fixture->file);
	*state = fixture;
	return audit_open(&fixture->audit, fixture->file, &fixed_clock, NULL);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	audit_close(fixture->audit);
	unlink(fixture->file);
	unlink(fixture->old_file);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static char contents[1 << 20];

static const char *read_file(const char *name)
{
	FILE *file = fopen(name, "re");

	assert_non_null(file);
	contents[fread(contents, 1, sizeof(contents) - 1, file)] = '\0';
	fclose(file);
	return contents;
}

/* The last line, parsed. */
static json_t *read_last(const struct fixture *fixture)
{
	json_error_t error;
	char *text = (char *)read_file(fixture->file);
	size_t n = strlen(text);

	assert_true(n > 0 && text[n - 1] == '\n');
	text[n - 1] = '\0';
	const char *start = strrchr(text, '\n');
	json_t *json = json_loads(start ? start + 1 : text, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		fail_msg("%s: %s", error.text, start ? start + 1 : text);
	return json;
}

static void each_event_is_one_line_of_the_agreed_form(void **state)
{
	struct fixture *fixture = *state;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, NULL);
	audit_lease(fixture->audit, LEASE_ENDED, &lease, "expired");
	audit_lease(fixture->audit, LEASE_GONE, &lease, "");
	assert_string_equal(read_file(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT "}\n"
			    "{" TIME_TEXT ",\"event\":\"ended\"," LEASE_TEXT
			    ",\"reason\":\"expired\"}\n"
			    "{" TIME_TEXT ",\"event\":\"gone\"," LEASE_TEXT "}\n");
	assert_int_equal(audit_lost(fixture->audit), 0);
}

static void caller_that_cannot_be_seen_has_no_pid(void **state)
{
	struct fixture *fixture = *state;
	const struct lease_caller caller = {.uid = 1000, .gid = 4294967294u, .pid = 0};

	audit_handed_out(fixture->audit, &lease, &caller);
	assert_string_equal(read_file(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"handed_out\"," LEASE_TEXT
			    ",\"caller\":{\"uid\":1000,\"gid\":4294967294}}\n");
}

static void failure_is_told_with_awss_own_words(void **state)
{
	struct fixture *fixture = *state;
	const struct lease_caller caller = {.uid = 0, .gid = 0, .pid = 0};
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_THROTTLED, "CreateUser: Rate exceeded");
	snprintf(err.code, sizeof(err.code), "%s", "Throttling");
	snprintf(err.request_id, sizeof(err.request_id), "%s", "7a62c49f");
	audit_failed(fixture->audit, &lease.slot, &caller, &err);
	assert_string_equal(read_file(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"failed\",\"project\":\"app\","
			    "\"config\":\"dev\",\"secret\":\"AWS_USER\","
			    "\"caller\":{\"uid\":0,\"gid\":0},"
			    "\"error\":{\"kind\":\"throttled\","
			    "\"message\":\"CreateUser: Rate exceeded\",\"code\":\"Throttling\","
			    "\"request_id\":\"7a62c49f\"}}\n");
}

static void revocation_that_fails_is_told_with_its_user(void **state)
{
	struct fixture *fixture = *state;
	struct dsec_error err;
	const struct journal_record record = {
		.lease_id = "969eb8c9-f186-475b-8c32-3556de0aef21",
		.project = "app",
		.config = "dev",
		.secret = "AWS_USER",
		.user = "Doppler-Dynamic-yR9Y8hSHAzTwt",
		.reason = "expired",
	};

	dsec_error_set(&err, DSEC_ERROR_DENIED, "DeleteUser: not authorized");
	audit_revocation_failed(fixture->audit, &record, &err);
	assert_string_equal(
		read_file(fixture->file),
		"{" TIME_TEXT ",\"event\":\"revocation_failed\",\"project\":\"app\","
		"\"config\":\"dev\",\"secret\":\"AWS_USER\","
		"\"lease_id\":\"969eb8c9-f186-475b-8c32-3556de0aef21\","
		"\"user\":\"Doppler-Dynamic-yR9Y8hSHAzTwt\",\"reason\":\"expired\","
		"\"error\":{\"kind\":\"denied\",\"message\":\"DeleteUser: not authorized\"}}\n");
}

/* A caller that asks on a thread of its own, and what it says of itself. */
struct caller {
	struct fixture *fixture;
	pid_t pid;
	char executable[PATH_MAX], cgroups[4096];
};

static void *ask(void *arg)
{
	struct caller *caller = arg;
	char link[64];

	caller->pid = (pid_t)syscall(SYS_gettid);
	const struct lease_caller lease_caller = {.uid = 1, .gid = 2, .pid = caller->pid};
	audit_handed_out(caller->fixture->audit, &lease, &lease_caller);

	snprintf(link, sizeof(link), "/proc/%d/exe", caller->pid);
	ssize_t n = readlink(link, caller->executable, sizeof(caller->executable) - 1);
	caller->executable[n < 0 ? 0 : n] = '\0';
	FILE *file = fopen("/proc/self/cgroup", "re");
	if (file) {
		n = (ssize_t)fread(caller->cgroups, 1, sizeof(caller->cgroups) - 1, file);
		caller->cgroups[n] = '\0';
		fclose(file);
	}
	return NULL;
}

static void check_caller(const struct caller *caller)
{
	char ending[2048];
	json_t *json = read_last(caller->fixture);
	const json_t *told = json_object_get(json, "caller");
	const char *cgroup = json_string_value(json_object_get(told, "cgroup"));

	assert_int_equal(json_integer_value(json_object_get(told, "pid")), caller->pid);
	assert_string_not_equal(caller->executable, "");
	assert_string_equal(json_string_value(json_object_get(told, "executable")),
			    caller->executable);
	/* One of its lines ends so. */
	assert_non_null(cgroup);
	assert_true(cgroup[0] == '/' && !strchr(cgroup, '\n'));
	snprintf(ending, sizeof(ending), ":%s\n", cgroup);
	assert_non_null(strstr(caller->cgroups, ending));
	json_decref(json);
}

static void caller_is_named_by_what_it_runs(void **state)
{
	struct caller caller = {.fixture = *state};

	ask(&caller);
	assert_int_equal(caller.pid, getpid());
	check_caller(&caller);
}

/* FUSE tells thread ids. */
static void thread_that_asks_is_named_too(void **state)
{
	struct caller caller = {.fixture = *state};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ask, &caller), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(caller.pid, getpid());
	check_caller(&caller);
}

static void caller_that_is_gone_is_told_by_number(void **state)
{
	struct fixture *fixture = *state;
	const struct lease_caller caller = {.uid = 1, .gid = 2, .pid = INT_MAX};

	audit_handed_out(fixture->audit, &lease, &caller);
	json_t *json = read_last(fixture);
	assert_int_equal(json_object_size(json_object_get(json, "caller")), 3);
	json_decref(json);
	assert_int_equal(audit_lost(fixture->audit), 0);
}

static void hostile_text_cannot_forge_a_line(void **state)
{
	static const char hostile[] =
		"x\"}\n{\"event\":\"gone\"}\r\033[2J\\\377\300\200\355\240\200\302\233\342\200";
	static char endless[1 << 16];
	struct fixture *fixture = *state;
	const struct lease_slot slot = {.project = hostile, .config = endless, .secret = hostile};
	struct dsec_error err = {.kind = DSEC_ERROR_FAULT};
	const struct lease_caller caller = {.pid = getpid()};

	memset(endless, '"', sizeof(endless) - 1);
	snprintf(err.message, sizeof(err.message), "%s", hostile);
	snprintf(err.code, sizeof(err.code), "%s", hostile);
	audit_failed(fixture->audit, &slot, &caller, &err);
	audit_lease(fixture->audit, LEASE_ENDED, &lease, endless);
	assert_int_equal(audit_lost(fixture->audit), 0);
	json_t *json = read_last(fixture);
	assert_string_equal(json_string_value(json_object_get(json, "event")), "ended");
	assert_true(json_string_length(json_object_get(json, "reason")) < 1024);
	json_decref(json);

	const char *text = read_file(fixture->file);
	size_t n_lines = 0;
	for (const char *c = text; *c; c++) {
		n_lines += *c == '\n';
		assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
	}
	assert_int_equal(n_lines, 2);
	assert_null(strstr(text, "\n{\"event\":\"gone\"}"));
}

static void log_is_private_and_appended_to(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;

	assert_int_equal(stat(fixture->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	audit_close(fixture->audit);
	assert_int_equal(audit_open(&fixture->audit, fixture->file, &fixed_clock, NULL), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	const char *text = read_file(fixture->file);
	const char *one = strstr(text, "\"one\"}\n");
	assert_non_null(one);
	assert_non_null(strstr(one, "\"two\"}\n"));
}

static void rotated_log_gets_no_more_lines(void **state)
{
	struct fixture *fixture = *state;
	struct dsec_error err;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	assert_int_equal(rename(fixture->file, fixture->old_file), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	assert_int_equal(audit_reopen(fixture->audit, fixture->file, &err), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "three");
	assert_non_null(strstr(read_file(fixture->old_file), "\"two\""));
	assert_null(strstr(read_file(fixture->old_file), "\"three\""));
	assert_non_null(strstr(read_file(fixture->file), "\"three\""));

	/* A name that cannot be opened leaves the old one in use. */
	assert_true(audit_reopen(fixture->audit, "/nonexistent/audit.jsonl", &err) < 0);
	assert_non_null(strstr(err.message, "/nonexistent/audit.jsonl"));
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "four");
	assert_non_null(strstr(read_file(fixture->file), "\"four\""));
	assert_int_equal(audit_lost(fixture->audit), 0);
}

static void what_is_no_file_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct dsec_error err;
	struct audit *audit = NULL;

	assert_int_equal(mkfifo(fixture->old_file, 0600), 0);
	assert_true(audit_open(&audit, fixture->old_file, &fixed_clock, &err) < 0);
	assert_non_null(strstr(err.message, fixture->old_file));
	assert_true(audit_open(&audit, fixture->folder, &fixed_clock, &err) < 0);
	assert_true(audit_open(&audit, "/dev/null", &fixed_clock, &err) < 0);
	assert_null(audit);
}

/* The file may grow by so many bytes more. */
static void limit_file_size(const struct fixture *fixture, rlim_t more)
{
	struct stat st;
	struct rlimit limit;

	assert_int_equal(stat(fixture->file, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = more == RLIM_INFINITY ? limit.rlim_max : (rlim_t)st.st_size + more;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void lost_lines_are_counted_and_spoil_no_other(void **state)
{
	struct fixture *fixture = *state;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "whole");
	limit_file_size(fixture, 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "lost");
	assert_int_equal(audit_lost(fixture->audit), 1);
	limit_file_size(fixture, 20);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "torn");
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "lost");
	assert_int_equal(audit_lost(fixture->audit), 3);
	limit_file_size(fixture, RLIM_INFINITY);
	signal(SIGXFSZ, handler);

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "after");
	assert_int_equal(audit_lost(fixture->audit), 3);
	assert_string_equal(
		read_file(fixture->file),
		"{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT ",\"reason\":\"whole\"}\n"
		"{\"time\":\"2022-02-15T\n"
		"{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT ",\"reason\":\"after\"}\n");
}

static void line_torn_by_a_crash_spoils_no_other(void **state)
{
	struct fixture *fixture = *state;
	FILE *file = fopen(fixture->file, "we");

	assert_non_null(file);
	fputs("{\"time\":\"20", file);
	fclose(file);
	assert_int_equal(audit_reopen(fixture->audit, fixture->file, NULL), 0);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	assert_string_equal(read_file(fixture->file),
			    "{\"time\":\"20\n"
			    "{" TIME_TEXT ",\"event\":\"gone\"," LEASE_TEXT "}\n"
			    "{" TIME_TEXT ",\"event\":\"gone\"," LEASE_TEXT "}\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_event_is_one_line_of_the_agreed_form),
		TEST(caller_that_cannot_be_seen_has_no_pid),
		TEST(failure_is_told_with_awss_own_words),
		TEST(revocation_that_fails_is_told_with_its_user),
		TEST(caller_is_named_by_what_it_runs),
		TEST(thread_that_asks_is_named_too),
		TEST(caller_that_is_gone_is_told_by_number),
		TEST(hostile_text_cannot_forge_a_line),
		TEST(log_is_private_and_appended_to),
		TEST(rotated_log_gets_no_more_lines),
		TEST(what_is_no_file_is_refused),
		TEST(lost_lines_are_counted_and_spoil_no_other),
		TEST(line_torn_by_a_crash_spoils_no_other),
	};
	return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
