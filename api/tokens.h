/*
 * tokens.h: the bearer tokens by which programs ask over TCP: one config each.
 *
 * A token is "dp.st.CONFIG." and 256 random bits in letters and digits, which is the form of
 * Doppler's service tokens. It is shown once, when it is made; what is kept, in a file of the state
 * folder that its owner alone may read, is its SHA-256 hash. (256 random bits need no salt and no
 * slow hash: nobody guesses them.)
 */
#ifndef DSEC_API_TOKENS_H
#define DSEC_API_TOKENS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/error.h"
#include "lease/list.h"

#define TOKENS_MAX     4096
#define TOKEN_ID_MAX   17 /* 16 hexadecimal digits and the end */
#define TOKEN_HASH     32
#define TOKEN_TEXT_MAX (CATALOG_NAME_MAX + 64)

#define TOKEN_PROCESSES_MAX 4  /* that may hold one token; one more is refused */
#define TOKEN_BOOT_MAX      64 /* of the text that tells one start of the machine from another */

/* A process that holds a token: it is over when none of those that do lives. */
struct token_process {
	pid_t pid; /* 0: none */
	uint64_t start;
};

struct token {
	struct list link;
	char id[TOKEN_ID_MAX];
	char *project, *config;
	unsigned char hash[TOKEN_HASH];
	int64_t created_ms;
	int64_t expires_ms; /* 0: never */
	int64_t used_ms;    /* by this daemon, last; 0: never */
	struct token_process processes[TOKEN_PROCESSES_MAX];
	size_t n_processes;        /* 0: no process holds it, and it goes on without */
	char boot[TOKEN_BOOT_MAX]; /* in which these numbers mean these processes */
	uint64_t number;           /* made of the id; it means this token only, in every process */
};

struct tokens;

/* Reads tokens.json in the state folder; none is an empty one. */
int tokens_open(struct tokens **ret, const char *folder, const struct clock *clock,
		struct dsec_error *err);
struct tokens *tokens_close(struct tokens *tokens); /* NULL-safe */

struct token_wish {
	const char *project, *config;
	int64_t ttl_ms;              /* 0: it does not expire */
	struct token_process holder; /* without whom it is over; pid 0: nobody */
};

/* The caller wipes `text`. */
int tokens_create(struct tokens *tokens, const struct token_wish *wish, char text[TOKEN_TEXT_MAX],
		  const struct token **ret, struct dsec_error *err);
int tokens_revoke(struct tokens *tokens, const char *id, struct dsec_error *err);

/* This process holds it, too. DSEC_ERROR_NOT_CONFIGURED: there is no such token, or it is nobody's
 * to hold. */
int tokens_hold(struct tokens *tokens, const char *id, const struct token_process *process,
		struct dsec_error *err);

/* The token that this text is, or NULL. It takes the same time for every text of one length. */
const struct token *tokens_check(struct tokens *tokens, const char *text, size_t n);

const struct token *tokens_find(const struct tokens *tokens, uint64_t number); /* or NULL */

/* [{"slug":ID,"project":…,"config":…,"created_at":…,"expires_at":…|null,"last_seen_at":…|null,
 *   "processes":[PID…]}], of those that are not over. */
json_t *tokens_list(const struct tokens *tokens);
json_t *token_json(const struct token *token);

#endif
