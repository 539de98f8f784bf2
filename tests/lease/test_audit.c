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

#include <openssl/hmac.h>

#include "lease/audit.h"
#include "lease/audit_files.h"
#include "lease/audit_verify.h"
#include "lease/who.h"

static int64_t fixed_calendar_ms(const struct clock *clock)
{
	return INT64_C(1644944694782);
}

static int64_t boottime;

static int64_t settable_boottime_at(const struct clock *clock)
{
	return boottime;
}

/* The key is always the same, so that the MACs can be known. */
static void known_bytes(const struct clock *clock, void *to, size_t n)
{
	memset(to, 7, n);
}

static const struct clock fixed_clock = {
	.calendar_ms = fixed_calendar_ms,
	.boottime_at = settable_boottime_at,
	.random_bytes = known_bytes,
};

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
	char folder[64], state[80], file[96], old_file[128];
	struct audit_options options;
	struct audit *audit;
	int n_said;
	char said[8192]; /* a line each */
};

static void keep_said(void *arg, int priority, const char *message)
{
	struct fixture *fixture = arg;
	size_t n = strlen(fixture->said);

	fixture->n_said++;
	snprintf(fixture->said + n, sizeof(fixture->said) - n, "%d %s\n", priority, message);
}

static void open_again(struct fixture *fixture)
{
	fixture->audit = audit_close(fixture->audit);
	assert_int_equal(audit_open(&fixture->audit, &fixture->options, NULL), 0);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	boottime = 0;
	snprintf(fixture->folder, sizeof(fixture->folder), "%s", "/tmp/dsec-test-audit-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	snprintf(fixture->state, sizeof(fixture->state), "%s/state", fixture->folder);
	snprintf(fixture->file, sizeof(fixture->file), "%s/audit.jsonl", fixture->folder);
	snprintf(fixture->old_file, sizeof(fixture->old_file), "%s.1", fixture->file);
	fixture->options = (struct audit_options){
		.file = fixture->file,
		.state_folder = fixture->state,
		.max_size = 1 << 20,
		.keep = 3,
		.required = true,
		.clock = &fixed_clock,
		.say = keep_said,
		.arg = fixture,
	};
	*state = fixture;
	return audit_open(&fixture->audit, &fixture->options, NULL);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char command[128];

	audit_close(fixture->audit);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
	free(fixture);
	return system(command); /* NOLINT(cert-env33-c): a name that was made here */
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

/* The file's lines without their numbers and MACs, whose place is checked. */
static const char *read_lines(const char *name)
{
	static char lines[1 << 20];
	const char *text = read_file(name);
	char *to = lines;

	while (*text) {
		const char *end = strchr(text, '\n'), *mac = strstr(text, ",\"mac\":\"");
		const char *after = strchr(text, ',');

		assert_true(end && mac && mac < end);
		assert_int_equal(end - mac, 74);
		assert_int_equal(strncmp(text, "{\"n\":", 5), 0);
		to += sprintf(to, "{%.*s}\n", (int)(mac - after - 1), after + 1);
		text = end + 1;
	}
	*to = '\0';
	return lines;
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

/* What 'dsec audit verify' finds; "" for nothing, else "LINE PROBLEM". */
static const char *verify(const struct fixture *fixture, const char *wanted)
{
	static char text[DSEC_ERROR_MESSAGE_MAX + 32];
	struct audit_verdict verdict;
	struct audit_files files;
	struct audit_head kept;
	struct secret *key;

	assert_int_equal(audit_key_load(&key, fixture->state, NULL), 0);
	assert_int_equal(audit_head_load(&kept, fixture->state, NULL), 0);
	assert_int_equal(audit_files_find(&files, fixture->file, NULL), 0);
	assert_int_equal(audit_verify(&verdict, &files, key, &kept, wanted, NULL), 0);
	audit_files_finish(&files);
	secret_unref(key);
	text[0] = '\0';
	if (!verdict.good)
		snprintf(text, sizeof(text), "%d %s", (int)verdict.line, verdict.problem);
	return text;
}

static void each_event_is_one_line_of_the_agreed_form(void **state)
{
	struct fixture *fixture = *state;
	struct lease renewed = lease;

	renewed.renewed = true;
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, NULL);
	audit_lease(fixture->audit, LEASE_ACTIVE, &renewed, NULL);
	audit_lease(fixture->audit, LEASE_ENDED, &lease, "expired");
	audit_lease(fixture->audit, LEASE_GONE, &lease, "");
	assert_string_equal(read_lines(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT "}\n"
			    "{" TIME_TEXT ",\"event\":\"renewed\"," LEASE_TEXT "}\n"
			    "{" TIME_TEXT ",\"event\":\"ended\"," LEASE_TEXT
			    ",\"reason\":\"expired\"}\n"
			    "{" TIME_TEXT ",\"event\":\"gone\"," LEASE_TEXT "}\n");
	assert_int_equal(audit_lost(fixture->audit), 0);
}

/* So that another program can check the chain, and a later version this one's logs. */
static void chain_is_the_one_that_is_documented(void **state)
{
	struct fixture *fixture = *state;
	unsigned char key[32], mac[64] = {0}, whole[4096];
	unsigned size;

	memset(key, 7, sizeof(key));
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, NULL);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	const char *text = read_file(fixture->file);
	for (int i = 1; i <= 2; i++) {
		const char *seal = strstr(text, ",\"mac\":\"");
		char hex[65], start[16];

		snprintf(start, sizeof(start), "{\"n\":%d,", i);
		assert_int_equal(strncmp(text, start, strlen(start)), 0);
		memcpy(whole, mac, 32);
		memcpy(whole + 32, text, (size_t)(seal - text));
		assert_non_null(
			HMAC(EVP_sha256(), key, 32, whole, 32 + (size_t)(seal - text), mac, &size));
		for (int j = 0; j < 32; j++)
			snprintf(hex + 2L * j, 3, "%02x", mac[j]);
		assert_memory_equal(seal + 8, hex, 64);
		text = strchr(text, '\n') + 1;
	}
}

static void caller_that_cannot_be_seen_has_no_pid(void **state)
{
	struct fixture *fixture = *state;
	const struct lease_caller caller = {.uid = 1000, .gid = 4294967294u, .pid = 0};

	audit_handed_out(fixture->audit, &lease, &caller);
	assert_string_equal(read_lines(fixture->file),
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
	assert_string_equal(read_lines(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"failed\",\"project\":\"app\","
			    "\"config\":\"dev\",\"secret\":\"AWS_USER\","
			    "\"caller\":{\"uid\":0,\"gid\":0},"
			    "\"error\":{\"kind\":\"throttled\","
			    "\"message\":\"CreateUser: Rate exceeded\",\"code\":\"Throttling\","
			    "\"request_id\":\"7a62c49f\"}}\n");
}

/* Who comes over the network has no uid. */
static void bearer_of_a_token_is_named_by_it(void **state)
{
	struct fixture *fixture = *state;
	const struct lease_caller caller = {
		.uid = (uid_t)-1, .gid = (gid_t)-1, .name = "token:0123456789abcdef"};
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_QUOTA, "too many");
	audit_failed(fixture->audit, &lease.slot, &caller, &err);
	audit_handed_out(fixture->audit, &lease, &caller);
	audit_refused(fixture->audit, "token:0123456789abcdef", "ip:127.0.0.1", &caller, "app",
		      "prd", "not this one");
	assert_string_equal(read_lines(fixture->file),
			    "{" TIME_TEXT ",\"event\":\"failed\",\"project\":\"app\","
			    "\"config\":\"dev\",\"secret\":\"AWS_USER\","
			    "\"token\":\"token:0123456789abcdef\",\"caller\":{},"
			    "\"error\":{\"kind\":\"quota\",\"message\":\"too many\"}}\n"
			    "{" TIME_TEXT ",\"event\":\"handed_out\"," LEASE_TEXT
			    ",\"token\":\"token:0123456789abcdef\",\"caller\":{}}\n"
			    "{" TIME_TEXT ",\"event\":\"refused\",\"project\":\"app\","
			    "\"config\":\"prd\",\"token\":\"token:0123456789abcdef\","
			    "\"peer\":\"ip:127.0.0.1\",\"caller\":{},"
			    "\"error\":{\"kind\":\"not_allowed\",\"message\":\"not this one\"}}\n");
}

static const struct journal_record record = {
	.lease_id = "969eb8c9-f186-475b-8c32-3556de0aef21",
	.project = "app",
	.config = "dev",
	.secret = "AWS_USER",
	.user = "Doppler-Dynamic-yR9Y8hSHAzTwt",
	.reason = "expired",
};

static void revocation_that_fails_is_told_with_its_user(void **state)
{
	struct fixture *fixture = *state;
	struct dsec_error err;

	dsec_error_set(&err, DSEC_ERROR_DENIED, "DeleteUser: not authorized");
	audit_revocation_failed(fixture->audit, &record, &err);
	assert_string_equal(
		read_lines(fixture->file),
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
	const struct lease_caller lease_caller = {
		.uid = 1,
		.gid = 2,
		.pid = caller->pid,
		.who = who_look(caller->pid, &fixed_clock),
	};
	assert_non_null(lease_caller.who);
	audit_handed_out(caller->fixture->audit, &lease, &lease_caller);
	who_unref(lease_caller.who);

	/* Not /proc/PID/exe, for which valgrind has an answer of its own. */
	snprintf(link, sizeof(link), "/proc/self/task/%d/exe", caller->pid);
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

	/* The process, whichever of its threads asked. */
	assert_int_equal(json_integer_value(json_object_get(told, "pid")), getpid());
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

	assert_null(who_look(INT_MAX, &fixed_clock));
	audit_handed_out(fixture->audit, &lease, &caller);
	json_t *json = read_last(fixture);
	assert_int_equal(json_object_size(json_object_get(json, "caller")), 3);
	json_decref(json);
	assert_int_equal(audit_lost(fixture->audit), 0);
}

static void container_is_named_by_its_outermost_cgroup(void **state)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	static const struct {
		const char *cgroup, *name;
	} cases[] = {
		{"/system.slice/docker-%s.scope", "docker:%s"},
		{"/docker/%s", "docker:%s"},
		{"/docker/%s/system.slice/docker-aaaaaaaaaaaaaaaa.scope", "docker:%s"},
		{"/machine.slice/libpod-%s.scope/container", "podman:%s"},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/"
		 "cri-containerd-%s.scope",
		 "containerd:%s"},
		{"/kubepods/burstable/pod1234/%s", "containerd:%s"},
		{"/kubepods.slice/crio-%s.scope", "crio:%s"},
		{"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:%s",
		 "containerd:%s"},
		{"/lxc.payload.web/system.slice/cron.service", "lxc:web"},
		{"/system.slice/nginx.service", "nginx.service"},
		{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope"},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope", "a.scope"},
		{"/machine.slice/libpod-conmon-%s.scope", "libpod-conmon-%s.scope"},
		{"/", NULL},
		{"/user.slice", NULL},
		{"/%s", NULL},
	};
	char to[WHO_TEXT_MAX], cgroup[WHO_TEXT_MAX], name[WHO_TEXT_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* NOLINTBEGIN(clang-diagnostic-format-nonliteral) */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(cgroup, sizeof(cgroup), cases[i].cgroup, id);
		assert_int_equal(who_container(to, cgroup), cases[i].name != NULL);
		if (!cases[i].name)
			continue;
		snprintf(name, sizeof(name), cases[i].name, id);
#pragma GCC diagnostic pop
		/* NOLINTEND(clang-diagnostic-format-nonliteral) */
		assert_string_equal(to, name);
	}
}

/* Each reader is named, and a read does not cost a write. */
static void every_reader_of_a_lease_is_named_once_and_counted(void **state)
{
	struct fixture *fixture = *state;
	struct who *whos[3];
	struct lease_caller callers[3];

	for (int i = 0; i < 3; i++) {
		whos[i] = calloc(1, sizeof(*whos[i]));
		whos[i]->references = 1;
		whos[i]->pid = 10 + i;
		whos[i]->executable = strdup(i < 2 ? "/bin/cat" : "/bin/cp");
		callers[i] = (struct lease_caller){.uid = 1, .who = whos[i]};
	}
	audit_handed_out(fixture->audit, &lease, &callers[0]);
	audit_read(fixture->audit, &lease, &callers[0], 1);
	audit_read(fixture->audit, &lease, &callers[1], 5);
	audit_read(fixture->audit, &lease, &callers[2], 1);
	audit_read(fixture->audit, &lease, &callers[2], 1);
	audit_lease(fixture->audit, LEASE_ENDED, &lease, "expired");
	audit_lease(fixture->audit, LEASE_GONE, &lease, "expired");
	assert_string_equal(
		read_lines(fixture->file),
		"{" TIME_TEXT ",\"event\":\"handed_out\"," LEASE_TEXT
		",\"caller\":{\"uid\":1,\"gid\":0,\"pid\":10,\"executable\":\"/bin/cat\"}}\n"
		"{" TIME_TEXT ",\"event\":\"read\"," LEASE_TEXT
		",\"caller\":{\"uid\":1,\"gid\":0,\"pid\":12,\"executable\":\"/bin/cp\"}}\n"
		"{" TIME_TEXT ",\"event\":\"ended\"," LEASE_TEXT ",\"reason\":\"expired\"}\n"
		"{" TIME_TEXT ",\"event\":\"reads\"," LEASE_TEXT
		",\"caller\":{\"uid\":1,\"gid\":0,\"pid\":10,\"executable\":\"/bin/cat\"}"
		",\"count\":6}\n"
		"{" TIME_TEXT ",\"event\":\"reads\"," LEASE_TEXT
		",\"caller\":{\"uid\":1,\"gid\":0,\"pid\":12,\"executable\":\"/bin/cp\"}"
		",\"count\":2}\n"
		"{" TIME_TEXT ",\"event\":\"gone\"," LEASE_TEXT ",\"reason\":\"expired\"}\n");
	for (int i = 0; i < 3; i++)
		who_unref(whos[i]);
}

/* Each is named all the same; and memory has an end. */
static void flood_of_different_readers_loses_none(void **state)
{
	struct fixture *fixture = *state;
	struct lease_caller caller = {0};
	const unsigned n = AUDIT_READERS_MAX + 100;

	fixture->options.max_size = 1 << 30;
	assert_int_equal(audit_reopen(fixture->audit, &fixture->options, NULL), 0);
	for (caller.uid = 0; caller.uid < n; caller.uid++)
		audit_read(fixture->audit, &lease, &caller, 1);
	fixture->audit = audit_close(fixture->audit);

	FILE *file = fopen(fixture->file, "re");
	struct audit_line *line = malloc(sizeof(*line));
	unsigned n_read = 0, n_reads = 0;
	assert_non_null(file);
	while (audit_line_read(file, line)) {
		n_read += strstr(line->text, "\"event\":\"read\"") != NULL;
		n_reads += strstr(line->text, "\"count\":1}") != NULL ||
			   strstr(line->text, "\"count\":1,") != NULL;
	}
	fclose(file);
	free(line);
	assert_int_equal(n_read, n);
	assert_int_equal(n_reads, n);
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
	char key[128];

	assert_int_equal(stat(fixture->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	snprintf(key, sizeof(key), "%s/" AUDIT_KEY_FILE, fixture->state);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	open_again(fixture);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	const char *text = read_file(fixture->file);
	const char *one = strstr(text, "\"one\",\"mac\"");
	assert_non_null(one);
	assert_non_null(strstr(one, "\"two\",\"mac\""));
	assert_string_equal(verify(fixture, NULL), "");
}

static void rotated_log_gets_no_more_lines(void **state)
{
	struct fixture *fixture = *state;
	struct audit_options nowhere = fixture->options;
	struct dsec_error err;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	assert_int_equal(rename(fixture->file, fixture->old_file), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	assert_int_equal(audit_reopen(fixture->audit, &fixture->options, &err), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "three");
	assert_non_null(strstr(read_file(fixture->old_file), "\"two\""));
	assert_null(strstr(read_file(fixture->old_file), "\"three\""));
	assert_non_null(strstr(read_file(fixture->file), "\"three\""));

	/* A name that cannot be opened leaves the old one in use; and so does the same one. */
	nowhere.file = "/nonexistent/audit.jsonl";
	assert_true(audit_reopen(fixture->audit, &nowhere, &err) < 0);
	assert_non_null(strstr(err.message, "/nonexistent/audit.jsonl"));
	assert_int_equal(audit_reopen(fixture->audit, &fixture->options, &err), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "four");
	assert_non_null(strstr(read_file(fixture->file), "\"four\""));
	assert_int_equal(audit_lost(fixture->audit), 0);
	assert_string_equal(verify(fixture, NULL), "");
}

/* Also while nobody looked. */
static void chain_goes_on_in_the_next_file(void **state)
{
	struct fixture *fixture = *state;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	fixture->audit = audit_close(fixture->audit);
	assert_int_equal(rename(fixture->file, fixture->old_file), 0);
	open_again(fixture);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	assert_string_equal(verify(fixture, NULL), "");
	/* Of files that are all gone the numbers are not used again. */
	fixture->audit = audit_close(fixture->audit);
	assert_int_equal(unlink(fixture->file), 0);
	assert_int_equal(unlink(fixture->old_file), 0);
	open_again(fixture);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "three");
	assert_non_null(strstr(verify(fixture, NULL), "the log begins with number 4: what stood "
						      "before is not in these files"));
}

static void full_file_is_followed_by_another_and_the_oldest_go(void **state)
{
	struct fixture *fixture = *state;
	struct audit_files files;
	char reason[1000];

	memset(reason, 'x', sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	fixture->options.max_size = 10000;
	assert_int_equal(audit_reopen(fixture->audit, &fixture->options, NULL), 0);
	for (int i = 0; i < 100; i++) {
		struct stat st;

		audit_lease(fixture->audit, LEASE_ACTIVE, &lease, reason);
		assert_int_equal(stat(fixture->file, &st), 0);
		assert_true(st.st_size < 10000 + 2000);
	}
	assert_int_equal(audit_files_find(&files, fixture->file, NULL), 0);
	assert_int_equal(files.n, 4); /* keep, and the present one */
	audit_files_finish(&files);
	assert_string_equal(verify(fixture, NULL), "");
	open_again(fixture);
	assert_string_equal(verify(fixture, NULL), "");
	assert_int_equal(audit_lost(fixture->audit), 0);
}

static void head_is_told_at_its_interval_and_each_rotation(void **state)
{
	struct fixture *fixture = *state;
	char hex[17];

	assert_int_equal(audit_tick(fixture->audit), DSEC_NEVER);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "one");
	assert_int_equal(audit_tick(fixture->audit), AUDIT_HEAD_INTERVAL_MS);
	assert_int_equal(fixture->n_said, 0);
	boottime = AUDIT_HEAD_INTERVAL_MS;
	assert_int_equal(audit_tick(fixture->audit), DSEC_NEVER);
	assert_int_equal(fixture->n_said, 1);
	const char *head = strstr(fixture->said, ": number 1 has the head ");
	assert_non_null(head);
	snprintf(hex, sizeof(hex), "%s", head + strlen(": number 1 has the head "));
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "two");
	assert_int_equal(rename(fixture->file, fixture->old_file), 0);
	assert_int_equal(audit_reopen(fixture->audit, &fixture->options, NULL), 0);
	assert_int_equal(fixture->n_said, 2);
	assert_non_null(strstr(fixture->said, ": number 2 has the head "));
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "three");
	open_again(fixture);
	assert_int_equal(fixture->n_said, 3);
	assert_string_equal(verify(fixture, hex), "");
	assert_non_null(strstr(verify(fixture, "0123456789abcdef"),
			       "no line has the head 0123456789abcdef"));
}

static void what_is_no_file_is_refused(void **state)
{
	struct fixture *fixture = *state;
	const char *const names[] = {fixture->old_file, fixture->folder, "/dev/null"};
	struct audit_options options = fixture->options;
	struct dsec_error err;
	struct audit *audit = NULL;

	assert_int_equal(mkfifo(fixture->old_file, 0600), 0);
	for (size_t i = 0; i < 3; i++) {
		options.file = names[i];
		assert_true(audit_open(&audit, &options, &err) < 0);
		assert_non_null(strstr(err.message, names[i]));
	}
	/* A second writer would break the chain. */
	options.file = fixture->file;
	assert_true(audit_open(&audit, &options, &err) < 0);
	assert_non_null(strstr(err.message, "another dsec writes the audit log"));
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
	struct dsec_error err;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "whole");
	limit_file_size(fixture, 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "lost");
	assert_int_equal(audit_lost(fixture->audit), 1);
	limit_file_size(fixture, 20);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "torn");
	assert_true(audit_intended(fixture->audit, &record, &err) < 0);
	assert_non_null(strstr(err.message, "no new lease without a line in the audit log"));
	assert_int_equal(err.kind, DSEC_ERROR_NO_SPACE);
	assert_int_equal(audit_lost(fixture->audit), 3);
	assert_false(audit_writable(fixture->audit));
	assert_int_equal(fixture->n_said, 1); /* not with each line */
	limit_file_size(fixture, RLIM_INFINITY);
	signal(SIGXFSZ, handler);

	assert_int_equal(audit_intended(fixture->audit, &record, &err), 0);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "after");
	assert_int_equal(audit_lost(fixture->audit), 3);
	assert_true(audit_writable(fixture->audit));
	assert_string_equal(
		read_lines(fixture->file),
		"{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT ",\"reason\":\"whole\"}\n"
		"{" TIME_TEXT ",\"event\":\"lost\",\"count\":3}\n"
		"{" TIME_TEXT ",\"event\":\"intended\",\"project\":\"app\",\"config\":\"dev\","
		"\"secret\":\"AWS_USER\",\"lease_id\":\"969eb8c9-f186-475b-8c32-3556de0aef21\","
		"\"user\":\"Doppler-Dynamic-yR9Y8hSHAzTwt\"}\n"
		"{" TIME_TEXT ",\"event\":\"active\"," LEASE_TEXT ",\"reason\":\"after\"}\n");
	assert_string_equal(verify(fixture, NULL), "");
}

static void log_that_is_not_required_refuses_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct audit_options options = fixture->options;
	struct audit *audit;
	char folder[128], file[160];

	snprintf(folder, sizeof(folder), "%s/later", fixture->folder);
	snprintf(file, sizeof(file), "%s/audit.jsonl", folder);
	options.file = file;
	assert_true(audit_open(&audit, &options, NULL) < 0);
	options.required = false;
	assert_int_equal(audit_open(&audit, &options, NULL), 0);
	assert_non_null(strstr(fixture->said, "leases are made without it"));
	assert_int_equal(audit_intended(audit, &record, NULL), 0);
	assert_int_equal(audit_lost(audit), 1);
	/* And it goes on as soon as it can. */
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(audit_intended(audit, &record, NULL), 0);
	audit_close(audit);
	assert_non_null(strstr(read_file(file), "\"event\":\"lost\",\"count\":1"));
}

static void line_torn_by_a_crash_spoils_no_other(void **state)
{
	struct fixture *fixture = *state;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "before");
	fixture->audit = audit_close(fixture->audit);
	FILE *file = fopen(fixture->file, "ae");
	assert_non_null(file);
	fputs("{\"n\":2,\"time\":\"20", file);
	fclose(file);
	assert_non_null(strstr(verify(fixture, NULL), "the log ends within this line"));
	open_again(fixture);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	const char *torn = strstr(read_file(fixture->file), "{\"n\":2,\"time\":\"20\n{\"n\":2,");
	assert_non_null(torn);
	assert_non_null(strstr(torn, "\"event\":\"torn\",\"bytes\":17,\"sha256\":"));
	assert_string_equal(verify(fixture, NULL), "");
	assert_non_null(strstr(fixture->said, "ended within a line, which number 2 closes"));
}

/* The newline alone was lost. */
static void line_without_its_end_is_a_line(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;

	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, "before");
	fixture->audit = audit_close(fixture->audit);
	assert_int_equal(stat(fixture->file, &st), 0);
	assert_int_equal(truncate(fixture->file, st.st_size - 1), 0);
	open_again(fixture);
	audit_lease(fixture->audit, LEASE_GONE, &lease, NULL);
	assert_null(strstr(read_file(fixture->file), "torn"));
	assert_string_equal(verify(fixture, NULL), "");
}

/* A small log with lines of all lengths, and what stands in it. */
static char *make_log(struct fixture *fixture, size_t *ret_n)
{
	const struct lease_caller caller = {.uid = 1};

	audit_event(fixture->audit, "started", "dsec", NULL, NULL);
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, NULL);
	audit_handed_out(fixture->audit, &lease, &caller);
	audit_lease(fixture->audit, LEASE_ENDED, &lease, "expired");
	audit_lease(fixture->audit, LEASE_GONE, &lease, "expired");
	fixture->audit = audit_close(fixture->audit);
	assert_string_equal(verify(fixture, NULL), "");
	char *text = strdup(read_file(fixture->file));
	*ret_n = strlen(text);
	return text;
}

static void write_log(const struct fixture *fixture, const char *text, size_t n)
{
	FILE *file = fopen(fixture->file, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, n, file), n);
	fclose(file);
}

static int line_of(const char *text, size_t at)
{
	int line = 1;

	for (size_t i = 0; i < at; i++)
		line += text[i] == '\n';
	return line;
}

/* Where a change of these bytes is found: in their line, or in the next that its newline ended. */
static void expect_found(const struct fixture *fixture, int line, const char *what, size_t at)
{
	const char *found = verify(fixture, NULL);

	if (!*found)
		fail_msg("%s at byte %zu is not found", what, at);
	if (strtol(found, NULL, 10) != line)
		fail_msg("%s at byte %zu, in line %d, is found elsewhere: %s", what, at, line,
			 found);
}

static void changed_byte_anywhere_is_found(void **state)
{
	struct fixture *fixture = *state;
	size_t n;
	char *text = make_log(fixture, &n);

	/* All eight of each byte take their time: one is as good as another. */
	int step = getenv("DSEC_TESTS_LONG") ? 1 : 8;

	for (size_t at = 0; at < n; at++)
		for (int bit = (int)at % step; bit < 8; bit += step) {
			char was = text[at];

			text[at] = (char)(was ^ (1 << bit));
			write_log(fixture, text, n);
			text[at] = was;
			expect_found(fixture, line_of(text, at), "a changed bit", at);
		}
	free(text);
}

static void cut_anywhere_is_found(void **state)
{
	struct fixture *fixture = *state;
	size_t n;
	char *text = make_log(fixture, &n);

	for (size_t at = 1; at < n; at++) {
		write_log(fixture, text, at);
		/* After a whole line it is the head that tells, which has no line. */
		expect_found(fixture, text[at - 1] == '\n' ? 0 : line_of(text, at), "a cut", at);
	}
	free(text);
}

static void line_that_is_cut_out_or_put_in_or_moved_is_found(void **state)
{
	struct fixture *fixture = *state;
	char *starts[8], *other;
	size_t n, n_lines = 0;
	char *text = make_log(fixture, &n);

	other = malloc(2 * n);
	for (char *at = text; at < text + n; at = strchr(at, '\n') + 1)
		starts[n_lines++] = at;
	starts[n_lines] = text + n;
	for (size_t i = 0; i < n_lines; i++) {
		size_t before = (size_t)(starts[i] - text);
		size_t length = (size_t)(starts[i + 1] - starts[i]);
		size_t after = n - before - length;
		bool last = i == n_lines - 1;

		/* Cut out. */
		memcpy(other, text, before);
		memcpy(other + before, starts[i + 1], after);
		write_log(fixture, other, n - length);
		expect_found(fixture, last ? 0 : (int)i + 1, "a missing line", before);
		/* Put in once more. */
		memcpy(other, text, before + length);
		memcpy(other + before + length, starts[i], n - before);
		write_log(fixture, other, n + length);
		expect_found(fixture, (int)i + 2, "a line put in", before);
		/* Before its neighbour. */
		if (last)
			continue;
		size_t next = (size_t)(starts[i + 2] - starts[i + 1]);
		memcpy(other, text, n);
		memcpy(other + before, starts[i + 1], next);
		memcpy(other + before + next, starts[i], length);
		write_log(fixture, other, n);
		expect_found(fixture, (int)i + 1, "a line moved", before);
	}
	free(other);
	free(text);
}

/* What was written in between does not hide it. */
static void cut_before_a_restart_is_found(void **state)
{
	struct fixture *fixture = *state;
	size_t n;
	char *text = make_log(fixture, &n);
	char *third = strchr(strchr(text, '\n') + 1, '\n') + 1;

	write_log(fixture, text, (size_t)(third - text));
	open_again(fixture);
	assert_non_null(strstr(fixture->said, "ends at number 2, but number 5 was written"));
	audit_lease(fixture->audit, LEASE_ACTIVE, &lease, NULL);
	assert_non_null(strstr(verify(fixture, NULL), "3 the numbers 3 to 5 are missing"));
	free(text);
}

static void other_keys_log_is_not_taken_for_ours(void **state)
{
	struct fixture *fixture = *state;
	char key[128], text[65];
	size_t n;
	char *log = make_log(fixture, &n);

	snprintf(key, sizeof(key), "%s/" AUDIT_KEY_FILE, fixture->state);
	memset(text, '8', sizeof(text) - 1);
	text[64] = '\n';
	FILE *file = fopen(key, "we");
	fwrite(text, 1, sizeof(text), file);
	fclose(file);
	assert_non_null(strstr(verify(fixture, NULL), "1 this line was changed, or it is of "
						      "another key's log"));
	free(log);
}

static int make_arena(void **state)
{
	return secret_arena_init(1 << 16, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_event_is_one_line_of_the_agreed_form),
		TEST(chain_is_the_one_that_is_documented),
		TEST(caller_that_cannot_be_seen_has_no_pid),
		TEST(failure_is_told_with_awss_own_words),
		TEST(bearer_of_a_token_is_named_by_it),
		TEST(revocation_that_fails_is_told_with_its_user),
		TEST(caller_is_named_by_what_it_runs),
		TEST(thread_that_asks_is_named_too),
		TEST(caller_that_is_gone_is_told_by_number),
		TEST(container_is_named_by_its_outermost_cgroup),
		TEST(every_reader_of_a_lease_is_named_once_and_counted),
		TEST(flood_of_different_readers_loses_none),
		TEST(hostile_text_cannot_forge_a_line),
		TEST(log_is_private_and_appended_to),
		TEST(rotated_log_gets_no_more_lines),
		TEST(chain_goes_on_in_the_next_file),
		TEST(full_file_is_followed_by_another_and_the_oldest_go),
		TEST(head_is_told_at_its_interval_and_each_rotation),
		TEST(what_is_no_file_is_refused),
		TEST(lost_lines_are_counted_and_spoil_no_other),
		TEST(log_that_is_not_required_refuses_nothing),
		TEST(line_torn_by_a_crash_spoils_no_other),
		TEST(line_without_its_end_is_a_line),
		TEST(changed_byte_anywhere_is_found),
		TEST(cut_anywhere_is_found),
		TEST(line_that_is_cut_out_or_put_in_or_moved_is_found),
		TEST(cut_before_a_restart_is_found),
		TEST(other_keys_log_is_not_taken_for_ours),
	};
	return cmocka_run_group_tests_name("audit", tests, make_arena, NULL);
}
