/*
 * fuzz_door.c: any packets from a worker that has gone astray. Its keeper does what the
 * configuration names, and nothing else; it answers each question once, and goes on.
 *
 * The input's first byte chooses the configuration. Then comes a list of packets: a byte that says
 * how long the text is, the kind, the number, the value, then the text. 0xff, a length and so many
 * bytes are sent as they stand, headless; 0xfe and a number: so many descriptors come with the next
 * one; 0xfd: what was run is reaped. A '@' in a text stands for the folder of the files below.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/door_keeper.h"
#include "fs/door_packet.h"

#define PACKETS_MAX 64
#define FDS_MAX     3
#define END_MS      5000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const char *name, *text;
} files[] = {
	{"dsec.json",
	 "{\"secret_access_key_file\": \"key\", \"file\" : \"log\",\n\"ca_file\":\"@/absent\", "
	 "\"secrets\": {\"A\": \"other\", \"B\": \"false\"}, \"policy_file\": \".\",\n"
	 "\"listen\": [\"unix:@/socket\", \"unix:@/other\", \"unix:@/absent\"], "
	 "\"command\": \"true\"}"},
	{"profile.json",
	 "{\"source\": \"profile\", \"shared_credentials_file\": \"shared\", "
	 "\"config_file\": \"@/config\", \"command\": \"nothing\", "
	 "\"on_rotate\": {\"command\": \"@/absent\"}, \"on_rotate\": {\"signal\": \"HUP\"}, "
	 "\"file\": \"\\\"a\\nb\\u0001\"}"},
	{"cut.json", "\"profile\" \"config_file\": \"shared"},
	{"odd.json", "\"@/key\" \"@/key\" ca_file\": \"@/key\", \"profile\", \"config_file\""},
	{"colon.json", " : \"@/key\""},
	{"shared", "[default]\ncredential_process = true\t \nx =\nfalse\n"},
	{"config", "[default]\ncredential_process=true a\nb true c\nx\t=\ttrue d"},
	{"credentials", "true\ncredential_process =true b"},
	{"key", "configured"},
	{"other", "not configured"},
};
#define N_FILES (sizeof(files) / sizeof(files[0]))

/* The last is not there. */
static const char *const configs[] = {"dsec.json", "profile.json", "cut.json",
				      "odd.json",  "colon.json",   "none.json"};

static char folder[64];
static pid_t sleeper; /* who may be sent a signal */
static char sleeper_start[32];

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static void expand(char *to, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++)
		n += (size_t)snprintf(to + n, size - n, *text == '@' ? "%s" : "%.1s",
				      *text == '@' ? folder : text);
	check(n < size);
	to[n] = '\0';
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	char whole[2048];
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	expand(whole, sizeof(whole), text);
	check(fd >= 0 && write(fd, whole, strlen(whole)) == (ssize_t)strlen(whole));
	close(fd);
}

static void end_all(void)
{
	kill(sleeper, SIGKILL);
	waitpid(sleeper, NULL, 0);
	for (size_t i = 0; i < N_FILES; i++)
		unlink(path_of(files[i].name));
	unlink(path_of("log"));
	unlink(path_of("socket"));
	rmdir(folder);
}

/* A process that no signal but the last harms. */
static void start_sleeper(void)
{
	struct door_who who;
	int pidfd;

	sleeper = fork();
	check(sleeper >= 0);
	if (sleeper == 0) {
		signal(SIGHUP, SIG_IGN);
		signal(SIGUSR1, SIG_IGN);
		signal(SIGUSR2, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	check(door_find_out(sleeper, &who, &pidfd) == 0);
	close(pidfd);
	snprintf(sleeper_start, sizeof(sleeper_start), "%llu", (unsigned long long)who.start_time);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	snprintf(folder, sizeof(folder), "/tmp/dsec-fuzz-door-XXXXXX");
	check(mkdtemp(folder) != NULL);
	for (size_t i = 0; i < N_FILES; i++)
		write_file(files[i].name, files[i].text);
	setenv("HOME", folder, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path_of("credentials"), 1);
	unsetenv("AWS_CONFIG_FILE");
	start_sleeper();
	atexit(end_all);
	return 0;
}

static void make_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of("socket"));
	unlink(address.sun_path);
	check(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	close(fd);
}

/* What the keeper has to do for it. */

static int on_mount(void *arg, int *ret_fuse_fd)
{
	*ret_fuse_fd = *(int *)arg;
	return 0;
}

static int on_unmount(void *arg)
{
	return 0;
}

static void on_nothing(void *arg)
{
}

static void on_text(void *arg, const char *text)
{
	check(strnlen(text, DOOR_TEXT_MAX) < DOOR_TEXT_MAX);
}

/* What stands there as a command, in the configuration or in the files that it names. */
static char **on_split(void *arg, const char *command)
{
	static char *words[2];

	check(strncmp(command, "true", 4) == 0 || strcmp(command, "nothing") == 0 ||
	      strcmp(command, path_of("absent")) == 0);
	words[0] = strdup(strncmp(command, "true", 4) == 0 ? "true" : command);
	check(words[0]);
	if (strcmp(command, "nothing") != 0)
		return words;
	free(words[0]);
	return NULL;
}

static void on_free_words(void *arg, char **words)
{
	free(words[0]);
}

static void reap(struct door_keeper *keeper)
{
	siginfo_t info = {0};

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
		check(info.si_pid != sleeper);
		door_keeper_reaped(keeper, info.si_pid, 0);
		info.si_pid = 0;
	}
}

static void on_log(void *arg, int priority, const char *message)
{
	check(*message);
}

/* The other side: what it is given is what it may have. */

static void check_descriptor(int fd)
{
	char text[32] = "";
	struct stat st;

	check(fstat(fd, &st) == 0);
	if (S_ISREG(st.st_mode)) {
		check(pread(fd, text, sizeof(text) - 1, 0) >= 0);
		check(strcmp(text, "not configured") != 0);
	}
	close(fd);
}

static void take_answers(int fd, unsigned *n)
{
	struct door_message message;
	int descriptor;

	while (door_receive(fd, &message, &descriptor) == 0) {
		check(message.kind == DOOR_ANSWER || message.kind == DOOR_EXITED);
		*n += message.kind == DOOR_ANSWER;
		if (descriptor >= 0)
			check_descriptor(descriptor);
	}
}

/* Whom a worker may name: no process of somebody else's is sent a signal, however unlikely. */
static void make_nudge(struct door_message *message)
{
	static const char mark[] = "start";

	if (message->number > 0)
		message->number = message->number == INT8_MAX ? INT32_MAX : (int)sleeper;
	if (message->n == sizeof(mark) && memcmp(message->text, mark, sizeof(mark)) == 0) {
		snprintf(message->text, sizeof(message->text), "%s", sleeper_start);
		message->n = (uint32_t)strlen(sleeper_start) + 1;
	}
}

/* Takes a packet off the input; how many bytes of it were used. */
static size_t make_packet(const uint8_t *data, size_t size, char *to, size_t *ret_n)
{
	struct door_message message = {0};
	size_t n;

	if (size < 2)
		return size;
	if (data[0] == 0xff) {
		n = data[1] < size - 2 ? data[1] : size - 2;
		memcpy(to, data + 2, n);
		memcpy(&message, to, n < sizeof(message.kind) ? n : sizeof(message.kind));
		*ret_n = message.kind == DOOR_NUDGE ? 0 : n;
		return 2 + n;
	}
	if (size < 4)
		return size;
	message.kind = data[1] % 40;
	message.id = data[2];
	message.number = (int)data[2] - 128;
	message.value = data[3];
	n = data[0] < size - 4 ? data[0] : size - 4;
	memcpy(message.text, data + 4, n);
	message.n = (uint32_t)n;
	if (n > 0 && memchr(message.text, '@', n) && memchr(message.text, '\0', n)) {
		char text[sizeof(message.text)];
		memcpy(text, message.text, sizeof(text));
		expand(message.text, sizeof(message.text), text);
		message.n = (uint32_t)strlen(message.text) + 1;
	}
	if (message.kind == DOOR_NUDGE)
		make_nudge(&message);
	if (message.kind == DOOR_OPEN)
		message.number = data[3] % 3;
	memcpy(to, &message, sizeof(message));
	*ret_n = offsetof(struct door_message, text) + message.n;
	return 4 + n;
}

static bool send_packet(int fd, char *packet, size_t n, size_t n_fds, int descriptor)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = packet, .iov_len = n};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &descriptor,
			       sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)n;
}

/* The other side's turn: it answers what it was asked, at most once each. */
static void converse(struct door_keeper *keeper, int fd, const uint8_t *data, size_t size)
{
	static char packet[sizeof(struct door_message)];
	unsigned sent = 0, answered = 0;
	size_t n_fds = 0;

	for (unsigned i = 0; i < PACKETS_MAX && size > 0; i++) {
		size_t n = 0, used;

		if (data[0] == 0xfd) {
			reap(keeper);
			used = 1;
		} else if (data[0] == 0xfe && size > 1) {
			n_fds = data[1] % (FDS_MAX + 1);
			used = 2;
		} else {
			used = make_packet(data, size, packet, &n);
			sent += n > 0 && send_packet(fd, packet, n, n_fds, fd);
			n_fds = 0;
		}
		data += used;
		size -= used;
		check(door_keeper_dispatch(keeper));
		take_answers(fd, &answered);
		check(answered <= sent);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char config[128], default_socket[128];
	int ends[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct door_rights rights = {
		.config_file = config,
		.default_socket = size > 1 && data[1] % 2 ? default_socket : NULL,
		.mount = on_mount,
		.unmount = on_unmount,
		.ready = on_nothing,
		.tell = on_text,
		.split = on_split,
		.free_words = on_free_words,
		.log = on_log,
		.arg = &null,
	};

	snprintf(config, sizeof(config), "%s",
		 path_of(configs[(size > 0 ? data[0] : 0) %
				 (sizeof(configs) / sizeof(configs[0]))]));
	snprintf(default_socket, sizeof(default_socket), "%s", path_of("default"));
	check(null >= 0 &&
	      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	make_socket();
	struct door_keeper *keeper = door_keeper_new(ends[0], &rights);
	if (size > 0)
		converse(keeper, ends[1], data + 1, size - 1);
	close(ends[1]);
	/* What was run closes its copy a moment after it was started. */
	check(poll(&(struct pollfd){.fd = ends[0]}, 1, END_MS) == 1);
	check(!door_keeper_dispatch(keeper));
	check(door_keeper_fd(keeper) < 0);
	door_keeper_free(keeper);
	close(null);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	/* Nothing that is no socket is removed, whatever it is called. */
	check(access(path_of("other"), F_OK) == 0);
	return 0;
}
