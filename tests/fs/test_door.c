/*
 * The keeper grants its worker what the configuration names, and nothing else; and no packet of a
 * worker that has gone astray does it harm.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/door_keeper.h"
#include "fs/door_packet.h"
#include "tests/lib/cmocka_skip.h"

struct room {
	char folder[64], config[96];
	int fd; /* the worker's end */
	struct door_keeper *keeper;
	unsigned mounts, unmounts, complaints;
	char told[256];
};

static int on_mount(void *arg, int *ret_fuse_fd)
{
	struct room *room = arg;

	room->mounts++;
	*ret_fuse_fd = room->fd;
	return 0;
}

static int on_unmount(void *arg)
{
	struct room *room = arg;

	room->unmounts++;
	return 0;
}

static void on_tell(void *arg, const char *text)
{
	struct room *room = arg;

	snprintf(room->told, sizeof(room->told), "%s", text);
}

static void on_ready(void *arg)
{
}

static char *one_word[2];

static char **on_split(void *arg, const char *command)
{
	one_word[0] = strdup(command);
	return one_word;
}

static void on_free_words(void *arg, char **words)
{
	free(words[0]);
}

static void on_log(void *arg, int priority, const char *message)
{
	struct room *room = arg;

	room->complaints++;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int begin(void **state)
{
	struct room *room = calloc(1, sizeof(*room));
	char path[128];
	int ends[2];

	snprintf(room->folder, sizeof(room->folder), "/tmp/dsec-door-XXXXXX");
	assert_non_null(mkdtemp(room->folder));
	snprintf(room->config, sizeof(room->config), "%s/dsec.json", room->folder);
	snprintf(path, sizeof(path), "%s/a\"b.key", room->folder);
	write_file(path, "key");
	snprintf(path, sizeof(path), "%s/other", room->folder);
	write_file(path, "other");
	write_file(room->config,
		   "{\"secret_access_key_file\" :\n\"a\\\"b.key\", \"ca_file\": \"/tmp\", "
		   "\"command\": \"true\", \"file\": \"log\", \"policy_file\":\"othe\", "
		   "\"config_file\": \"fifo\", "
		   "\"secrets\": {\"FILE\": \"other\", \"COMMAND\": \"id\"}, \"command\": \"x\"}");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	room->fd = ends[1];

	const struct door_rights rights = {
		.config_file = room->config,
		.mount = on_mount,
		.unmount = on_unmount,
		.ready = on_ready,
		.tell = on_tell,
		.split = on_split,
		.free_words = on_free_words,
		.log = on_log,
		.arg = room,
	};
	room->keeper = door_keeper_new(ends[0], &rights);
	*state = room;
	return 0;
}

static int end(void **state)
{
	struct room *room = *state;
	char command[128];

	door_keeper_free(room->keeper);
	close(room->fd);
	snprintf(command, sizeof(command), "rm -r %s", room->folder);
	int r = system(command); /* NOLINT(cert-env33-c) */
	free(room);
	return r;
}

/* Asks, has the keeper answer, and gives its result. */
static int ask(struct room *room, enum door_kind kind, int number, const char *text, int *ret_fd)
{
	struct door_message message = {.kind = kind, .id = 9, .number = number};

	if (text) {
		message.n = (uint32_t)strlen(text) + 1;
		memcpy(message.text, text, message.n);
	}
	assert_int_equal(door_send(room->fd, &message, -1), 0);
	assert_true(door_keeper_dispatch(room->keeper));
	assert_int_equal(door_receive(room->fd, &message, ret_fd), 0);
	assert_int_equal(message.kind, DOOR_ANSWER);
	assert_int_equal(message.id, 9);
	return message.number;
}

static int ask_for_file(struct room *room, const char *name, enum door_open how)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : room->folder,
		 name[0] == '/' ? "" : "/", name);
	int r = ask(room, DOOR_OPEN, (int)how, path, &fd);
	assert_int_equal(r == 0, fd >= 0);
	if (fd >= 0)
		close(fd);
	return r;
}

static void file_is_opened_only_where_the_configuration_names_it(void **state)
{
	struct room *room = *state;

	assert_int_equal(ask_for_file(room, "dsec.json", DOOR_OPEN_READ), 0);
	assert_int_equal(ask_for_file(room, "a\"b.key", DOOR_OPEN_READ), 0);
	assert_int_equal(ask_for_file(room, "log", DOOR_OPEN_APPEND), 0);
	assert_int_equal(room->complaints, 0);
	assert_int_equal(ask_for_file(room, "other", DOOR_OPEN_READ), -EPERM);
	assert_int_equal(ask_for_file(room, "othe", DOOR_OPEN_READ), -ENOENT);
	assert_int_equal(ask_for_file(room, "/etc/shadow", DOOR_OPEN_READ), -EPERM);
	assert_int_equal(ask_for_file(room, "../etc/shadow", DOOR_OPEN_READ), -EPERM);
	assert_int_equal(ask_for_file(room, "dsec.json", DOOR_OPEN_APPEND), -EPERM);
	assert_int_equal(ask_for_file(room, "a\"b.key", (enum door_open)7), -EPERM);
	assert_true(room->complaints >= 4);
}

static void configured_name_that_is_no_file_is_not_opened(void **state)
{
	struct room *room = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/fifo", room->folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(ask_for_file(room, "fifo", DOOR_OPEN_READ), -EINVAL);
	assert_int_equal(ask_for_file(room, "/tmp", DOOR_OPEN_READ), -EISDIR);
}

static void file_of_the_configuration_before_is_not_opened_any_more(void **state)
{
	struct room *room = *state;

	write_file(room->config, "{}");
	assert_int_equal(ask_for_file(room, "a\"b.key", DOOR_OPEN_READ), -EPERM);
}

static void command_is_run_only_where_the_configuration_has_it(void **state)
{
	struct room *room = *state;
	struct door_message message;
	int fd, status;

	assert_int_equal(ask(room, DOOR_RUN, 0, "id", &fd), -EPERM);
	int run = ask(room, DOOR_RUN, 0, "true", &fd);
	assert_true(run >= 0);
	assert_int_equal(read(fd, &message, 1), 0);
	close(fd);

	pid_t pid = wait(&status);
	door_keeper_reaped(room->keeper, pid, status);
	assert_int_equal(door_receive(room->fd, &message, &fd), 0);
	assert_int_equal(message.kind, DOOR_EXITED);
	assert_int_equal(message.number, run);
	assert_int_equal(message.value, 0);
	assert_int_equal(ask(room, DOOR_KILL, run, NULL, &fd), -ESRCH);
	assert_int_equal(ask(room, DOOR_KILL, -5, NULL, &fd), -ESRCH);
	assert_int_equal(ask(room, DOOR_KILL, 4711, NULL, &fd), -ESRCH);
}

static void who_a_process_is_comes_with_a_pidfd(void **state)
{
	struct room *room = *state;
	struct door_who who;
	struct stat st;
	int pidfd;

	need_pidfd_open();
	assert_int_equal(door_find_out(getpid(), &who, &pidfd), 0);
	close(pidfd);
	assert_int_equal(stat("/proc/self/ns/mnt", &st), 0);
	assert_int_equal(who.mount_namespace, st.st_ino);
	assert_int_equal(who.uid, geteuid());
	assert_true(who.start_time > 0);
	assert_non_null(strstr(who.executable, "test_door"));

	pid_t gone = fork();
	if (gone == 0)
		_exit(0);
	waitpid(gone, NULL, 0);
	assert_int_equal(ask(room, DOOR_WHO, gone, NULL, &pidfd), -ESRCH);
	assert_int_equal(ask(room, DOOR_WHO, 0, NULL, &pidfd), -ESRCH);
	assert_int_equal(ask(room, DOOR_WHO, -1, NULL, &pidfd), -ESRCH);
}

static void packet_that_is_no_message_harms_nobody(void **state)
{
	struct room *room = *state;
	static unsigned char bytes[sizeof(struct door_message) + 100];
	unsigned seed = 1;
	int fd;

	for (unsigned i = 0; i < 2000; i++) {
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(bytes);
		struct door_message message;

		for (size_t j = 0; j < n; j++)
			bytes[j] = (unsigned char)rand_r(&seed);
		/* Some have a head that is right. */
		if (i % 2 && n > offsetof(struct door_message, text)) {
			message.kind = 1 + (uint32_t)rand_r(&seed) % 40;
			message.n = (uint32_t)(n - offsetof(struct door_message, text));
			memcpy(bytes, &message.kind, sizeof(message.kind));
			memcpy(bytes + offsetof(struct door_message, n), &message.n,
			       sizeof(message.n));
		}
		assert_true(send(room->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
		assert_true(door_keeper_dispatch(room->keeper));
		while (door_receive(room->fd, &message, &fd) == 0) {
			assert_int_equal(message.kind, DOOR_ANSWER);
			if (fd >= 0)
				close(fd);
		}
	}
	assert_int_equal(ask_for_file(room, "a\"b.key", DOOR_OPEN_READ), 0);
}

static void descriptor_that_nobody_asked_for_is_closed(void **state)
{
	struct room *room = *state;
	struct door_message message = {.kind = DOOR_READY};
	int ends[2];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(door_send(room->fd, &message, ends[1]), 0);
	close(ends[1]);
	assert_true(door_keeper_dispatch(room->keeper));
	assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody has the other end */
	close(ends[0]);
}

static void worker_that_does_not_listen_does_not_hold_the_keeper_up(void **state)
{
	struct room *room = *state;

	for (unsigned i = 0; i < 10000; i++)
		door_keeper_order(room->keeper, DOOR_NOTICE, 0, 0, "a text that fills the socket");
	assert_true(door_keeper_dispatch(room->keeper));
}

static void a_signal_comes_with_who_sent_it(void **state)
{
	struct room *room = *state;
	struct door_sender sent, came;
	struct door_message order;
	int fd;

	need_pidfd_open();
	door_find_sender(getpid(), getuid(), &sent);
	assert_int_not_equal(sent.who.start_time, 0);
	assert_non_null(strstr(sent.who.executable, "test_door"));
	door_keeper_signal(room->keeper, SIGHUP, &sent);
	assert_int_equal(door_receive(room->fd, &order, &fd), 0);
	assert_int_equal(order.kind, DOOR_SIGNAL);
	assert_int_equal(order.number, SIGHUP);
	assert_true(door_sender(&order, &came));
	assert_memory_equal(&came, &sent, sizeof(came));

	/* Of one that is gone there is what the kernel has said. */
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	door_find_sender(child, 1234, &sent);
	assert_int_equal(sent.pid, child);
	assert_int_equal(sent.uid, 1234);
	assert_int_equal(sent.who.start_time, 0);

	/* And of a terminal's nothing; nor of what is none. */
	door_keeper_signal(room->keeper, SIGINT, NULL);
	assert_int_equal(door_receive(room->fd, &order, &fd), 0);
	assert_false(door_sender(&order, &came));
	order.kind = DOOR_NOTICE;
	order.n = sizeof(came);
	assert_false(door_sender(&order, &came));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(file_is_opened_only_where_the_configuration_names_it),
		TEST(configured_name_that_is_no_file_is_not_opened),
		TEST(file_of_the_configuration_before_is_not_opened_any_more),
		TEST(command_is_run_only_where_the_configuration_has_it),
		TEST(who_a_process_is_comes_with_a_pidfd),
		TEST(packet_that_is_no_message_harms_nobody),
		TEST(descriptor_that_nobody_asked_for_is_closed),
		TEST(worker_that_does_not_listen_does_not_hold_the_keeper_up),
		TEST(a_signal_comes_with_who_sent_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
