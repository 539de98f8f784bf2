/*
 * answer.h: an IAM or STS answer, read as it comes in.
 *
 * The parser is fed whatever a server sends, so nothing in it is believed: a document type is
 * refused (and with it every entity), depth and the length of a field are bounded, and namespaces,
 * their prefixes and CDATA make no difference. Elements are known by their own name and their
 * parents', wherever they stand, because AWS, moto and Ceph nest them differently. A secret access
 * key goes from expat's buffer, which is wiped, straight into a struct secret.
 */
#ifndef DSEC_AWS_ANSWER_H
#define DSEC_AWS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "lease/error.h"
#include "lease/provider.h"

#define ANSWER_DEPTH_MAX 32
#define ANSWER_FIELD_MAX 8192u /* AWS's longest that we read is a Marker, of some hundred bytes */

/* Where the names stand that an operation asks for. */
struct answer_names {
	const char
		*list; /* the element whose <member>s are the entries; NULL: none are asked for */
	const char *leaf; /* the element in each <member> that is its name; NULL: its own text is */
};

/* What came; all of it belongs to the answer. */
struct answer_result {
	const char *fault; /* why it is no answer ("is no XML"), for "the answer …"; NULL: it is one
			    */
	bool no_space;     /* a secret found no room; `fault` is set too */
	const char *root; /* the outermost element, "" when there was none */
	/* Of an <Error>; "" where there was none. */
	const char *code, *message;
	const char *request_id; /* "" where there was none */
	struct provider_answer found;
};

struct answer;

/* `names` is borrowed as long as the answer lives. */
struct answer *answer_new(const struct answer_names *names);
struct answer *answer_free(struct answer *answer); /* NULL-safe; returns NULL */

/* The next n bytes. False: no sense in reading on. */
bool answer_feed(struct answer *answer, const char *bytes, size_t n);

/* The end has come; what stands in *ret lives until answer_free. */
void answer_end(struct answer *answer, struct answer_result *ret);

static inline void answer_freep(struct answer **answer)
{
	answer_free(*answer);
}
#define _cleanup_answer_ __attribute__((cleanup(answer_freep)))

#endif
