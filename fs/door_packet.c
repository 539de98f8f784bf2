#include "fs/door_packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_SIZE offsetof(struct door_message, text)

/* Room for one more than may come, so that more than that is seen. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE((DOOR_FDS_MAX + 1) * sizeof(int))];
};

int door_send(int fd, const struct door_message *message, int descriptor)
{
	union control control = {0};
	struct iovec iov = {
		.iov_base = (void *)message,
		.iov_len = HEAD_SIZE + message->n,
	};
	struct msghdr packet = {.msg_iov = &iov, .msg_iovlen = 1};

	if (descriptor >= 0) {
		packet.msg_control = &control;
		packet.msg_controllen = CMSG_SPACE(sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(descriptor));
	}
	ssize_t n;
	do
		n = sendmsg(fd, &packet, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* Keeps the first and closes the rest. */
static int take_descriptors(struct msghdr *packet)
{
	int kept = -1;

	for (struct cmsghdr *at = CMSG_FIRSTHDR(packet); at; at = CMSG_NXTHDR(packet, at)) {
		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(at) + i * sizeof(fd), sizeof(fd));
			if (kept < 0)
				kept = fd;
			else
				close(fd);
		}
	}
	return kept;
}

int door_receive(int fd, struct door_message *ret, int *ret_descriptor)
{
	union control control;
	struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
	struct msghdr packet = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	*ret_descriptor = -1;
	do
		n = recvmsg(fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -EPIPE;
	if (n == 0)
		return -EPIPE; /* no packet is empty */

	int descriptor = take_descriptors(&packet);
	if ((size_t)n < HEAD_SIZE || (size_t)n != HEAD_SIZE + ret->n ||
	    (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		if (descriptor >= 0)
			close(descriptor);
		return -EBADMSG;
	}
	*ret_descriptor = descriptor;
	return 0;
}

const char *door_text(const struct door_message *message)
{
	if (message->n == 0 ||
	    memchr(message->text, '\0', message->n) != message->text + message->n - 1)
		return NULL;
	return message->text;
}
