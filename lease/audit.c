#include "lease/audit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/opener.h"

#define TEXT_MAX    1024  /* of each text in a line, made printable; the rest is cut off */
#define LINE_LENGTH 32768 /* twelve such texts, each character of them escaped, and their names */

struct audit {
	const struct clock *clock;
	int fd;
	bool is_torn; /* the file ends within a line */
	unsigned long n_lost;
};

/* A line as it grows. A member that finds no memory makes the line a lost one. */
struct line {
	json_t *json;
	bool is_incomplete;
};

static const char *const event_names[] = {
	[LEASE_ACTIVE] = "active",
	[LEASE_ENDED] = "ended",
	[LEASE_GONE] = "gone",
};

static void add(struct line *line, json_t *to, const char *name, json_t *value)
{
	if (json_object_set_new(to, name, value) < 0)
		line->is_incomplete = true;
}

/* Texts come from AWS, from file names and from whoever asks: in the file they are printable. */
static void add_text(struct line *line, json_t *to, const char *name, const char *text)
{
	char printable[TEXT_MAX];

	if (!text || !*text)
		return;
	dsec_print_safely(printable, sizeof(printable), text);
	add(line, to, name, json_string(printable));
}

static void add_time(struct line *line, const char *name, int64_t calendar_ms)
{
	char text[CLOCK_ISO_MAX];

	clock_iso(text, calendar_ms);
	add_text(line, line->json, name, text);
}

static void begin(struct line *line, const struct audit *audit, const char *event)
{
	*line = (struct line){.json = json_object()};
	add_time(line, "time", audit->clock->calendar_ms(audit->clock));
	add_text(line, line->json, "event", event);
}

static void add_slot(struct line *line, const struct lease_slot *slot)
{
	add_text(line, line->json, "project", slot->project);
	add_text(line, line->json, "config", slot->config);
	add_text(line, line->json, "secret", slot->secret);
}

static void add_lease(struct line *line, const struct lease *lease)
{
	add_slot(line, &lease->slot);
	add_text(line, line->json, "lease_id", lease->id);
	add_text(line, line->json, "user", lease->user);
	add_text(line, line->json, "access_key_id", lease->access_key_id);
	add_time(line, "expires", lease->expires_ms);
}

static void add_executable(struct line *line, json_t *to, pid_t pid)
{
	char link[32], path[TEXT_MAX];

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return;
	path[n] = '\0';
	add_text(line, to, "executable", path);
}

/* The path in the unified hierarchy ("0::/…"); on a machine that has none, in the first one. */
static void add_cgroup(struct line *line, json_t *to, pid_t pid)
{
	char name[32], row[TEXT_MAX + 64], found[TEXT_MAX + 64] = "";

	snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	FILE *file = fopen(name, "re");
	if (!file)
		return;
	while (fgets(row, sizeof(row), file)) {
		bool unified = strncmp(row, "0::", 3) == 0;
		const char *controllers = strchr(row, ':');
		const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (path && (unified || !*found))
			snprintf(found, sizeof(found), "%.*s", (int)strcspn(path + 1, "\n"),
				 path + 1);
		if (unified)
			break;
	}
	fclose(file);
	add_text(line, to, "cgroup", found);
}

/* What /proc says now: the caller, whose pid may be a thread's, may be gone by then, or may not
 * let itself be looked at. */
static void add_caller(struct line *line, const struct lease_caller *caller)
{
	json_t *json = json_object();

	add(line, json, "uid", json_integer(caller->uid));
	add(line, json, "gid", json_integer(caller->gid));
	if (caller->pid > 0) {
		add(line, json, "pid", json_integer(caller->pid));
		add_executable(line, json, caller->pid);
		add_cgroup(line, json, caller->pid);
	}
	add(line, line->json, "caller", json);
}

static void add_error(struct line *line, const struct dsec_error *err)
{
	json_t *json = json_object();

	add_text(line, json, "kind", dsec_error_kind_name(err->kind));
	add_text(line, json, "message", err->message);
	add_text(line, json, "code", err->code);
	add_text(line, json, "request_id", err->request_id);
	add(line, line->json, "error", json);
}

/* One write(2): other writers' lines, and those of a daemon that a rotation overlaps with, stay
 * whole. */
static bool write_line(struct audit *audit, const struct line *line)
{
	char text[1 + LINE_LENGTH + 1]; /* the end of a torn line, this one, its own end */
	ssize_t put;

	size_t n = json_dumpb(line->json, text + 1, LINE_LENGTH, JSON_COMPACT);
	if (line->is_incomplete || n == 0 || n > LINE_LENGTH)
		return false;
	text[0] = '\n';
	text[1 + n] = '\n';
	const char *start = audit->is_torn ? text : text + 1;
	size_t size = (size_t)(text + 1 + n + 1 - start);
	do
		put = write(audit->fd, start, size);
	while (put < 0 && errno == EINTR);
	/* A full disk may take a part. */
	if (put > 0)
		audit->is_torn = (size_t)put < size;
	return put > 0 && (size_t)put == size;
}

static void end(struct line *line, struct audit *audit)
{
	if (!write_line(audit, line))
		audit->n_lost++;
	json_decref(line->json);
}

void audit_lease(struct audit *audit, enum lease_event event, const struct lease *lease,
		 const char *reason)
{
	struct line line;

	begin(&line, audit, event_names[event]);
	add_lease(&line, lease);
	add_text(&line, line.json, "reason", reason);
	end(&line, audit);
}

void audit_handed_out(struct audit *audit, const struct lease *lease,
		      const struct lease_caller *caller)
{
	struct line line;

	begin(&line, audit, "handed_out");
	add_lease(&line, lease);
	add_caller(&line, caller);
	end(&line, audit);
}

void audit_failed(struct audit *audit, const struct lease_slot *slot,
		  const struct lease_caller *caller, const struct dsec_error *err)
{
	struct line line;

	begin(&line, audit, "failed");
	add_slot(&line, slot);
	add_caller(&line, caller);
	add_error(&line, err);
	end(&line, audit);
}

void audit_revocation_failed(struct audit *audit, const struct journal_record *record,
			     const struct dsec_error *err)
{
	struct line line;

	begin(&line, audit, "revocation_failed");
	add_slot(&line, &(struct lease_slot){.project = record->project,
					     .config = record->config,
					     .secret = record->secret});
	add_text(&line, line.json, "lease_id", record->lease_id);
	add_text(&line, line.json, "user", record->user);
	add_text(&line, line.json, "access_key_id", record->access_key_id);
	add_text(&line, line.json, "reason", record->reason);
	add_error(&line, err);
	end(&line, audit);
}

unsigned long audit_lost(const struct audit *audit)
{
	return audit->n_lost;
}

static bool ends_within_line(int fd, off_t size)
{
	char last;

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* A descriptor or a negative errno. Regular files only: what is at the other end of a pipe could
 * hold up the thread on which all leases live. */
static int open_file(const char *file, bool *ret_torn, struct dsec_error *err)
{
	struct stat st;

	int fd = opener_open(file, OPENER_APPEND);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot open the audit log %s: %s",
				      file, strerror(-fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the audit log %s is not a regular file", file);
	}
	*ret_torn = ends_within_line(fd, st.st_size);
	return fd;
}

int audit_open(struct audit **ret, const char *file, const struct clock *clock,
	       struct dsec_error *err)
{
	bool is_torn = false;

	int fd = open_file(file, &is_torn, err);
	if (fd < 0)
		return fd;
	struct audit *audit = malloc(sizeof(*audit));
	if (!audit) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
	}
	*audit = (struct audit){.clock = clock, .fd = fd, .is_torn = is_torn};
	*ret = audit;
	return 0;
}

int audit_reopen(struct audit *audit, const char *file, struct dsec_error *err)
{
	bool is_torn = false;

	int fd = open_file(file, &is_torn, err);
	if (fd < 0)
		return fd;
	close(audit->fd);
	audit->fd = fd;
	audit->is_torn = is_torn;
	return 0;
}

struct audit *audit_close(struct audit *audit)
{
	if (audit) {
		close(audit->fd);
		free(audit);
	}
	return NULL;
}
