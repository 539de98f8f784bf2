/*
 * log.h: what dsec has to say to a person: to stderr, or to the system's log once it is in the
 * background.
 *
 * On stderr a line begins with "dsec: ", or with the priority as systemd's journal reads it ("<4>")
 * when stderr is the journal. Every line is one printable line, whatever is put into it.
 */
#ifndef DSEC_CLI_LOG_H
#define DSEC_CLI_LOG_H

#include <syslog.h>

#include "lease/error.h"

/* From now on to syslog(3). */
void log_to_syslog(void);

void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "FRONT: message (AWS: code, request id)"; without the front when `format` is NULL. */
void log_error(int priority, const struct dsec_error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The message with AWS's code and request id, where there are any. */
#define ERROR_TEXT_MAX                                                                             \
	(DSEC_ERROR_MESSAGE_MAX + DSEC_ERROR_CODE_MAX + DSEC_ERROR_REQUEST_ID_MAX + 32)
void log_error_text(char to[ERROR_TEXT_MAX], const struct dsec_error *err);

#endif
