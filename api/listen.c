#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/alloc.h"

static bool answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A full backlog (EAGAIN) also means that somebody is there. */
	bool alive =
		fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			    errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return alive;
}

/* A socket file that a dead daemon left behind is taken over. */
static int clear_path(const struct sockaddr_un *address, const char *path, struct dsec_error *err)
{
	struct stat found;

	if (answers(address))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: another daemon listens there",
				      path);
	if (lstat(path, &found) < 0)
		return 0;
	if (!S_ISSOCK(found.st_mode))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: this is no socket", path);
	unlink(path);
	return 0;
}

/* Gives a listening socket that everybody can reach: who may what is decided request by request, by
 * what the kernel says of who is at its other end. */
static int listen_at(const char *path, int *ret, struct dsec_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s: a socket's path has at most %zu characters", path,
				      sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	int r = clear_path(&address, path, err);
	if (r < 0)
		return r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "socket: %s", strerror(errno));
	mode_t mask = umask(0111);
	int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (bound < 0 || listen(fd, SOMAXCONN) < 0) {
		int number = errno;
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: cannot listen there: %s", path,
				      strerror(number));
	}
	*ret = fd;
	return 0;
}

static int start_http(struct listener *listener, struct dsec_error *err)
{
	listener->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		exchange_handle, listener, MHD_OPTION_CONNECTION_LIMIT, API_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, API_CONNECTION_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)API_CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, listener,
		MHD_OPTION_NOTIFY_CONNECTION, door_notify, listener, MHD_OPTION_END);
	if (!listener->daemon)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libmicrohttpd did not start");
	return 0;
}

static void ready_http(struct source *source, uint32_t events)
{
	MHD_run(container_of(source, struct listener, http)->daemon);
}

static int watch(struct listener *listener, struct dsec_error *err)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	listener->arrivals.ready = door_arrival;
	listener->http.ready = ready_http;
	if (!info || source_add(listener->api, &listener->http, info->epoll_fd, EPOLLIN) < 0 ||
	    source_add(listener->api, &listener->arrivals, listener->fd, EPOLLIN) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "epoll: %s", strerror(errno));
	return 0;
}

static struct listener *listener_new(struct api *api, int fd)
{
	struct listener *listener = alloc_zeroed(1, sizeof(*listener));

	listener->api = api;
	listener->fd = fd;
	list_init(&listener->link);
	list_append(&api->listeners, &listener->link);
	return listener;
}

static int serve(struct listener *listener, struct dsec_error *err)
{
	int r = start_http(listener, err);

	return r < 0 ? r : watch(listener, err);
}

int listener_open_unix(struct api *api, const char *path, struct dsec_error *err)
{
	int fd, r = listen_at(path, &fd, err);

	if (r < 0)
		return r;
	struct listener *listener = listener_new(api, fd);
	listener->local = true;
	listener->socket_path = alloc_copy(path);
	if (api->has_admin_group && chown(path, (uid_t)-1, api->admin_group) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "%s: cannot give it to api.admin_group: %s", path,
				      strerror(errno));
	return serve(listener, err);
}

struct listener *listener_close(struct listener *listener)
{
	list_remove(&listener->link);
	if (listener->daemon)
		MHD_stop_daemon(listener->daemon);
	close(listener->fd);
	if (listener->socket_path)
		unlink(listener->socket_path);
	free(listener->socket_path);
	free(listener);
	return NULL;
}
