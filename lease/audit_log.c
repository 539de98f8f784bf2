/*
 * audit_log.c: the file behind the audit log, and the chain's end in it.
 *
 * A line is one write(2). What a full disk takes of it only in part is cut off again; where that is
 * not possible (a file that may only grow), and after a crash within a line, the fragment is closed
 * by a newline, and the next line, "torn", has its length and digest: so it is part of the chain,
 * and nobody can put a fragment of his own there.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/audit_files.h"
#include "lease/audit_private.h"
#include "lease/opener.h"

/* The last whole line is looked for in so much of the file's end. */
#define TAIL_MAX (4ul * AUDIT_LINE_MAX)

void audit_say(const struct audit *audit, int priority, const char *format, ...)
{
	char raw[PATH_MAX + DSEC_ERROR_MESSAGE_MAX], message[sizeof(raw)];
	va_list args;

	if (!audit->options.say)
		return;
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	dsec_print_safely(message, sizeof(message), raw);
	audit->options.say(audit->options.arg, priority, message);
}

/* The end of a file. */

struct tail {
	struct audit_head head; /* of the last line that has one; number 0: none has */
	char *fragment;         /* behind the last newline; NULL: nothing */
	size_t n_fragment;
};

static void tail_finish(struct tail *tail)
{
	free(tail->fragment);
	tail->fragment = NULL;
}

/* Behind what there is of it. One of no bytes stands for a line that lacks its newline alone. */
static void keep_fragment(char **fragment, size_t *n_fragment, const char *text, size_t n)
{
	size_t before = *fragment ? *n_fragment : 0;

	*fragment = alloc_resized(*fragment, before + n + 1, 1);
	memcpy(*fragment + before, text, n);
	*n_fragment = before + n;
}

static void read_lines(struct tail *ret, const char *text, size_t n)
{
	size_t covered;

	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t length = end ? (size_t)(end - text) : n;
		struct audit_head head = {.number = audit_line_number(text, length)};

		bool whole = head.number > 0 && audit_unseal(text, length, &covered, head.mac);
		if (whole)
			ret->head = head;
		if (!end) {
			keep_fragment(&ret->fragment, &ret->n_fragment, text, whole ? 0 : length);
			return;
		}
		text += length + 1;
		n -= length + 1;
	}
}

static int read_tail(struct tail *ret, int fd, uint64_t size)
{
	size_t n = size < TAIL_MAX ? (size_t)size : TAIL_MAX, at = 0;
	_cleanup_free_ char *text = alloc_zeroed(1, n + 1);

	while (at < n) {
		ssize_t got = pread(fd, text + at, n - at, (off_t)(size - n + at));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		at += (size_t)got;
	}
	*ret = (struct tail){0};
	read_lines(ret, text, n);
	return 0;
}

/* Where the last file before this one ends: it may have been rotated while no daemon ran. */
static struct audit_head last_rotated(const char *file)
{
	struct audit_files files;
	struct audit_head head = {0};
	struct stat st;

	if (audit_files_find(&files, file, NULL) < 0)
		return head;
	for (size_t i = files.n; i > 0 && head.number == 0; i--) {
		struct tail tail = {0};
		int fd = open(files.paths[i - 1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		    read_tail(&tail, fd, (uint64_t)st.st_size) == 0)
			head = tail.head;
		tail_finish(&tail);
		if (fd >= 0)
			close(fd);
	}
	audit_files_finish(&files);
	return head;
}

/* Opening. */

/* A descriptor or a negative errno. Regular files only: what is at the other end of a pipe could
 * hold up the thread on which all leases live. One writer only: a second one would break the chain.
 */
static int open_file(const char *file, struct stat *ret_st, struct dsec_error *err)
{
	int fd = opener_open(file, OPENER_APPEND);

	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot open the audit log %s: %s",
				      file, strerror(-fd));
	if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the audit log %s is not a regular file", file);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "another dsec writes the audit log %s: give each a file of "
				      "its own",
				      file);
	}
	return fd;
}

static uint64_t next_rotation(const struct audit *audit, uint64_t size)
{
	uint64_t max = audit->options.max_size;

	/* Where it could not be rotated it is tried again, but not with each line. */
	return size < max ? max : size + max / 8;
}

/* From here on lines go into this file. */
static void take_file(struct audit *audit, int fd, const struct stat *st, struct tail *tail)
{
	if (audit->fd >= 0)
		close(audit->fd);
	free(audit->fragment);
	audit->fd = fd;
	audit->size = (uint64_t)st->st_size;
	audit->rotate_at = next_rotation(audit, audit->size);
	audit->fragment = tail->fragment;
	audit->n_fragment = tail->n_fragment;
	tail->fragment = NULL;
}

static int try_open(struct audit *audit, struct tail *ret_tail, struct dsec_error *err)
{
	struct stat st = {0};
	int fd = open_file(audit->options.file, &st, err);

	if (fd < 0)
		return fd;
	int r = read_tail(ret_tail, fd, (uint64_t)st.st_size);
	if (r < 0) {
		close(fd);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read the audit log %s: %s",
				      audit->options.file, strerror(-r));
	}
	take_file(audit, fd, &st, ret_tail);
	return 0;
}

/* The chain goes on behind the last line there is. One that was there when the head was kept and is
 * not any more has a number that is not used again: who verifies sees that it is missing. */
static void join(struct audit *audit, const struct audit_head *kept)
{
	if (audit->head.number == 0)
		audit->head = *kept;
	if (kept->number > audit->head.number) {
		audit->gap = kept->number - audit->head.number;
		audit_say(audit, LOG_CRIT,
			  "the audit log %s ends at number %" PRIu64 ", but number %" PRIu64
			  " was written: what stood behind was cut off",
			  audit->options.file, audit->head.number, kept->number);
	} else if (kept->number == audit->head.number &&
		   memcmp(kept->mac, audit->head.mac, AUDIT_MAC_SIZE) != 0) {
		audit_say(audit, LOG_CRIT,
			  "the last line of the audit log %s is not the one that was written: see "
			  "'dsec audit verify'",
			  audit->options.file);
	}
}

static void cannot(struct audit *audit, const char *why)
{
	snprintf(audit->problem, sizeof(audit->problem), "%.*s", (int)sizeof(audit->problem) - 1,
		 why);
	if (audit->unwritable)
		return;
	audit->unwritable = true;
	audit_say(audit, LOG_CRIT, "%s; %s", audit->problem,
		  audit->options.required
			  ? "no leases are made until it can be written (audit.required)"
			  : "leases are made without it (audit.required is false)");
}

int audit_log_open(struct audit *audit, struct dsec_error *err)
{
	struct audit_head kept;
	struct tail tail = {0};
	struct dsec_error problem;

	int r = audit_head_load(&kept, audit->options.state_folder, err);
	if (r < 0)
		return r;
	if (try_open(audit, &tail, &problem) < 0) {
		tail_finish(&tail);
		if (audit->options.required) {
			if (err)
				*err = problem;
			return -dsec_error_errno(problem.kind);
		}
		cannot(audit, problem.message);
	}
	audit->head = tail.head.number ? tail.head : last_rotated(audit->options.file);
	join(audit, &kept);
	tail_finish(&tail);
	return 0;
}

int audit_reopen(struct audit *audit, const struct audit_options *options, struct dsec_error *err)
{
	struct stat now, st = {0};
	struct tail tail = {0};
	bool same = audit->fd >= 0 && stat(options->file, &now) == 0 &&
		    fstat(audit->fd, &st) == 0 && now.st_dev == st.st_dev &&
		    now.st_ino == st.st_ino;

	if (!same) {
		int fd = open_file(options->file, &st, err);

		if (fd < 0)
			return fd;
		if (read_tail(&tail, fd, (uint64_t)st.st_size) < 0)
			tail = (struct tail){0};
		audit_log_tell_head(audit);
		take_file(audit, fd, &st, &tail);
		tail_finish(&tail);
	}
	if (strcmp(options->file, audit->options.file) != 0) {
		free((char *)audit->options.file);
		audit->options.file = alloc_copy(options->file);
	}
	audit->options.max_size = options->max_size;
	audit->options.keep = options->keep;
	audit->options.required = options->required;
	audit->rotate_at = next_rotation(audit, audit->size);
	return 0;
}

/* Writing. */

/* All of it or, but for a fragment, nothing. */
static int put(struct audit *audit, const char *text, size_t n)
{
	ssize_t done;

	do
		done = write(audit->fd, text, n);
	while (done < 0 && errno == EINTR);
	if (done == (ssize_t)n) {
		audit->size += n;
		return 0;
	}
	int error = done < 0 ? errno : ENOSPC;
	if (done > 0 && ftruncate(audit->fd, (off_t)audit->size) < 0) {
		bool whole = (size_t)done == n - 1;

		audit->size += (size_t)done;
		keep_fragment(&audit->fragment, &audit->n_fragment, text, whole ? 0 : (size_t)done);
		if (whole)
			return 0;
	}
	return -error;
}

static int write_entry(struct audit *audit, json_t *json)
{
	char text[AUDIT_LINE_MAX + AUDIT_SEAL_MAX];
	struct audit_head next = {.number = audit->head.number + audit->gap + 1};

	json_object_set_new(json, "n", json_integer((json_int_t)next.number));
	size_t n = json_dumpb(json, text, AUDIT_LINE_MAX - AUDIT_SEAL_MAX, JSON_COMPACT);
	if (n == 0 || n > AUDIT_LINE_MAX - AUDIT_SEAL_MAX)
		return -EMSGSIZE;
	n = audit_seal(text, n, audit->key, audit->head.mac, next.mac);
	int r = put(audit, text, n);
	if (r < 0)
		return r;
	audit->head = next;
	audit->gap = 0;
	audit->n_lines++;
	return 0;
}

static int write_event(struct audit *audit, const char *event, const char *name, json_t *value,
		       const char *digest)
{
	struct audit_entry entry;

	audit_begin(&entry, audit, event);
	if (name)
		audit_add(&entry, entry.json, name, value);
	audit_add_text(&entry, entry.json, "sha256", digest);
	int r = entry.is_incomplete ? -ENOMEM : write_entry(audit, entry.json);
	json_decref(entry.json);
	return r;
}

static void drop_fragment(struct audit *audit)
{
	free(audit->fragment);
	audit->fragment = NULL;
	audit->n_fragment = 0;
}

static int close_fragment(struct audit *audit)
{
	unsigned char digest[AUDIT_MAC_SIZE];
	char hex[AUDIT_HEX_MAX];
	size_t n = audit->n_fragment;

	/* Once it is closed it stays so, also when the line about it must be tried again. */
	if (n == 0 || audit->fragment[n - 1] != '\n') {
		int r = put(audit, "\n", 1);

		if (r < 0)
			return r;
		keep_fragment(&audit->fragment, &audit->n_fragment, "\n", 1);
		n++;
	}
	if (n == 1) {
		drop_fragment(audit);
		return 0;
	}
	audit_digest(digest, audit->fragment, n - 1);
	audit_hex(hex, digest);
	int r = write_event(audit, "torn", "bytes", json_integer((json_int_t)(n - 1)), hex);
	if (r < 0)
		return r;
	audit_say(audit, LOG_WARNING,
		  "the audit log %s ended within a line, which number %" PRIu64 " closes",
		  audit->options.file, audit->head.number);
	drop_fragment(audit);
	return 0;
}

static int begin_file(struct audit *audit)
{
	char hex[AUDIT_HEX_MAX];

	audit_hex(hex, audit->head.mac);
	return write_event(audit, "continued", "previous", json_string(hex), NULL);
}

static int tell_lost(struct audit *audit)
{
	int r = write_event(audit, "lost", "count", json_integer((json_int_t)audit->n_untold),
			    NULL);
	if (r < 0)
		return r;
	audit_say(audit, LOG_WARNING,
		  "the audit log %s can be written again; %" PRIu64 " lines were lost",
		  audit->options.file, audit->n_untold);
	audit->n_untold = 0;
	return 0;
}

static int tell_gap(struct audit *audit)
{
	return write_event(audit, "gap", "missing", json_integer((json_int_t)audit->gap), NULL);
}

/* Rotation. */

static void remove_old(struct audit *audit)
{
	struct audit_files files;
	size_t own = 0;

	if (audit_files_find(&files, audit->options.file, NULL) < 0)
		return;
	for (size_t i = 0; i < files.n; i++)
		own += audit_files_number(audit->options.file, files.paths[i]) > 0;
	for (size_t i = 0; i < files.n && own > audit->options.keep; i++) {
		uint64_t last = audit_files_number(audit->options.file, files.paths[i]);

		if (last == 0)
			continue;
		own--;
		if (unlink(files.paths[i]) == 0)
			write_event(audit, "removed", "through", json_integer((json_int_t)last),
				    NULL);
	}
	audit_files_finish(&files);
}

/* False: the file that there is has to do. */
static bool rename_file(struct audit *audit)
{
	char to[PATH_MAX];
	struct stat now, st;

	/* Somebody else has rotated it, and the signal is to come. */
	if (stat(audit->options.file, &now) < 0 || fstat(audit->fd, &st) < 0 ||
	    now.st_ino != st.st_ino || now.st_dev != st.st_dev)
		return true;
	snprintf(to, sizeof(to), "%s.to-%" PRIu64, audit->options.file, audit->head.number);
	return rename(audit->options.file, to) == 0;
}

static void rotate(struct audit *audit)
{
	struct dsec_error err = {0};
	struct tail tail = {0};
	struct stat st = {0};
	int fd = -1;

	if (rename_file(audit))
		fd = open_file(audit->options.file, &st, &err);
	else
		dsec_error_set(&err, DSEC_ERROR_FAULT, "cannot rotate the audit log %s: %s",
			       audit->options.file, strerror(errno));
	if (fd < 0) {
		audit->rotate_at = next_rotation(audit, audit->size);
		audit_say(audit, LOG_ERR,
			  "%s; it goes on in the same file: let its folder belong to the worker's "
			  "user, or rotate it by other means",
			  err.message);
		return;
	}
	if (read_tail(&tail, fd, (uint64_t)st.st_size) < 0)
		tail = (struct tail){0};
	audit_log_tell_head(audit);
	take_file(audit, fd, &st, &tail);
	if (audit->size == 0 && begin_file(audit) == 0)
		remove_old(audit);
}

/* What has to stand in front of the next line. */
static int prepare(struct audit *audit)
{
	struct tail tail = {0};
	struct dsec_error err;
	int r = 0;

	if (audit->fd < 0 && try_open(audit, &tail, &err) < 0) {
		tail_finish(&tail);
		cannot(audit, err.message);
		return -ENOENT;
	}
	tail_finish(&tail);
	if (audit->size >= audit->rotate_at && !audit->fragment)
		rotate(audit);
	if (audit->fragment)
		r = close_fragment(audit);
	else if (audit->size == 0 && audit->head.number > 0)
		r = begin_file(audit);
	if (r == 0 && audit->gap > 0)
		r = tell_gap(audit);
	if (r == 0 && audit->n_untold > 0)
		r = tell_lost(audit);
	return r;
}

bool audit_log_write(struct audit *audit, json_t *json)
{
	char why[PATH_MAX + 128];
	int r = prepare(audit);

	if (r == 0)
		r = write_entry(audit, json);
	if (r == 0) {
		audit->unwritable = false;
		return true;
	}
	audit->n_lost++;
	audit->n_untold++;
	snprintf(why, sizeof(why), "the audit log %s cannot be written: %s", audit->options.file,
		 strerror(-r));
	if (audit->fd >= 0)
		cannot(audit, why);
	return false;
}

/* Heads. */

void audit_log_tell_head(struct audit *audit)
{
	char hex[AUDIT_HEX_MAX], problem[DSEC_ERROR_MESSAGE_MAX];

	audit->told_at = audit->options.clock->boottime_at(audit->options.clock);
	if (audit->fd < 0 || audit->head.number == audit->told)
		return;
	audit_hex(hex, audit->head.mac);
	audit_say(audit, LOG_NOTICE, "audit log %s: number %" PRIu64 " has the head %s",
		  audit->options.file, audit->head.number, hex);
	if (!audit->store)
		audit->store = audit_store_start(audit->options.state_folder);
	audit_store_put(audit->store, audit->fd, &audit->head);
	audit->told = audit->head.number;
	audit_store_problem(audit->store, problem);
	if (problem[0])
		audit_say(audit, LOG_ERR, "%s", problem);
}

void audit_log_close(struct audit *audit)
{
	if (audit->opened)
		audit_log_tell_head(audit);
	audit->store = audit_store_stop(audit->store);
	if (audit->fd >= 0)
		close(audit->fd);
	free(audit->fragment);
}
