#include "api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_private.h"
#include "lease/alloc.h"
#include "lease/owner.h"

#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

struct api {
	struct MHD_Daemon *daemon;
	struct engine *engine;
	const struct clock *clock;
	char *socket_path;
	bool has_admin_group;
	gid_t admin_group;
};

/* A request while it is being received. */
struct receiving {
	struct api_request request;
	bool too_long;
};

static bool is_member(int fd, gid_t group)
{
	gid_t *groups = malloc(PEER_GROUPS_MAX * sizeof(*groups));
	socklen_t size = PEER_GROUPS_MAX * sizeof(*groups);
	bool found = false;

	if (!groups)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
		for (size_t i = 0; i < size / sizeof(*groups) && !found; i++)
			found = groups[i] == group;
	free(groups);
	return found;
}

/* The socket's mode keeps others out; this holds also where somebody changed the mode. */
static bool peer_allowed(const struct api *api, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == owner_uid())
		return true;
	return api->has_admin_group &&
	       (peer.gid == api->admin_group || is_member(info->connect_fd, api->admin_group));
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct api_answer *answer)
{
	static char short_of_memory[] =
		"{\"messages\":[\"the daemon is short of memory\"],\"success\":false}";
	struct MHD_Response *response;
	enum MHD_Result result;

	if (answer->json) {
		response = MHD_create_response_from_buffer(strlen(answer->json), answer->json,
							   MHD_RESPMEM_MUST_FREE);
		if (!response)
			free(answer->json);
	} else {
		answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
		response = MHD_create_response_from_buffer(strlen(short_of_memory), short_of_memory,
							   MHD_RESPMEM_PERSISTENT);
	}
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static void receive(struct receiving *receiving, const char *data, size_t n)
{
	struct api_request *request = &receiving->request;

	if (receiving->too_long || n > API_BODY_SIZE_MAX - request->body_size) {
		receiving->too_long = true;
		return;
	}
	memcpy(request->body + request->body_size, data, n);
	request->body_size += n;
	request->body[request->body_size] = '\0';
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_size, void **request_arg)
{
	struct api *api = arg;
	struct receiving *receiving = *request_arg;
	struct api_answer answer = {0};

	if (!receiving) {
		receiving = calloc(1, sizeof(*receiving));
		if (!receiving)
			return MHD_NO;
		receiving->request.body = calloc(1, API_BODY_SIZE_MAX + 1);
		if (!receiving->request.body) {
			free(receiving);
			return MHD_NO;
		}
		*request_arg = receiving;
		return MHD_YES;
	}
	if (*data_size > 0) {
		receive(receiving, data, *data_size);
		*data_size = 0;
		return MHD_YES;
	}
	receiving->request.method = method;
	receiving->request.path = url;
	if (!peer_allowed(api, connection))
		api_answer_error(
			&answer, MHD_HTTP_FORBIDDEN,
			"only root, the daemon's user and members of api.admin_group may do this");
	else if (receiving->too_long)
		api_answer_error(&answer, MHD_HTTP_CONTENT_TOO_LARGE,
				 "the request's body is too long");
	else
		api_leases(api->engine, &receiving->request, &answer);
	return send_answer(connection, &answer);
}

static void completed(void *arg, struct MHD_Connection *connection, void **request_arg,
		      enum MHD_RequestTerminationCode code)
{
	struct receiving *receiving = *request_arg;

	if (receiving) {
		free(receiving->request.body);
		free(receiving);
	}
	*request_arg = NULL;
}

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

static int set_group(struct api *api, const char *path, const char *name, struct dsec_error *err)
{
	struct group *group = getgrnam(name);

	if (!group)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "api.admin_group: there is no group \"%s\"", name);
	api->has_admin_group = true;
	api->admin_group = group->gr_gid;
	if (chown(path, (uid_t)-1, group->gr_gid) < 0 || chmod(path, 0660) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "%s: cannot give it to the group \"%s\": %s", path, name,
				      strerror(errno));
	return 0;
}

/* Gives a listening socket in *ret that only the daemon's user can reach. */
static int listen_at(const char *path, int *ret, struct dsec_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, bound;

	if (strlen(path) >= sizeof(address.sun_path))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "%s: a socket's path has at most %zu characters", path,
				      sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (answers(&address))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: another daemon listens there",
				      path);
	struct stat found;
	if (lstat(path, &found) == 0) {
		if (!S_ISSOCK(found.st_mode))
			return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: this is no socket", path);
		unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "socket: %s", strerror(errno));
	mask = umask(0177);
	bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
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

int api_start(struct api **ret, const struct api_options *options, struct dsec_error *err)
{
	int fd = -1, result = listen_at(options->socket_path, &fd, err);

	if (result < 0)
		return result;
	struct api *api = alloc_zeroed(1, sizeof(*api));
	api->engine = options->engine;
	api->clock = options->clock;
	api->socket_path = alloc_copy(options->socket_path);
	if (options->admin_group)
		result = set_group(api, options->socket_path, options->admin_group, err);
	if (result == 0) {
		api->daemon = MHD_start_daemon(
			MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle, api,
			MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
			API_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
			API_CONNECTION_TIMEOUT_S, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
			MHD_OPTION_END);
		if (!api->daemon)
			result = dsec_error_set(err, DSEC_ERROR_FAULT,
						"libmicrohttpd did not start");
	}
	if (result < 0) {
		close(fd);
		api_stop(api);
		return result;
	}
	*ret = api;
	return 0;
}

int api_fd(const struct api *api)
{
	return MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int64_t api_deadline_at(const struct api *api)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	if (MHD_get_timeout(api->daemon, &wait_ms) == MHD_NO)
		return DSEC_NEVER;
	return api->clock->boottime_at(api->clock) + (int64_t)wait_ms;
}

void api_dispatch(struct api *api)
{
	MHD_run(api->daemon);
}

struct api *api_stop(struct api *api)
{
	if (!api)
		return NULL;
	if (api->daemon)
		MHD_stop_daemon(api->daemon); /* closes the listening socket too */
	if (api->socket_path)
		unlink(api->socket_path);
	free(api->socket_path);
	free(api);
	return NULL;
}
