/*
 * door.c: clients from accept(2) on.
 *
 * libmicrohttpd gets a connection when its first bytes are there. One that says nothing costs a
 * descriptor here and nothing there, and when there are too many of them the one that has been
 * silent for longest goes: a thousand of them keep nobody out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/alloc.h"

#define ACCEPTS_MAX 64 /* at a time, so that a flood of them does not hold up the rest */

static void forget(struct client *client)
{
	timer_disarm(&client->api->timers, &client->deadline);
	list_remove(&client->link);
	if (client->call)
		client->call->client = NULL;
	free(client->unframed);
	credential_free(client->credential);
	who_unref(client->peer.caller.who);
	free(client);
}

struct client *client_close(struct client *client)
{
	close(client->fd);
	forget(client);
	return NULL;
}

/* Who has to go, or wait. */

static struct client *find(const struct api *api, bool silent, const char *id, size_t *ret_n)
{
	struct client *first = NULL;

	*ret_n = 0;
	list_each (at, &api->clients) {
		struct client *client = container_of(at, struct client, link);

		if (client->credential || (client->state == CLIENT_SILENT) != silent ||
		    (id && strcmp(client->peer.id, id) != 0))
			continue;
		if (!first)
			first = client;
		++*ret_n;
	}
	return first;
}

/* The list is in the order of their coming. */
static void make_room(struct api *api, const char *id)
{
	size_t n;
	struct client *oldest = find(api, true, id, &n);

	if (n >= API_SILENT_PEER_MAX) {
		client_close(oldest);
		return;
	}
	oldest = find(api, true, NULL, &n);
	if (n >= API_SILENT_MAX)
		client_close(oldest);
}

static bool full(const struct api *api, const char *id)
{
	size_t n, n_peer;

	find(api, false, id, &n_peer);
	find(api, false, NULL, &n);
	return n_peer >= API_CONNECTIONS_PEER_MAX || n >= API_CONNECTIONS_MAX;
}

static void refuse(struct client *client)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
				   "Content-Type: application/json\r\n"
				   "Connection: close\r\nRetry-After: 1\r\n\r\n"
				   "{\"messages\":[\"too many requests are under way: ask again\"],"
				   "\"success\":false}";
	char asked[4096];

	/* What is left unread when it is closed would take the answer with it. */
	while (recv(client->fd, asked, sizeof(asked), MSG_DONTWAIT) > 0)
		continue;
	if (client->listener->tls)
		return;
	(void)!send(client->fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Handing over. */

static void too_slow(struct timer *timer);

static void set_deadline(struct client *client, int64_t ms)
{
	timer_arm(&client->api->timers, &client->deadline, api_now(client->api) + ms);
}

static void hand_over(struct client *client)
{
	struct api *api = client->api;
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);

	if (full(api, client->peer.id)) {
		refuse(client);
		client_close(client);
		return;
	}
	epoll_ctl(api->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	client->state = CLIENT_ASKING;
	set_deadline(client, API_ASKING_MS);
	getpeername(client->fd, (struct sockaddr *)&address, &size);
	api->arriving = client;
	enum MHD_Result taken = MHD_add_connection(client->listener->daemon, client->fd,
						   (struct sockaddr *)&address, size);
	/* It closes what it does not take. */
	if (taken != MHD_YES && api->arriving)
		forget(client);
	api->arriving = NULL;
}

void door_notify(void *arg, struct MHD_Connection *connection, void **socket_context,
		 enum MHD_ConnectionNotificationCode code)
{
	struct listener *listener = arg;
	struct client *client = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = client = listener->api->arriving;
		listener->api->arriving = NULL;
		client->claimed = true;
	} else if (client) {
		*socket_context = NULL;
		forget(client);
	}
}

static void hear(struct client *client, bool last)
{
	enum unframed unframed = unframed_look(client, last);

	if (unframed == UNFRAMED_NO)
		hand_over(client);
	else if (unframed == UNFRAMED_BODY)
		set_deadline(client, API_UNFRAMED_MS);
}

/* A silent client has said something, or is gone. */
static void spoken(struct source *source, uint32_t events)
{
	struct client *client = container_of(source, struct client, source);
	char first;
	ssize_t n = recv(client->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0)
		hear(client, events & EPOLLRDHUP);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		client_close(client);
}

static bool has_spoken(const struct client *client)
{
	char first;

	return recv(client->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void too_slow(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, deadline);

	/* libmicrohttpd sees the end of what it reads, or that it cannot write, and closes. */
	if (client->claimed)
		shutdown(client->fd, SHUT_RDWR);
	else if (has_spoken(client))
		hear(client, true);
	else
		client_close(client);
}

/* Coming. */

/* It waits for an answer, or has gone away just now: its number is not another's yet. */
static void name_local(struct peer *peer, int fd, const struct clock *clock)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	peer->local = true;
	peer->caller = (struct lease_caller){.uid = (uid_t)-1, .gid = (gid_t)-1};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
		peer->caller = (struct lease_caller){.uid = credentials.uid,
						     .gid = credentials.gid,
						     .pid = credentials.pid,
						     .who = who_look(credentials.pid, clock)};
	snprintf(peer->id, sizeof(peer->id), "uid:%u", (unsigned)peer->caller.uid);
}

static void name_remote(struct peer *peer, const struct sockaddr_storage *address)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text,
			  sizeof(text));
	else if (address->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text,
			  sizeof(text));
	peer->caller = (struct lease_caller){.uid = (uid_t)-1, .gid = (gid_t)-1};
	snprintf(peer->id, sizeof(peer->id), "ip:%s", text);
}

static void arrive(struct listener *listener, int fd, const struct sockaddr_storage *address,
		   socklen_t size)
{
	struct api *api = listener->api;
	struct client *client = alloc_zeroed(1, sizeof(*client));

	client->api = api;
	client->listener = listener;
	client->fd = fd;
	client->source.ready = spoken;
	client->deadline.fire = too_slow;
	if (listener->local)
		name_local(&client->peer, fd, api->clock);
	else
		name_remote(&client->peer, address);
	make_room(api, client->peer.id);
	list_init(&client->link);
	list_append(&api->clients, &client->link);
	if (listener->local && credential_begin(client, address, size))
		return;
	set_deadline(client, API_SILENT_MS);
	if (source_add(api, &client->source, fd, EPOLLIN | EPOLLRDHUP | EPOLLET) < 0)
		client_close(client);
	/* The first event tells of what is there already. */
}

void door_arrival(struct source *source, uint32_t events)
{
	struct listener *listener = container_of(source, struct listener, arrivals);

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage address = {0};
		socklen_t size = sizeof(address);
		int fd = accept4(listener->fd, (struct sockaddr *)&address, &size,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		arrive(listener, fd, &address, size);
	}
}

/* While it waits. */

void client_has_asked(struct client *client)
{
	client->state = CLIENT_WAITING;
	set_deadline(client, API_ANSWERING_MS);
}

void client_may_stay(struct client *client)
{
	timer_disarm(&client->api->timers, &client->deadline);
}

static void left(struct source *source, uint32_t events)
{
	struct client *client = container_of(source, struct client, source);

	if (client->call)
		exchange_gone(client->call);
}

void client_watch(struct client *client)
{
	client->source.ready = left;
	source_add(client->api, &client->source, client->fd, EPOLLRDHUP | EPOLLET);
}

void client_unwatch(struct client *client)
{
	if (client && client->source.ready == left)
		epoll_ctl(client->api->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
}

bool client_is_gone(const struct client *client)
{
	struct pollfd fd = {.fd = client->fd, .events = POLLRDHUP};

	return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}
