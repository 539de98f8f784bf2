/*
 * error.h: what went wrong, in a form that a reader, an operator and the engine can each use.
 *
 * A function that can fail takes a `struct dsec_error *` as its last argument and returns 0 or a
 * negative errno. The error is set only on failure, and each layer that knows more wraps it once.
 * The struct owns nothing, lives on the stack and is copied by assignment.
 */
#ifndef DSEC_LEASE_ERROR_H
#define DSEC_LEASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#define DSEC_ERROR_MESSAGE_MAX    512
#define DSEC_ERROR_CODE_MAX       64
#define DSEC_ERROR_REQUEST_ID_MAX 64

enum dsec_error_kind {
	/* Kinds that a reader can meet; the table in error.c maps each to the contract's errno. */
	DSEC_ERROR_FAULT,          /* EIO: anything that has no kind of its own */
	DSEC_ERROR_NOT_CONFIGURED, /* ENOENT: no such project, config, secret or key */
	DSEC_ERROR_NOT_ALLOWED,    /* EACCES */
	DSEC_ERROR_TIMEOUT,        /* ETIMEDOUT: no answer within the deadline */
	DSEC_ERROR_THROTTLED, /* EAGAIN: AWS's throttling or our own max_rate, past the deadline */
	DSEC_ERROR_UNREACHABLE, /* EHOSTUNREACH: no connection, no name, TLS refused */
	DSEC_ERROR_QUOTA,       /* EDQUOT: IAM's LimitExceeded, or max_leases */
	DSEC_ERROR_CREDENTIALS, /* EKEYREJECTED: the integration's own credentials are refused */
	DSEC_ERROR_INTERRUPTED, /* EINTR */
	DSEC_ERROR_NO_SPACE, /* ENOSPC: the journal cannot be written, or secret memory is full */

	/* Kinds that a provider answers and the engine resolves; a reader sees EIO if one gets out.
	 */
	DSEC_ERROR_NO_SUCH_ENTITY, /* NoSuchEntity */
	DSEC_ERROR_EXISTS,         /* EntityAlreadyExists */
	DSEC_ERROR_CONFLICT,       /* DeleteConflict: something is still attached to the user */
	DSEC_ERROR_BUSY, /* ConcurrentModification, EntityTemporarilyUnmodifiable, 5xx: try again */
	DSEC_ERROR_DENIED,  /* AccessDenied: the integration's policy lacks this action */
	DSEC_ERROR_INVALID, /* MalformedPolicyDocument, InvalidInput, a bad configuration: never
			       retry */
	DSEC_ERROR_KEY_NOT_READY, /* VERIFY_KEY: AWS does not know the new key yet */
	DSEC_ERROR_CLOCK_SKEW,    /* the local clock is hours from AWS's, which is not mended */
};

struct dsec_error {
	enum dsec_error_kind kind;
	/* The call may have taken effect although no good answer came (timeout, dropped connection,
	 * 5xx, an answer that is no XML): resolve it by looking, never by guessing. */
	bool ambiguous;
	char message[DSEC_ERROR_MESSAGE_MAX];       /* one sentence, printable, without a secret */
	char code[DSEC_ERROR_CODE_MAX];             /* AWS's error code, or "" */
	char request_id[DSEC_ERROR_REQUEST_ID_MAX]; /* AWS's request id, or "" */
};

/* Sets *err (which may be NULL) and returns the kind's errno, negative, so that
 * `return dsec_error_set(err, KIND, "…", …);` is how a function fails. Bytes outside printable
 * ASCII and UTF-8 in the formatted text are written as \xNN. */
int dsec_error_set(struct dsec_error *err, enum dsec_error_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "format: " in front of the message; kind, code and request id stay. A NULL err is ignored.
 */
void dsec_error_wrap(struct dsec_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The positive errno that a reader gets for this kind. */
int dsec_error_errno(enum dsec_error_kind kind);

/* The kind's stable name for logs, metrics and JSON, such as "throttled". */
const char *dsec_error_kind_name(enum dsec_error_kind kind);

/* Copies `text` into `to` (size bytes, always terminated, cut on a character's border), with every
 * byte that a terminal or a log could misread (controls, invalid UTF-8) written as \xNN. */
void dsec_print_safely(char *to, unsigned long size, const char *text);

#endif
