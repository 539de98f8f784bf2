#include "cli/lease_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/log.h"
#include "lease/duration.h"

#define STATUS_SIZE_MAX  (1024ul * 1024)
#define LOOK_EVERY_MIN_S 1
#define LOOK_EVERY_MAX_S 60
#define TELL_BEFORE_S    900 /* or when half of what the command had has gone */

int lease_watch_ends(const char *status, const char *id, int64_t *ret_end, int64_t *ret_last)
{
	char line[128];

	snprintf(line, sizeof(line), "      lease %s, from ", id);
	const char *at = strstr(status, line);
	if (!at)
		return -ENOENT;
	at += strlen(line);
	size_t n = strcspn(at, "\n");
	const char *to = memmem(at, n, " to ", strlen(" to "));
	const char *last = memmem(at, n, ", at the latest ", strlen(", at the latest "));
	if (!to)
		return -ENOENT;
	*ret_end = source_seconds(to + strlen(" to "));
	*ret_last = last ? source_seconds(last + strlen(", at the latest ")) : *ret_end;
	return *ret_end > 0 ? 0 : -ENOENT;
}

/* The one that ends first. */
static int first_end(const struct lease_watch *watch, int64_t *ret_end, int64_t *ret_last)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r = -ENOENT;

	if (!watch->lease.status_file[0] ||
	    file_read(watch->lease.status_file, STATUS_SIZE_MAX, &text, &size) < 0)
		return -ENOENT;
	for (size_t i = 0; i < watch->lease.n_ids; i++) {
		int64_t end, last;

		if (lease_watch_ends(text, watch->lease.ids[i], &end, &last) < 0)
			continue;
		if (r == 0 && end >= *ret_end)
			continue;
		*ret_end = end;
		*ret_last = last;
		r = 0;
	}
	return r;
}

static void tell(const struct lease_watch *watch, int64_t end, int64_t left)
{
	char when[32], how_long[DURATION_TEXT_MAX];
	const time_t time = (time_t)end;
	struct tm tm;

	gmtime_r(&time, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	duration_format(how_long, left > 0 ? left * 1000 : 0);
	log_line(LOG_WARNING,
		 "the lease of %s/%s ends at %s, in %s, since its max_ttl is reached: start the "
		 "command again for another one",
		 watch->source->names.project, watch->source->names.config, when, how_long);
}

/* How long to sleep until the next look. */
static unsigned next_look(int64_t left)
{
	int64_t seconds = left / 8;

	if (seconds < LOOK_EVERY_MIN_S)
		return LOOK_EVERY_MIN_S;
	return seconds > LOOK_EVERY_MAX_S ? LOOK_EVERY_MAX_S : (unsigned)seconds;
}

/* A daemon that hangs holds this thread, and nothing else. */
static void *watch_file(void *arg)
{
	const struct lease_watch *watch = arg;
	int64_t begin = time(NULL), end = 0, last = 0;

	while (first_end(watch, &end, &last) == 0) {
		int64_t now = time(NULL), left = end - now;
		bool soon = left <= TELL_BEFORE_S && left <= (end - begin) / 2;

		if (end >= last && soon) {
			tell(watch, end, left);
			return NULL;
		}
		sleep(next_look(left));
	}
	return NULL;
}

/* At the socket. */

static void ask(const struct lease_watch *watch, const char *method, const char *what,
		const char *body)
{
	for (size_t i = 0; i < watch->lease.n_ids; i++) {
		char path[128];
		struct dsec_error err;

		snprintf(path, sizeof(path), "/v3/dsec/leases/%s%s", watch->lease.ids[i], what);
		if (client_ask(watch->source->socket, method, path, body, NULL, &err) < 0)
			log_error(LOG_WARNING, &err, "lease %s", watch->lease.ids[i]);
	}
}

static void *watch_socket(void *arg)
{
	const struct lease_watch *watch = arg;
	const struct source_lease *lease = &watch->lease;
	int64_t begin = time(NULL), ttl = lease->end_s - begin;
	char body[64];

	snprintf(body, sizeof(body), "{\"ttl_sec\":%" PRId64 "}", ttl);
	if (ttl < CATALOG_TTL_MIN_MS / 1000)
		return NULL;
	while (true) {
		sleep((unsigned)(ttl / 2));
		ask(watch, "POST", "/renew", body);
	}
}

void lease_watch_begin(struct lease_watch *watch)
{
	pthread_t thread;

	if (watch->lease.n_ids == 0)
		return;
	if (pthread_create(&thread, NULL, watch->source->is_mounted ? watch_file : watch_socket,
			   watch) == 0)
		pthread_detach(thread);
}

void lease_watch_end(struct lease_watch *watch)
{
	if (!watch->source->is_mounted)
		ask(watch, "DELETE", "", NULL);
	if (watch->lease.fd >= 0)
		close(watch->lease.fd);
	watch->lease.fd = -1;
}
