/*
 * Whatever a server answers, however it is cut into packets, reading it ends and says the same; and
 * what is told of it can be printed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws/answer.h"
#include "aws/classify.h"
#include "lease/secret.h"

#define ARENA_SIZE 4096ul /* less than a field may have */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The shapes of lists: with a name in each member, and with names that are the members. */
static const struct answer_names shapes[] = {
	{NULL, NULL},
	{"AttachedPolicies", "PolicyArn"},
	{"PolicyNames", NULL},
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct dsec_error err;

	return secret_arena_init(ARENA_SIZE, &err);
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct answer *read_in_pieces(const uint8_t *data, size_t size, size_t piece,
				     const struct answer_names *names, struct answer_result *ret)
{
	struct answer *answer = answer_new(names);

	for (size_t at = 0; at < size; at += piece)
		if (!answer_feed(answer, (const char *)data + at,
				 size - at < piece ? size - at : piece))
			break;
	answer_end(answer, ret);
	return answer;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void must_be_same(const struct answer_result *a, const struct answer_result *b)
{
	if (a->no_space || b->no_space) /* for the second, beside the first's secret */
		return;
	must(!a->fault == !b->fault);
	if (a->fault)
		return;
	must(same_text(a->root, b->root) && same_text(a->code, b->code) &&
	     same_text(a->message, b->message) && same_text(a->request_id, b->request_id) &&
	     same_text(a->found.marker, b->found.marker) &&
	     same_text(a->found.access_key_id, b->found.access_key_id));
	must(a->found.n_users == b->found.n_users && a->found.n_names == b->found.n_names);
	must(!a->found.secret_access_key == !b->found.secret_access_key);
	for (size_t i = 0; i < a->found.n_users; i++)
		must(same_text(a->found.users[i].name, b->found.users[i].name) &&
		     same_text(a->found.users[i].path, b->found.users[i].path) &&
		     same_text(a->found.users[i].arn, b->found.users[i].arn));
	for (size_t i = 0; i < a->found.n_names; i++)
		must(same_text(a->found.names[i], b->found.names[i]));
}

/* Is there what must not be told? */
static bool holds_secret(const void *arg, const char *text)
{
	return strstr(text, "SECRET-") != NULL;
}

static void must_be_printable(const char *text)
{
	for (; *text; text++)
		must((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void must_be_told(const struct dsec_error *err)
{
	must_be_printable(err->message);
	must_be_printable(err->code);
	must_be_printable(err->request_id);
	must(!strstr(err->message, "SECRET-") && !strstr(err->code, "SECRET-") &&
	     !strstr(err->request_id, "SECRET-"));
}

/* Every status may come with every body. */
static void classify_all(const struct answer_result *result)
{
	static const long statuses[] = {100, 200, 302, 400, 401, 403, 404,
					405, 408, 409, 429, 500, 501, 503};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		struct outcome outcome = {.curl = CURLE_OK,
					  .curl_text = "",
					  .sent = true,
					  .status = statuses[i],
					  .answer = *result};
		struct dsec_error err = {0};
		int r = classify(&outcome, "Action", holds_secret, NULL, &err);

		must((r == 0) == (statuses[i] == 200 && !result->fault && !*result->code));
		must_be_told(&err);
		bool refused = classify_is_key_refused(result->code);
		must(refused || !classify_may_be_skew(result->code));
		must(!classify_is_unknown_action(&outcome) ||
		     strcmp(result->code, "NoSuchEntity") != 0);
	}
}

/* What came before the connection broke, if it did. */
static void classify_broken(const struct answer_result *result)
{
	static const CURLcode codes[] = {CURLE_OK, CURLE_WRITE_ERROR, CURLE_OPERATION_TIMEDOUT,
					 CURLE_OUT_OF_MEMORY, CURLE_RECV_ERROR};

	for (size_t i = 0; i < 8 * sizeof(codes) / sizeof(codes[0]); i++) {
		struct outcome outcome = {.curl = codes[i / 8],
					  .curl_text = "it broke",
					  .sent = i & 1,
					  .died = i & 2,
					  .too_big = i & 4,
					  .status = 200,
					  .answer = *result};
		struct dsec_error err = {0};
		int r = classify(&outcome, "Action", holds_secret, NULL, &err);

		must(r < 0 || (!outcome.too_big && outcome.curl == CURLE_OK));
		must_be_told(&err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct answer_result whole, cut;
		struct answer *first = read_in_pieces(data, size, size + 1, &shapes[i], &whole);
		struct answer *second = read_in_pieces(data, size, 7, &shapes[i], &cut);

		must_be_same(&whole, &cut);
		classify_all(&whole);
		classify_broken(&whole);
		answer_free(first);
		answer_free(second);
	}
	return 0;
}
