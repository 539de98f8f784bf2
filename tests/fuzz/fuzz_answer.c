/*
 * Whatever a server answers, however it is cut into packets, reading it ends and says the same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws/answer.h"
#include "lease/secret.h"

#define ARENA_SIZE (1024u * 1024u)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct dsec_error err;

	return secret_arena_init(ARENA_SIZE, &err);
}

static const struct answer_names users = {.list = "Users", .leaf = "UserName"};

/* Whether it is an answer at all. */
static bool read_in_pieces(const uint8_t *data, size_t size, size_t piece)
{
	struct answer *answer = answer_new(&users);
	struct answer_result result;

	if (!answer)
		abort();
	for (size_t at = 0; at < size; at += piece)
		if (!answer_feed(answer, (const char *)data + at,
				 size - at < piece ? size - at : piece))
			break;
	answer_end(answer, &result);
	bool good = !result.fault;
	if (good && (strlen(result.code) > ANSWER_FIELD_MAX || !result.root[0]))
		abort();
	answer_free(answer);
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (read_in_pieces(data, size, size ? size : 1) != read_in_pieces(data, size, 7))
		abort();
	return 0;
}
