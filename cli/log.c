#include "cli/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/progress.h"

#define LINE_MAX_BYTES 2048

static bool use_syslog;

void log_to_syslog(void)
{
	openlog("dsec", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	use_syslog = true;
}

/* systemd sets JOURNAL_STREAM to the device and inode of the socket it gave; a child that was given
 * another stderr inherits the variable all the same, so the numbers decide. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

static void write_line(int priority, const char *text)
{
	char line[LINE_MAX_BYTES];

	dsec_print_safely(line, sizeof(line), text);
	if (use_syslog) {
		syslog(priority, "%s", line);
		return;
	}
	progress_clear();
	if (stderr_is_journal())
		fprintf(stderr, "<%d>%s\n", priority, line);
	else
		fprintf(stderr, "dsec: %s\n", line);
}

void log_line(int priority, const char *format, ...)
{
	char text[LINE_MAX_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_line(priority, text);
}

void log_error_text(char to[ERROR_TEXT_MAX], const struct dsec_error *err)
{
	if (!err->code[0] && !err->request_id[0])
		snprintf(to, ERROR_TEXT_MAX, "%s", err->message);
	else
		snprintf(to, ERROR_TEXT_MAX, "%s (AWS: %s%s%s)", err->message,
			 err->code[0] ? err->code : "no code",
			 err->request_id[0] ? ", request " : "", err->request_id);
}

void log_error(int priority, const struct dsec_error *err, const char *format, ...)
{
	char front[512] = "", reason[ERROR_TEXT_MAX];
	va_list args;

	if (format) {
		va_start(args, format);
		vsnprintf(front, sizeof(front), format, args);
		va_end(args);
	}
	log_error_text(reason, err);
	log_line(priority, "%s%s%s", front, front[0] ? ": " : "", reason);
}
