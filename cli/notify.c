#include "cli/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address;
static socklen_t address_size; /* 0: there is nobody to tell */
static notify_sender *through; /* NULL: to the address */
static void *through_arg;

void notify_init(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t n = name ? strlen(name) : 0;

	if (n >= 2 && n < sizeof(address.sun_path) && (name[0] == '/' || name[0] == '@')) {
		address.sun_family = AF_UNIX;
		memcpy(address.sun_path, name, n);
		address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
		if (name[0] == '@')
			address.sun_path[0] = '\0'; /* the abstract namespace: counted, no end */
		else
			address_size++;
	}
	unsetenv("NOTIFY_SOCKET");
}

void notify_restore(void)
{
	char name[sizeof(address.sun_path) + 1] = "";

	if (address_size == 0)
		return;
	memcpy(name, address.sun_path, address_size - offsetof(struct sockaddr_un, sun_path));
	if (name[0] == '\0')
		name[0] = '@';
	setenv("NOTIFY_SOCKET", name, 1);
}

void notify_through(notify_sender *sender, void *arg)
{
	through = sender;
	through_arg = arg;
}

static void send_to_address(const char *text, size_t n)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	/* A failure has nobody to be told to; the manager's own timeout speaks then. */
	(void)!sendto(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
		      address_size);
	close(fd);
}

void notify_send(const char *format, ...)
{
	char text[1024];
	va_list args;

	if (address_size == 0 && !through)
		return;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n <= 0 || (size_t)n >= sizeof(text))
		return;
	if (through)
		through(through_arg, text);
	else
		send_to_address(text, (size_t)n);
}
