#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/alloc.h"
#include "lease/secret.h"

#define PEM_MAX (1024ul * 1024)

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

/* TLS. */

struct pem {
	char *text; /* for wiping */
	size_t n;
};

static int read_pem(struct pem *ret, const char *path, bool private, struct dsec_error *err)
{
	struct catalog_system system;

	catalog_system_init(&system);
	int r = system.read_file(&system, path, PEM_MAX, private, &ret->text, &ret->n);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s cannot be read: %s", path,
				      strerror(-r));
	return 0;
}

static void pem_finish(struct pem *pem)
{
	secret_wipe(pem->text, pem->n);
	free(pem->text);
}

/* One thread makes all calls. Without this, libmicrohttpd from 0.9.77 on only puts aside a
 * connection that it is given, for another thread to begin, and door.c, which expects the beginning
 * at once, takes it for nobody's. Older versions begin at once anyway and ignore it; it is theirs,
 * too, since what was built with one may run with a newer one. */
#if MHD_VERSION < 0x00097707
#define MHD_USE_NO_THREAD_SAFETY (1u << 19)
#endif

/* Plain, or with TLS where there is a certificate. */
static struct MHD_Daemon *start_daemon(struct listener *listener, const struct pem *certificate,
				       const struct pem *key)
{
	static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
	const struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, certificate->text},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, key->text},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
		{MHD_OPTION_END, 0, NULL},
	};
	const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
			 MHD_USE_NO_THREAD_SAFETY;

	return MHD_start_daemon(listener->tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL,
				exchange_handle, listener, MHD_OPTION_CONNECTION_LIMIT,
				API_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				API_CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				(size_t)API_CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
				exchange_completed, listener, MHD_OPTION_NOTIFY_CONNECTION,
				door_notify, listener, MHD_OPTION_ARRAY,
				listener->tls ? tls : plain, MHD_OPTION_END);
}

static int start_http(struct listener *listener, struct dsec_error *err)
{
	struct pem none = {0};

	listener->daemon = start_daemon(listener, &none, &none);
	if (!listener->daemon)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libmicrohttpd did not start");
	return 0;
}

static int start_https(struct listener *listener, const struct catalog *catalog,
		       struct dsec_error *err)
{
	struct pem certificate = {0}, key = {0};

	if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "this libmicrohttpd has no TLS: the API can listen on "
				      "loopback and Unix sockets only");
	int r = read_pem(&certificate, catalog->api_tls_certificate, false, err);
	if (r == 0)
		r = read_pem(&key, catalog->api_tls_key, true, err);
	if (r == 0) {
		listener->tls = true;
		listener->daemon = start_daemon(listener, &certificate, &key);
		if (!listener->daemon)
			r = dsec_error_set(err, DSEC_ERROR_INVALID,
					   "api.tls_certificate and api.tls_key are not usable "
					   "together: both in PEM, the key without a passphrase, "
					   "and the certificate's own?");
	}
	pem_finish(&certificate);
	pem_finish(&key);
	return r;
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
	listener->pause.fire = door_look_again;
	list_init(&listener->link);
	list_append(&api->listeners, &listener->link);
	return listener;
}

int listener_open_unix(struct api *api, const char *path, struct dsec_error *err)
{
	int fd = -1, r = listen_at(path, &fd, err);

	if (r < 0)
		return r;
	struct listener *listener = listener_new(api, fd);
	listener->local = true;
	listener->socket_path = alloc_copy(path);
	r = start_http(listener, err);
	return r < 0 ? r : watch(listener, err);
}

/* TCP. */

static int tcp_address(const char *host, const char *port, struct sockaddr_storage *ret,
		       socklen_t *ret_size)
{
	char bare[CATALOG_HOST_MAX];
	uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));

	if (host[0] == '[') {
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = number};

		snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(host + 1, "]"), host + 1);
		memcpy(ret, &v6, sizeof(v6));
		*ret_size = sizeof(v6);
		return inet_pton(AF_INET6, bare, &((struct sockaddr_in6 *)ret)->sin6_addr);
	}
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = number};

	memcpy(ret, &v4, sizeof(v4));
	*ret_size = sizeof(v4);
	return inet_pton(AF_INET, strcasecmp(host, "localhost") == 0 ? "127.0.0.1" : host,
			 &((struct sockaddr_in *)ret)->sin_addr);
}

static int listen_on(const struct sockaddr_storage *address, socklen_t size)
{
	static const int yes = 1;
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	/* 0.0.0.0 and [::] may both be named. */
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)address, size) < 0 || listen(fd, SOMAXCONN) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

int listener_open_tcp(struct api *api, const char *address, struct dsec_error *err)
{
	struct sockaddr_storage at = {0};
	char host[CATALOG_HOST_MAX];
	const char *port;
	socklen_t size;

	if (!catalog_listen_split(address, host, &port) || tcp_address(host, port, &at, &size) != 1)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s is no address and port",
				      address);
	int fd = listen_on(&at, size);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: cannot listen there: %s", address,
				      strerror(-fd));
	struct listener *listener = listener_new(api, fd);
	listener->loopback = catalog_is_loopback(host);
	snprintf(listener->host, sizeof(listener->host), "%s", host);
	snprintf(listener->port, sizeof(listener->port), "%s", port);
	int r = listener->loopback ? start_http(listener, err)
				   : start_https(listener, api->catalog, err);
	return r < 0 ? r : watch(listener, err);
}

bool listener_is_host(const struct listener *listener, const char *host)
{
	const char *const names[] = {"localhost", "127.0.0.1", "[::1]", listener->host};
	char with_port[CATALOG_HOST_MAX + 8];

	if (!listener->loopback)
		return true;
	for (size_t i = 0; host && i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(with_port, sizeof(with_port), "%s:%s", names[i], listener->port);
		if (strcasecmp(host, with_port) == 0 ||
		    (strcmp(listener->port, "80") == 0 && strcasecmp(host, names[i]) == 0))
			return true;
	}
	return false;
}

struct listener *listener_close(struct listener *listener)
{
	list_remove(&listener->link);
	timer_disarm(&listener->api->timers, &listener->pause);
	if (listener->daemon)
		MHD_stop_daemon(listener->daemon);
	close(listener->fd);
	if (listener->socket_path && listener->api->remove)
		listener->api->remove(listener->api->remove_arg, listener->socket_path);
	else if (listener->socket_path)
		unlink(listener->socket_path);
	free(listener->socket_path);
	free(listener);
	return NULL;
}
