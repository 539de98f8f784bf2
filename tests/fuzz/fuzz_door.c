/*
 * fuzz_door.c: any packets from a worker that has gone astray. Its keeper does what the
 * configuration names, and nothing else; it answers each question once, and goes on.
 *
 * The input is a list of packets: a byte that says how long the next is, in eights, the kind, the
 * number, then the text. A packet that begins with 0xff is sent as it stands, headless.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/door_packet.h"

#define PACKETS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], config[96];
static unsigned unmounted;

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static void write_file(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void remove_folder(void)
{
	static const char *const names[] = {"dsec.json", "key", "other", "log"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	snprintf(folder, sizeof(folder), "/tmp/dsec-fuzz-door");
	mkdir(folder, 0700);
	snprintf(config, sizeof(config), "%s/dsec.json", folder);
	write_file("dsec.json", "{\"secret_access_key_file\": \"key\", \"file\": \"log\",\n"
				"\"secrets\": {\"A\": \"other\", \"B\": \"true\"}, \"listen\": "
				"[\"unix:/tmp/dsec-fuzz-door/other\"]}");
	write_file("key", "configured");
	write_file("other", "not configured");
	atexit(remove_folder);
	return 0;
}

/* What the keeper has to do for it. */

static int on_mount(void *arg, int *ret_fuse_fd)
{
	*ret_fuse_fd = *(int *)arg;
	return 0;
}

static int on_unmount(void *arg)
{
	unmounted++;
	return 0;
}

static void on_nothing(void *arg)
{
}

static void on_text(void *arg, const char *text)
{
	check(strnlen(text, DOOR_TEXT_MAX) < DOOR_TEXT_MAX);
}

static char **on_split(void *arg, const char *command)
{
	abort(); /* there is no command in the configuration */
}

static void on_free_words(void *arg, char **words)
{
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
		check(message.kind == DOOR_ANSWER);
		++*n;
		if (descriptor >= 0)
			check_descriptor(descriptor);
	}
}

/* Takes a packet off the input; how many bytes of it were used. */
static size_t make_packet(const uint8_t *data, size_t size, char *to, size_t *ret_n)
{
	struct door_message message = {0};
	size_t n;

	if (data[0] == 0xff) {
		n = size - 1 < sizeof(message) ? size - 1 : sizeof(message);
		n = n > 64 ? 64 : n;
		memcpy(to, data + 1, n);
		*ret_n = n;
		return 1 + n;
	}
	if (size < 4)
		return size;
	message.kind = data[1] % 40;
	message.id = data[2];
	message.number = (int)data[3] - 128;
	n = (size_t)data[0] * 8;
	if (n > size - 4)
		n = size - 4;
	memcpy(message.text, data + 4, n);
	message.n = (uint32_t)n;
	memcpy(to, &message, sizeof(message));
	*ret_n = offsetof(struct door_message, text) + n;
	return 4 + n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char packet[sizeof(struct door_message)];
	int ends[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned sent = 0, answered = 0;
	const struct door_rights rights = {
		.config_file = config,
		.mount = on_mount,
		.unmount = on_unmount,
		.ready = on_nothing,
		.tell = on_text,
		.split = on_split,
		.free_words = on_free_words,
		.log = on_log,
		.arg = &null,
	};

	check(null >= 0 &&
	      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	struct door_keeper *keeper = door_keeper_new(ends[0], &rights);
	for (unsigned i = 0; i < PACKETS_MAX && size > 0; i++) {
		size_t n = 0, used = make_packet(data, size, packet, &n);

		data += used;
		size -= used;
		if (n > 0 && send(ends[1], packet, n, MSG_NOSIGNAL) == (ssize_t)n)
			sent++;
		check(door_keeper_dispatch(keeper));
		take_answers(ends[1], &answered);
		check(answered <= sent);
	}
	close(ends[1]);
	check(!door_keeper_dispatch(keeper));
	door_keeper_free(keeper);
	close(null);
	/* Nothing that is no socket is removed, whatever it is called. */
	check(access("/tmp/dsec-fuzz-door/other", F_OK) == 0);
	return 0;
}
