#include "cli/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "aws/aws.h"
#include "cli/client.h"
#include "cli/file.h"
#include "lease/alloc.h"
#include "lease/clock.h"
#include "lease/duration.h"
#include "lease/json_text.h"
#include "lease/secret.h"

#define STATUS_SIZE_MAX  (1024ul * 1024)
#define RETRY_FIRST_MS   250
#define RETRY_LONGEST_MS 2000
#define IDS_SIZE         4096

int source_ttl(int64_t *ret_ms, const char *text, struct dsec_error *err)
{
	int64_t ttl_ms = 0;

	if (text) {
		int r = duration_parse(text, strlen(text), &ttl_ms);
		if (r == -ERANGE && text[0] == '-')
			ttl_ms = 0;
		else if (r < 0)
			return dsec_error_set(
				err, DSEC_ERROR_INVALID,
				r == -ERANGE ? "--dynamic-ttl: \"%s\" is too long"
					     : "--dynamic-ttl: \"%s\" is no duration such as 3h, "
					       "15m or 1h30m",
				text);
	}
	ttl_ms -= ttl_ms % 1000; /* the API takes whole seconds */
	if (ttl_ms > 0 && ttl_ms < CATALOG_TTL_MIN_MS)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "--dynamic-ttl: a lease lives for at least %d s",
				      CATALOG_TTL_MIN_MS / 1000);
	*ret_ms = ttl_ms;
	return 0;
}

int64_t source_seconds(const char *iso)
{
	struct tm tm = {0};

	return strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

int source_find(struct source *ret, const struct options *options, struct dsec_error *err)
{
	struct source source = {0};

	/* First of all, since libraries that have allocated cannot be made to wipe. */
	int r = aws_global_init(err);
	if (r == 0)
		r = names_find(&source.names, options, err);
	if (r < 0)
		return r;
	if (!options->socket) {
		r = mounted_find(&source.mounted, &source.names, options->tree, err);
		if (r < 0 && r != -ENODEV)
			return r;
		source.is_mounted = r == 0;
	}
	if (!source.is_mounted) {
		r = names_required(&source.names, err);
		if (r == 0)
			r = client_socket(source.socket, options, err);
		if (r < 0)
			return r;
	}
	*ret = source;
	return 0;
}

bool source_is_dynamic(const struct source *source, const char *key)
{
	char path[PATH_MAX];
	size_t n = strlen(key);

	for (int i = 0; i < PROPERTIES; i++) {
		const char *suffix = download_property_suffix((enum download_property)i);
		size_t tail = strlen(suffix) + 1;

		if (n <= tail || key[n - tail] != '_' || strcmp(key + n - tail + 1, suffix) != 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/.aws/%.*s", source->mounted.folder,
			     (int)(n - tail), key) < (int)sizeof(path) &&
		    access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* The mount. */

/* The folder that has leases such as these. */
static int folder_of(char to[PATH_MAX], const struct source *source,
		     const struct source_choice *choice, struct dsec_error *err)
{
	const struct mounted *mounted = &source->mounted;
	char ttl[DURATION_TEXT_MAX] = "";
	int n;

	if (choice->ttl_ms > 0)
		duration_format(ttl, choice->ttl_ms);
	if (!choice->own && !ttl[0]) {
		n = snprintf(to, PATH_MAX, "%s", mounted->folder);
	} else if (!mounted->above[0]) {
		if (ttl[0])
			return dsec_error_set(err, DSEC_ERROR_INVALID,
					      "--dynamic-ttl: of the mount only the folder of "
					      "%s/%s can be seen here; its project's folder is "
					      "needed for that",
					      source->names.project, source->names.config);
		n = snprintf(to, PATH_MAX, "%s", mounted->folder);
	} else {
		n = snprintf(to, PATH_MAX, "%s/%s@%s%s%s", mounted->above, source->names.config,
			     choice->own ? "fresh" : "", choice->own && ttl[0] ? "," : "", ttl);
	}
	if (n >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the path of %s/%s is too long",
				      source->names.project, source->names.config);
	return 0;
}

/* Copies the line that begins at `from`, without the blanks before it. */
static void copy_line(char *to, size_t size, const char *from)
{
	from += strspn(from, " ");
	snprintf(to, size, "%.*s", (int)strcspn(from, "\n"), from);
}

/* The file that says why, if it has something to say. */
static void add_reason(char *to, size_t size, const char *folder)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], what[300] = "", remedy[200] = "";
	size_t n;

	to[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/.status", folder) >= (int)sizeof(path) ||
	    file_read(path, STATUS_SIZE_MAX, &text, &n) < 0)
		return;
	const char *error = strstr(text, "last error ");
	if (!error)
		return;
	copy_line(what, sizeof(what), error);
	const char *next = strchr(error, '\n');
	if (next && strstr(next, "what to do: ") == next + 1 + strspn(next + 1, " "))
		copy_line(remedy, sizeof(remedy), next + 1);
	snprintf(to, size, "; %s%s%s", what, remedy[0] ? "; " : "", remedy);
}

static enum dsec_error_kind kind_of(int number)
{
	switch (number) {
	case ENOENT:
		return DSEC_ERROR_NOT_CONFIGURED;
	case EACCES:
		return DSEC_ERROR_NOT_ALLOWED;
	case ETIMEDOUT:
		return DSEC_ERROR_TIMEOUT;
	default:
		return DSEC_ERROR_FAULT;
	}
}

static int explain(const struct source *source, const struct source_choice *choice, int number,
		   struct dsec_error *err)
{
	char reason[DSEC_ERROR_MESSAGE_MAX];
	const char *project = source->names.project, *config = source->names.config;

	if (number == ENOENT && choice->ttl_ms > 0)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "%s/%s has no leases of that TTL: it is above the max_ttl of "
				      "one of its secrets",
				      project, config);
	if (number == EACCES)
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "%s/%s: the access of this config does not let you read it",
				      project, config);
	add_reason(reason, sizeof(reason), source->mounted.folder);
	return dsec_error_set(err, kind_of(number), "%s/%s: %s%s", project, config,
			      strerror(number), reason);
}

static void note_lease(struct source_lease *lease, const char *id)
{
	if (lease->n_ids < SOURCE_LEASES_MAX && strlen(id) < LEASE_ID_MAX)
		snprintf(lease->ids[lease->n_ids++], LEASE_ID_MAX, "%s", id);
}

static void note_leases(struct source_lease *lease, const struct source *source,
			const struct source_choice *choice)
{
	char ids[IDS_SIZE], *at = ids, *id;
	ssize_t n = fgetxattr(lease->fd, "user.dsec.lease_id", ids, sizeof(ids) - 1);

	ids[n > 0 ? n : 0] = '\0';
	while ((id = strsep(&at, ",")))
		if (id[0])
			note_lease(lease, id);
	lease->lasts = !choice->own || !source->mounted.above[0];
	if (snprintf(lease->status_file, PATH_MAX, "%s/.status", source->mounted.folder) >=
	    PATH_MAX)
		lease->status_file[0] = '\0';
}

static int read_file(struct download *ret, struct source_lease *lease, const struct source *source,
		     const struct source_choice *choice, enum download_format format,
		     struct dsec_error *err)
{
	char folder[PATH_MAX], path[PATH_MAX + 32];

	int r = folder_of(folder, source, choice, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/.%s", folder, download_format_name(format));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return explain(source, choice, errno, err);
	r = values_read(fd, ret);
	if (r < 0) {
		close(fd);
		return explain(source, choice, -r, err);
	}
	lease->fd = fd;
	note_leases(lease, source, choice);
	return 0;
}

static bool names_dynamic(const struct source *source, const char *list)
{
	char name[VALUES_NAME_MAX];

	while (values_next_name(&list, name))
		if (source_is_dynamic(source, name))
			return true;
	return false;
}

/* The files of the keys that are named. */
static int read_keys(json_t **ret, const struct source *source, const char *list,
		     struct dsec_error *err)
{
	json_t *values = json_object();
	char name[VALUES_NAME_MAX], path[PATH_MAX];
	int r = 0;

	while (r == 0 && values_next_name(&list, name)) {
		struct download text = {0};

		if (!catalog_key_valid(name) ||
		    snprintf(path, sizeof(path), "%s/%s", source->mounted.folder, name) >=
			    (int)sizeof(path))
			continue; /* it is missing */
		_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		r = fd < 0 ? -errno : values_read(fd, &text);
		if (r < 0)
			explain(source, &(struct source_choice){0}, -r, err);
		else
			json_object_set_new(values, name,
					    json_stringn(text.bytes ? text.bytes : "", text.n));
		download_finish(&text);
	}
	if (r < 0) {
		json_decref(values);
		return r;
	}
	*ret = values;
	return 0;
}

/* The socket. */

/* Of each dynamic secret that the list names a key of, also the lease's id, to end it by. */
static char *with_lease_ids(const char *list)
{
	size_t size = strlen(list) * 16 + 64, n = 0;
	char *to = alloc_zeroed(size, 1), name[VALUES_NAME_MAX];

	while (values_next_name(&list, name)) {
		if (!catalog_key_valid(name))
			continue; /* it is missing */
		n += (size_t)snprintf(to + n, size - n, "%s%s", n > 0 ? "," : "", name);
		for (int i = 0; i < PROPERTIES; i++) {
			const char *suffix = download_property_suffix((enum download_property)i);
			size_t all = strlen(name), tail = strlen(suffix) + 1;

			if (all > tail && name[all - tail] == '_' &&
			    strcmp(name + all - tail + 1, suffix) == 0)
				n += (size_t)snprintf(
					to + n, size - n, ",%.*s_LEASE_ID,%.*s_LEASE_EXPIRATION",
					(int)(all - tail), name, (int)(all - tail), name);
		}
	}
	return to;
}

static int ask_socket(struct client_answer *ret, const struct source *source,
		      const struct source_choice *choice, enum download_format format,
		      struct dsec_error *err)
{
	_cleanup_free_ char *path = alloc_zeroed(CLIENT_PATH_MAX, 1);
	_cleanup_free_ char *only =
		choice->download.only ? with_lease_ids(choice->download.only) : NULL;
	int64_t end_at = system_clock.boottime_at(&system_clock) + SOURCE_TIMEOUT_MS;
	useconds_t pause_ms = RETRY_FIRST_MS;
	char ttl[64] = "";

	if (choice->ttl_ms > 0)
		snprintf(ttl, sizeof(ttl), "&dynamic_secrets_ttl_sec=%lld",
			 (long long)(choice->ttl_ms / 1000));
	int n = snprintf(path, CLIENT_PATH_MAX,
			 "/v3/configs/config/secrets/download?project=%s&config=%s&format=%s"
			 "&include_dynamic_secrets=true%s%s%s",
			 source->names.project, source->names.config, download_format_name(format),
			 ttl, only ? "&secrets=" : "", only ? only : "");
	if (n >= CLIENT_PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "too many keys are named");
	while (true) {
		int r = client_request(source->socket, "GET", path, NULL, ret, err);
		if (r < 0 || ret->status == 200)
			return r;
		/* The lease is being made, and is kept for whoever asks again. */
		bool later = ret->status == 429 || ret->status == 503;
		if (!later || system_clock.boottime_at(&system_clock) + pause_ms > end_at) {
			r = client_refused(ret, err);
			client_answer_finish(ret);
			return r;
		}
		client_answer_finish(ret);
		usleep(pause_ms * 1000);
		pause_ms = pause_ms * 2 < RETRY_LONGEST_MS ? pause_ms * 2 : RETRY_LONGEST_MS;
	}
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), tail = strlen(suffix);

	return n > tail && strcmp(name + n - tail, suffix) == 0;
}

static void note_ids_of(struct source_lease *lease, const json_t *values)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)values, name, value)
	{
		const char *text = json_string_value(value);

		if (ends_in(name, "_LEASE_ID"))
			note_lease(lease, text);
		else if (ends_in(name, "_LEASE_EXPIRATION") &&
			 (lease->end_s == 0 || source_seconds(text) < lease->end_s))
			lease->end_s = source_seconds(text);
	}
}

/* Listing. */

static bool is_key_of(const char *key, const char *secret)
{
	size_t n = strlen(secret);

	if (strncmp(key, secret, n) != 0 || key[n] != '_')
		return false;
	for (int i = 0; i < PROPERTIES; i++)
		if (strcmp(key + n + 1, download_property_suffix((enum download_property)i)) == 0)
			return true;
	return false;
}

static void list_key(FILE *to, const char *key, const char *except)
{
	if (key && catalog_key_valid(key) && !is_key_of(key, except))
		fprintf(to, "%s,", key);
}

static int list_mounted(FILE *to, const struct source *source, const char *except,
			struct dsec_error *err)
{
	DIR *folder = opendir(source->mounted.folder);
	const struct dirent *entry;

	if (!folder)
		return explain(source, &(struct source_choice){0}, errno, err);
	while ((entry = readdir(folder)))
		list_key(to, entry->d_name, except);
	closedir(folder);
	return 0;
}

static int list_socket(FILE *to, const struct source *source, const char *except,
		       struct dsec_error *err)
{
	_cleanup_free_ char *text = NULL;
	char path[512];
	const json_t *name;
	size_t i;

	snprintf(path, sizeof(path),
		 "/v3/configs/config/secrets/names?project=%s&config=%s"
		 "&include_dynamic_secrets=true",
		 source->names.project, source->names.config);
	int r = client_ask(source->socket, "GET", path, NULL, &text, err);
	if (r < 0)
		return r;
	json_t *root = json_loads(text, 0, NULL);
	json_array_foreach(json_object_get(root, "names"), i, name)
		list_key(to, json_string_value(name), except);
	json_decref(root);
	return 0;
}

int source_keys(char **ret, const struct source *source, const char *except, struct dsec_error *err)
{
	size_t size;
	char *list = NULL;
	FILE *to = open_memstream(&list, &size);

	int r = source->is_mounted ? list_mounted(to, source, except, err)
				   : list_socket(to, source, except, err);
	fclose(to);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	return 0;
}

/* Getting. */

static int as_json(json_t **ret, const struct source *source, const struct download *text,
		   struct dsec_error *err)
{
	*ret = values_json(text);
	if (*ret)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_FAULT, "%s/%s: the daemon gave no JSON object",
			      source->names.project, source->names.config);
}

static int get_values(json_t **ret, struct source_lease *lease, const struct source *source,
		      const struct source_choice *choice, struct dsec_error *err)
{
	struct download text = {0};
	int r;

	if (!source->is_mounted) {
		_cleanup_answer_ struct client_answer answer = {0};
		r = ask_socket(&answer, source, choice, FORMAT_JSON, err);
		if (r < 0)
			return r;
		const struct download given = {.bytes = answer.text, .n = answer.n};
		r = as_json(ret, source, &given, err);
		if (r == 0)
			note_ids_of(lease, *ret);
		return r;
	}
	if (choice->download.only && !names_dynamic(source, choice->download.only))
		return read_keys(ret, source, choice->download.only, err);
	r = read_file(&text, lease, source, choice, FORMAT_JSON, err);
	if (r == 0)
		r = as_json(ret, source, &text, err);
	download_finish(&text);
	return r;
}

/* In the very bytes that the mount or the socket gives. */
static int get_as_it_is(struct download *ret, struct source_lease *lease,
			const struct source *source, const struct source_choice *choice,
			struct dsec_error *err)
{
	_cleanup_answer_ struct client_answer answer = {0};

	if (source->is_mounted)
		return read_file(ret, lease, source, choice, choice->download.format, err);
	int r = ask_socket(&answer, source, choice, choice->download.format, err);
	if (r < 0)
		return r;
	if (values_append(ret, answer.text ? answer.text : "", answer.n) < 0)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "no memory for secrets is left");
	return 0;
}

static void let_go(struct source_lease *lease)
{
	if (lease->fd >= 0)
		close(lease->fd);
	lease->fd = -1;
}

static char *list_missing(const json_t *values, const char *only)
{
	size_t size = strlen(only) * 3 + 1;
	char *missing = alloc_zeroed(size, 1);

	values_missing(values, only, missing, size);
	return missing;
}

int source_get(struct download *ret, struct source_lease *ret_lease, char **ret_missing,
	       const struct source *source, const struct source_choice *choice,
	       struct dsec_error *err)
{
	const struct download_choice *download = &choice->download;
	struct source_lease lease = {.fd = -1};
	struct download text = {0};
	json_t *values = NULL;
	int r;

	json_wipe_on_free();
	/* The ids are among the values, at the socket. */
	if (!download->only && download->names == NAMES_PLAIN &&
	    (source->is_mounted || !ret_lease)) {
		r = get_as_it_is(&text, &lease, source, choice, err);
	} else {
		r = get_values(&values, &lease, source, choice, err);
		if (r == 0)
			r = values_render(&text, values, download, err);
		if (r == 0 && ret_missing && download->only)
			*ret_missing = list_missing(values, download->only);
		json_decref(values);
	}
	if (r < 0 || !ret_lease)
		let_go(&lease);
	if (r < 0) {
		download_finish(&text);
		return r;
	}
	if (ret_lease)
		*ret_lease = lease;
	*ret = text;
	return 0;
}
