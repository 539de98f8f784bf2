/*
 * sigv4.h: AWS Signature Version 4, from the verifier's side.
 *
 * Written from Amazon's description and with OpenSSL's hashes alone, so that it shares nothing with
 * the clients that are tested against it. The signature is computed over the bytes that came.
 */
#ifndef DSEC_TESTS_IAM_SIGV4_H
#define DSEC_TESTS_IAM_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGV4_CLOCK_TOLERANCE_MS (5LL * 60 * 1000)
#define SIGV4_FIELD_MAX          128
#define SIGV4_SIGNATURE_SIZE     65 /* 64 hexadecimal digits and a NUL */
#define SIGV4_REASON_MAX         512

struct header {
	const char *name; /* lower case */
	const char *value;
};

/* A request as it came from the wire; all borrowed. */
struct sigv4_request {
	const char *method;
	const char *target; /* as in the request line: path and query */
	const struct header *headers;
	size_t n_headers;
	const char *body;
	size_t body_size;
};

/* What the Authorization and X-Amz-Date headers claim. */
struct sigv4 {
	char key_id[SIGV4_FIELD_MAX];
	char date[SIGV4_FIELD_MAX]; /* the credential scope's: YYYYMMDD */
	char region[SIGV4_FIELD_MAX];
	char service[SIGV4_FIELD_MAX];
	char signed_headers[1024]; /* "content-type;host;x-amz-date" */
	char signature[SIGV4_FIELD_MAX];
	char amz_date[SIGV4_FIELD_MAX]; /* YYYYMMDD'T'HHMMSS'Z' */
};

enum sigv4_verdict {
	SIGV4_OK,
	SIGV4_MISSING,    /* no Authorization header: MissingAuthenticationToken */
	SIGV4_INCOMPLETE, /* one that cannot be read: IncompleteSignature */
	SIGV4_MISMATCH,   /* SignatureDoesNotMatch */
};

/* The value of a header, by its lower-case name; NULL: not there. */
const char *sigv4_header(const struct sigv4_request *request, const char *name);

/* Reads the claim. On anything but OK `reason` (SIGV4_REASON_MAX bytes) has AWS's message. */
enum sigv4_verdict sigv4_parse(const struct sigv4_request *request, struct sigv4 *ret,
			       char *reason);

/* Verifies a claim that was read from this request: the headers that must be signed, the scope, the
 * clock (`now_ms` is the server's idea of it) and the signature itself. */
enum sigv4_verdict sigv4_verify(const struct sigv4_request *request, const struct sigv4 *claim,
				const char *secret, const char *region, const char *service,
				int64_t now_ms, char *reason);

/* The signature that the claim should have had. */
void sigv4_sign(const struct sigv4_request *request, const struct sigv4 *claim, const char *secret,
		char ret_signature[SIGV4_SIGNATURE_SIZE]);

#endif
