/*
 * Each layer holds by itself what it is for, and all together let through what dsec needs.
 *
 * None can be taken off, so each test puts them on in a child, whose exit status is the line of the
 * first check that failed there.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/sandbox_layers.h"
#include "lease/clock.h"
#include "lease/journal.h"
#include "lease/scratch.h"
#include "tests/lib/cmocka_skip.h"

static char folder[] = "/tmp/dsec-sandbox-XXXXXX";

/* In the child; exit statuses have eight bits. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,        \
				strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* What waitpid(2) says of a child that did this. */
static int status_of(void (*body)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void assert_fine(void (*body)(void))
{
	assert_int_equal(status_of(body), 0);
}

static void assert_killed(void (*body)(void))
{
	int status = status_of(body);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool status_has(const char *line)
{
	char text[8192];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, line) != NULL;
}

static char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* The user. */

static void become_user(void)
{
	struct sandbox sandbox;
	char line[64];

	CHECK(sandbox_init(&sandbox, NULL) == 0);
	CHECK(sandbox.uid != 0 && sandbox.gid != 0 && sandbox.uid != 65534);
	CHECK(sandbox_user(&sandbox, NULL) == 0);
	snprintf(line, sizeof(line), "Uid:\t%u\t%u\t%u\t%u\n", sandbox.uid, sandbox.uid,
		 sandbox.uid, sandbox.uid);
	CHECK(status_has(line));
	CHECK(status_has("Groups:\t \n"));
	CHECK(status_has("CapPrm:\t0000000000000000\n"));
	CHECK(status_has("CapBnd:\t0000000000000000\n"));
	CHECK(!opens("/etc/shadow", O_RDONLY));
	CHECK(setuid(0) < 0);
}

static void roots_worker_is_another_user_without_groups(void **state)
{
	if (geteuid() != 0)
		skip_because("only root has another user to become");
	assert_fine(become_user);
}

/* Landlock alone: whoever still is root would be refused nothing by others. */

static void landlock(struct sandbox *sandbox)
{
	int version;

	CHECK(sandbox_landlock(sandbox, &version, NULL) == 0);
	if (version == 0)
		_exit(77);
}

static void privileged_landlock(void)
{
	struct sandbox sandbox = {0};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	sandbox_allow(&sandbox, folder, SANDBOX_WRITE);
	sandbox_allow_system(&sandbox);
	sandbox_allow(&sandbox, "/no/such/file", SANDBOX_READ);
	landlock(&sandbox);
}

static void look_at_files(void)
{
	char from[256], to[256];

	snprintf(from, sizeof(from), "%s", in_folder("new"));
	snprintf(to, sizeof(to), "%s", in_folder("renamed"));
	privileged_landlock();
	CHECK(!opens("/etc/shadow", O_RDONLY) && errno == EACCES);
	CHECK(!opens("/etc/passwd", O_WRONLY) && errno == EACCES);
	CHECK(!opens("/etc", O_RDONLY | O_DIRECTORY) && errno == EACCES);
	CHECK(opens("/proc/1/cgroup", O_RDONLY)); /* everybody may see who is there */
	CHECK(!opens("/tmp/dsec-sandbox-elsewhere", O_WRONLY | O_CREAT) && errno == EACCES);
	CHECK(mkdir(in_folder("folder"), 0700) < 0 && errno == EACCES);
	CHECK(symlink("/etc/shadow", in_folder("link")) < 0 && errno == EACCES);
	CHECK(opens("/etc/passwd", O_RDONLY));
	CHECK(opens("/dev/null", O_RDWR));
	CHECK(opens(from, O_WRONLY | O_CREAT));
	CHECK(rename(from, to) == 0);
	CHECK(unlink(to) == 0);
}

/* Another process that nothing else keeps from this one: the same user, and no capabilities in
 * either. With some, the kernel has rules of its own (CAP_PERFMON lets newer ones read all memory).
 */
static void look_into_another(void)
{
	char environment[64], byte;
	bool dropped;
	int ends[2]; /* the other's life: Landlock keeps signals, too */

	CHECK(sandbox_drop_capabilities(&dropped, NULL) == 0 && dropped);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	pid_t other = fork();
	CHECK(other >= 0);
	if (other == 0) {
		close(ends[1]);
		_exit((int)read(ends[0], &byte, 1));
	}
	snprintf(environment, sizeof(environment), "/proc/%d/environ", (int)other);
	CHECK(opens(environment, O_RDONLY));
	privileged_landlock();
	CHECK(!opens(environment, O_RDONLY) && errno == EACCES);
}

/* Of libraries what is loaded late is to be had, of their neighbours nothing. */
static void load_a_library(void)
{
	struct sandbox sandbox = {0};
	bool all = false;

	sandbox_allow_system(&sandbox);
	for (size_t i = 0; i < sandbox.n_paths; i++)
		all = all || strcmp(sandbox.paths[i].path, "/usr/lib") == 0;
	privileged_landlock();
	CHECK(all || (!opens("/usr/lib", O_RDONLY | O_DIRECTORY) && errno == EACCES));
	CHECK(!opens("/usr/share/doc", O_RDONLY | O_DIRECTORY));
	CHECK(dlopen("libnss_compat.so.2", RTLD_NOW));
}

static void run_a_program(void)
{
	char program[] = "/bin/true", *const argv[] = {program, NULL};

	privileged_landlock();
	CHECK(execv(program, argv) < 0 && errno == EACCES);
	/* Nor by way of the loader. */
	CHECK(syscall(SYS_execveat, open("/usr/bin/env", O_PATH | O_CLOEXEC), "", argv, argv,
		      AT_EMPTY_PATH) < 0);
}

static void assert_landlocked(void (*body)(void))
{
	int status = status_of(body);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip_because("there is no Landlock here");
	assert_int_equal(status, 0);
}

static void landlock_keeps_files_from_root_too(void **state)
{
	assert_landlocked(look_at_files);
}

static void landlock_keeps_what_others_have_in_memory(void **state)
{
	assert_landlocked(look_into_another);
}

static void landlock_gives_the_folders_of_libraries_alone(void **state)
{
	assert_landlocked(load_a_library);
}

static void landlock_lets_nothing_be_run(void **state)
{
	assert_landlocked(run_a_program);
}

/* seccomp alone. */

static void filter(void)
{
	bool on;

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(sandbox_seccomp(&on, NULL) == 0);
	if (!on)
		_exit(77);
}

static void filtered_exec(void)
{
	char program[] = "/bin/true", *const argv[] = {program, NULL};

	filter();
	execv(program, argv);
}

static void filtered_mount(void)
{
	filter();
	mount("none", "/tmp", "tmpfs", 0, NULL);
}

static void filtered_setuid(void)
{
	filter();
	syscall(SYS_setresuid, 0, 0, 0);
}

static void filtered_bpf(void)
{
	filter();
	syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0);
}

static void filtered_user_namespace(void)
{
	filter();
	unshare(CLONE_NEWUSER);
}

static void filtered_clone_namespace(void)
{
	filter();
	syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL);
}

static void filtered_signal(void)
{
	filter();
	syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static void filtered_reading_of_another(void)
{
	filter();
	syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0);
}

static void filtered_raw_packets(void)
{
	filter();
	socket(AF_INET, SOCK_RAW, IPPROTO_RAW); /* the kernel refuses it, by capability */
	CHECK(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
	socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static void filtered_other_abi(void)
{
	filter();
#ifdef __x86_64__
	__asm__ volatile("int $0x80" : : "a"(20) : "memory"); /* getpid of the 32-bit calls */
#else
	syscall(SYS_unshare, CLONE_NEWUSER);
#endif
}

static void forbidden_call_kills(void **state)
{
	if (WEXITSTATUS(status_of(filter)) == 77)
		skip_because("there is no seccomp here");
	assert_killed(filtered_exec);
	assert_killed(filtered_mount);
	assert_killed(filtered_setuid);
	assert_killed(filtered_bpf);
	assert_killed(filtered_user_namespace);
	assert_killed(filtered_clone_namespace);
	assert_killed(filtered_signal);
	assert_killed(filtered_reading_of_another);
	assert_killed(filtered_raw_packets);
	assert_killed(filtered_other_abi);
}

/* All of them. */

static void close_all(struct sandbox *sandbox)
{
	struct dsec_error err;

	CHECK(sandbox_init(sandbox, &err) == 0);
	if (geteuid() == 0)
		CHECK(chown(folder, sandbox->uid, sandbox->gid) == 0);
	sandbox_allow(sandbox, folder, SANDBOX_WRITE);
	sandbox_allow_system(sandbox);
	CHECK(sandbox_user(sandbox, &err) == 0);
	CHECK(sandbox_close(sandbox, &err) == 0);
}

static void *thread(void *arg)
{
	CHECK(!opens("/etc/shadow", O_RDONLY));
	*(bool *)arg = true;
	return NULL;
}

static void use_threads_and_memory(void)
{
	struct sandbox sandbox;
	pthread_t id;
	bool ran = false;
	size_t size = 1024ul * 1024;

	close_all(&sandbox);
	CHECK(pthread_create(&id, NULL, thread, &ran) == 0);
	pthread_setname_np(id, "a name");
	CHECK(pthread_join(id, NULL) == 0 && ran);

	void *text = scratch_new(&size);
	CHECK(text);
	scratch_free(text, size);
	char *large = malloc(64ul * 1024 * 1024);
	CHECK(large);
	free(large);

	pid_t child = fork(); /* the probe is one */
	if (child == 0)
		_exit(7);
	int status;
	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
}

static void use_names(void)
{
	struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
	struct sandbox sandbox;

	close_all(&sandbox);
	CHECK(getpwnam("daemon") && getgrnam("daemon") && !getpwnam("no-such-user"));
	CHECK(getaddrinfo("localhost", "443", &hints, &found) == 0);
	freeaddrinfo(found);
	/* Without a network that is an error, but no death. */
	if (getaddrinfo("dsec.invalid", "443", &hints, &found) == 0)
		freeaddrinfo(found);
}

static void use_a_loop(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	struct epoll_event event = {.events = EPOLLIN};
	struct sandbox sandbox;

	close_all(&sandbox);
	int epoll = epoll_create1(EPOLL_CLOEXEC), event_fd = eventfd(0, EFD_CLOEXEC);
	int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	CHECK(epoll >= 0 && event_fd >= 0 && timer >= 0);
	CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) == 0);
	CHECK(epoll_wait(epoll, &event, 1, 5000) == 1);

	/* What signing is done through. */
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(address);
	CHECK(bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	CHECK(listen(listening, 1) == 0);
	CHECK(getsockname(listening, (struct sockaddr *)&address, &n) == 0);
	int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(connected, (struct sockaddr *)&address, n) == 0);
	CHECK(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
}

static void ignore_record(void *arg, const struct journal_record *record)
{
}

static void use_a_journal(void)
{
	struct sandbox sandbox;
	struct journal_sqlite *journal;
	enum journal_opened opened;
	struct dsec_error err;

	close_all(&sandbox);
	for (int i = 0; i < 2; i++) {
		CHECK(journal_sqlite_open(&journal, folder, ignore_record, NULL, &opened, &err) ==
		      0);
		CHECK(opened == (i == 0 ? JOURNAL_NEW : JOURNAL_FOUND));
		journal_sqlite_close(journal);
	}
}

static void what_dsec_needs_works_under_all_layers(void **state)
{
	assert_fine(use_threads_and_memory);
	assert_fine(use_names);
	assert_fine(use_a_loop);
	assert_fine(use_a_journal);
}

static void look_at_status(void)
{
	struct sandbox sandbox = {0};
	char text[SANDBOX_TEXT_MAX];

	CHECK(sandbox_init(&sandbox, NULL) == 0);
	sandbox_allow(&sandbox, "/proc", SANDBOX_READ);
	CHECK(sandbox_close(&sandbox, NULL) == 0);
	CHECK(status_has("CapEff:\t0000000000000000\n"));
	CHECK(status_has("CapPrm:\t0000000000000000\n"));
	CHECK(status_has("NoNewPrivs:\t1\n"));
	CHECK(status_has("Seccomp:\t2\n") == sandbox.on[SANDBOX_SECCOMP]);
	sandbox_text(text, &sandbox);
	CHECK(strstr(text, "no capabilities, no new privileges, undumpable"));
}

static void layers_show_in_the_processs_status(void **state)
{
	/* /proc/self belongs to root once it is undumpable, and may be read all the same. */
	assert_fine(look_at_status);
}

static void replaced_file_is_noticed(void **state)
{
	struct sandbox sandbox = {.on[SANDBOX_LANDLOCK] = true};
	char file[256], next[256], later[256];

	snprintf(file, sizeof(file), "%s", in_folder("resolv.conf"));
	snprintf(next, sizeof(next), "%s", in_folder("resolv.conf.new"));
	snprintf(later, sizeof(later), "%s", in_folder("later"));
	assert_true(opens(file, O_WRONLY | O_CREAT));
	sandbox_allow(&sandbox, file, SANDBOX_READ);
	sandbox_allow(&sandbox, later, SANDBOX_READ);
	assert_false(sandbox_outdated(&sandbox));
	assert_true(opens(next, O_WRONLY | O_CREAT));
	assert_int_equal(rename(next, file), 0);
	assert_true(sandbox_outdated(&sandbox));

	sandbox = (struct sandbox){.on[SANDBOX_LANDLOCK] = true};
	sandbox_allow(&sandbox, later, SANDBOX_READ);
	assert_false(sandbox_outdated(&sandbox));
	assert_true(opens(later, O_WRONLY | O_CREAT));
	assert_true(sandbox_outdated(&sandbox));
	unlink(file);
	unlink(later);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(names[i]));
	rmdir(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roots_worker_is_another_user_without_groups),
		cmocka_unit_test(landlock_keeps_files_from_root_too),
		cmocka_unit_test(landlock_keeps_what_others_have_in_memory),
		cmocka_unit_test(landlock_gives_the_folders_of_libraries_alone),
		cmocka_unit_test(landlock_lets_nothing_be_run),
		cmocka_unit_test(forbidden_call_kills),
		cmocka_unit_test(what_dsec_needs_works_under_all_layers),
		cmocka_unit_test(layers_show_in_the_processs_status),
		cmocka_unit_test(replaced_file_is_noticed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
