#include "api/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/secret.h"
#include "lease/who.h"

#define FILE_SIZE_MAX   (4096 + TOKENS_MAX * 1024)
#define TOKEN_RANDOM    43 /* digits of base 62: 256 bits */
#define TOKEN_BEGINNING "dp.st."
#define BASE            62
#define FAIR_MAX        (256 / BASE * BASE) /* from here on a byte would favour the first digits */

struct tokens {
	const struct clock *clock;
	char *folder, *file, *next; /* the next version is written under another name */
	struct list all;
	size_t n;
	char boot[TOKEN_BOOT_MAX]; /* this one */
};

/* "": this machine does not tell, and numbers of processes are all there is. */
static void read_boot(char to[TOKEN_BOOT_MAX])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, to, TOKEN_BOOT_MAX - 1);

	if (fd >= 0)
		close(fd);
	to[n > 0 ? n : 0] = '\0';
	to[strcspn(to, "\n")] = '\0';
}

static void token_free(struct token *token)
{
	list_remove(&token->link);
	free(token->project);
	free(token->config);
	free(token);
}

static struct token *token_add(struct tokens *tokens, const char *project, const char *config)
{
	struct token *token = alloc_zeroed(1, sizeof(*token));

	token->project = alloc_copy(project);
	token->config = alloc_copy(config);
	list_init(&token->link);
	list_append(&tokens->all, &token->link);
	tokens->n++;
	return token;
}

static void put_hex(char *to, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

static bool read_hex(unsigned char *to, const char *text, size_t n)
{
	if (!text || strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char digits[] = {text[2 * i], text[2 * i + 1], '\0'};

		to[i] = (unsigned char)strtoul(digits, NULL, 16);
	}
	return true;
}

/* The file. */

/* The same in every process that serves a mount, whatever other tokens there are: a holder is known
 * by it. */
static uint64_t number_of(const struct token *token)
{
	return (strtoull(token->id, NULL, 16) >> 9) + 1;
}

/* [[PID, START]…], or nothing. */
static bool read_processes(struct token *token, const char *boot, const json_t *json)
{
	size_t i;
	const json_t *process;

	if (json_array_size(json) > TOKEN_PROCESSES_MAX)
		return false;
	json_array_foreach(json, i, process)
	{
		token->processes[token->n_processes++] = (struct token_process){
			.pid = (pid_t)json_integer_value(json_array_get(process, 0)),
			.start = (uint64_t)json_integer_value(json_array_get(process, 1)),
		};
	}
	snprintf(token->boot, sizeof(token->boot), "%s", boot ? boot : "");
	return true;
}

static bool read_token(struct tokens *tokens, json_t *json)
{
	const char *id, *project, *config, *hash, *boot = NULL;
	json_int_t created, expires;
	const json_t *processes = NULL;
	unsigned char bytes[TOKEN_HASH];

	if (json_unpack(json, "{s:s,s:s,s:s,s:s,s:I,s:I,s?s,s?o!}", "id", &id, "project", &project,
			"config", &config, "sha256", &hash, "created", &created, "expires",
			&expires, "boot", &boot, "processes", &processes) < 0 ||
	    strlen(id) != TOKEN_ID_MAX - 1 || !read_hex(bytes, hash, TOKEN_HASH) ||
	    tokens->n >= TOKENS_MAX)
		return false;

	struct token *token = token_add(tokens, project, config);

	memcpy(token->id, id, TOKEN_ID_MAX);
	token->number = number_of(token);
	memcpy(token->hash, bytes, TOKEN_HASH);
	token->created_ms = created;
	token->expires_ms = expires;
	return read_processes(token, boot, processes);
}

static int read_tokens(struct tokens *tokens, struct dsec_error *err)
{
	struct stat st;
	json_error_t where;

	if (stat(tokens->file, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", tokens->file,
				      strerror(errno));
	}
	json_t *root = st.st_size <= FILE_SIZE_MAX ? json_load_file(tokens->file, 0, &where) : NULL;
	bool fine = json_is_array(root);
	size_t i;
	json_t *token;

	json_array_foreach(root, i, token) fine = fine && read_token(tokens, token);
	json_decref(root);
	if (fine)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_FAULT,
			      "%s is not what dsec has written there: move it away, and make the "
			      "tokens anew",
			      tokens->file);
}

static json_t *written(const struct token *token)
{
	char hash[2 * TOKEN_HASH + 1];

	put_hex(hash, token->hash, TOKEN_HASH);
	json_t *json =
		json_pack("{s:s,s:s,s:s,s:s,s:I,s:I}", "id", token->id, "project", token->project,
			  "config", token->config, "sha256", hash, "created",
			  (json_int_t)token->created_ms, "expires", (json_int_t)token->expires_ms);
	if (token->n_processes == 0)
		return json; /* as versions have it that know no others */
	json_t *processes = json_array();
	for (size_t i = 0; i < token->n_processes; i++)
		json_array_append_new(processes,
				      json_pack("[I,I]", (json_int_t)token->processes[i].pid,
						(json_int_t)token->processes[i].start));
	json_object_set_new(json, "processes", processes);
	json_object_set_new(json, "boot", json_string(token->boot));
	return json;
}

static int write_whole(const char *file, json_t *root)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	int r = json_dumpfd(root, fd, JSON_INDENT(1)) < 0 || fsync(fd) < 0 ? -errno : 0;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

/* The new name is durable when the folder is. */
static int settle(const struct tokens *tokens)
{
	if (rename(tokens->next, tokens->file) < 0)
		return -errno;
	int fd = open(tokens->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int save(const struct tokens *tokens, struct dsec_error *err)
{
	json_t *root = json_array();

	list_each (at, &tokens->all)
		json_array_append_new(root, written(container_of(at, struct token, link)));
	int r = write_whole(tokens->next, root);
	if (r == 0)
		r = settle(tokens);
	json_decref(root);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "%s cannot be written: %s",
				      tokens->file, strerror(-r));
	return 0;
}

/* Making. */

static void put_random(const struct clock *clock, char *to, size_t n)
{
	static const char digits[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	while (n > 0) {
		unsigned char byte;

		clock->random_bytes(clock, &byte, 1);
		if (byte >= FAIR_MAX)
			continue;
		*to++ = digits[byte % BASE];
		n--;
	}
	*to = '\0';
}

static bool hash_text(unsigned char to[TOKEN_HASH], const char *text, size_t n)
{
	unsigned size = 0;

	return EVP_Digest(text, n, to, &size, EVP_sha256(), NULL) == 1 && size == TOKEN_HASH;
}

static bool is_held(const struct tokens *tokens, const struct token *token)
{
	bool held = token->n_processes == 0;

	if (strcmp(token->boot, tokens->boot) != 0 && !held)
		return false;
	for (size_t i = 0; i < token->n_processes && !held; i++)
		held = who_lives(token->processes[i].pid, token->processes[i].start);
	return held;
}

static bool is_over(const struct tokens *tokens, const struct token *token, int64_t now_ms)
{
	return (token->expires_ms != 0 && now_ms >= token->expires_ms) || !is_held(tokens, token);
}

/* The file follows with what is written next. */
static void drop_expired(struct tokens *tokens)
{
	int64_t now_ms = tokens->clock->calendar_ms(tokens->clock);

	list_each (at, &tokens->all) {
		struct token *token = container_of(at, struct token, link);

		if (!is_over(tokens, token, now_ms))
			continue;
		tokens->n--;
		token_free(token);
	}
}

static void add_process(const struct tokens *tokens, struct token *token,
			const struct token_process *process)
{
	token->processes[token->n_processes++] = *process;
	memcpy(token->boot, tokens->boot, sizeof(token->boot));
}

int tokens_create(struct tokens *tokens, const struct token_wish *wish, char text[TOKEN_TEXT_MAX],
		  const struct token **ret, struct dsec_error *err)
{
	unsigned char id[(TOKEN_ID_MAX - 1) / 2];

	drop_expired(tokens);
	if (tokens->n >= TOKENS_MAX)
		return dsec_error_set(err, DSEC_ERROR_QUOTA,
				      "there are %d tokens already: revoke what is not needed",
				      TOKENS_MAX);
	int n = snprintf(text, TOKEN_TEXT_MAX, TOKEN_BEGINNING "%s.", wish->config);
	put_random(tokens->clock, text + n, TOKEN_RANDOM);

	struct token *token = token_add(tokens, wish->project, wish->config);
	tokens->clock->random_bytes(tokens->clock, id, sizeof(id));
	put_hex(token->id, id, sizeof(id));
	token->number = number_of(token);
	token->created_ms = tokens->clock->calendar_ms(tokens->clock);
	token->expires_ms = wish->ttl_ms ? token->created_ms + wish->ttl_ms : 0;
	if (wish->holder.pid)
		add_process(tokens, token, &wish->holder);
	int r = hash_text(token->hash, text, strlen(text))
			? save(tokens, err)
			: dsec_error_set(err, DSEC_ERROR_FAULT, "SHA-256 does not work here");
	if (r < 0) {
		tokens->n--;
		token_free(token);
		return r;
	}
	*ret = token;
	return 0;
}

static struct token *find(const struct tokens *tokens, const char *id)
{
	list_each (at, &tokens->all) {
		struct token *token = container_of(at, struct token, link);

		if (strcmp(token->id, id) == 0)
			return token;
	}
	return NULL;
}

int tokens_revoke(struct tokens *tokens, const char *id, struct dsec_error *err)
{
	struct token *token = find(tokens, id);

	if (!token)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "there is no token %.64s: 'dsec tokens list' lists them", id);
	/* It is refused from now on, whether or not the disk takes it. */
	list_remove(&token->link);
	tokens->n--;
	int r = save(tokens, err);
	token_free(token);
	return r;
}

static void drop_dead(struct token *token)
{
	size_t n = 0;

	for (size_t i = 0; i < token->n_processes; i++)
		if (who_lives(token->processes[i].pid, token->processes[i].start))
			token->processes[n++] = token->processes[i];
	token->n_processes = n;
}

int tokens_hold(struct tokens *tokens, const char *id, const struct token_process *process,
		struct dsec_error *err)
{
	struct token *token = find(tokens, id);

	if (!token || token->n_processes == 0 ||
	    is_over(tokens, token, tokens->clock->calendar_ms(tokens->clock)))
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "there is no token %.64s that a process holds", id);
	for (size_t i = 0; i < token->n_processes; i++)
		if (token->processes[i].pid == process->pid &&
		    token->processes[i].start == process->start)
			return 0;
	if (token->n_processes == TOKEN_PROCESSES_MAX)
		drop_dead(token);
	if (token->n_processes == TOKEN_PROCESSES_MAX)
		return dsec_error_set(err, DSEC_ERROR_QUOTA,
				      "%d processes hold the token %.64s already",
				      TOKEN_PROCESSES_MAX, id);
	add_process(tokens, token, process);
	return save(tokens, err);
}

/* Using. */

const struct token *tokens_check(struct tokens *tokens, const char *text, size_t n)
{
	int64_t now_ms = tokens->clock->calendar_ms(tokens->clock);
	unsigned char hash[TOKEN_HASH];
	struct token *found = NULL;

	if (!hash_text(hash, text, n))
		return NULL;
	list_each (at, &tokens->all) {
		struct token *token = container_of(at, struct token, link);

		if (CRYPTO_memcmp(hash, token->hash, TOKEN_HASH) == 0)
			found = token;
	}
	if (!found || is_over(tokens, found, now_ms))
		return NULL;
	found->used_ms = now_ms;
	return found;
}

const struct token *tokens_find(const struct tokens *tokens, uint64_t number)
{
	list_each (at, &tokens->all) {
		const struct token *token = container_of(at, struct token, link);

		if (token->number == number)
			return token;
	}
	return NULL;
}

static json_t *json_time(int64_t ms)
{
	char text[CLOCK_ISO_MAX];

	if (ms == 0)
		return json_null();
	clock_iso(text, ms);
	return json_string(text);
}

json_t *token_json(const struct token *token)
{
	json_t *processes = json_array();

	for (size_t i = 0; i < token->n_processes; i++)
		json_array_append_new(processes, json_integer(token->processes[i].pid));
	return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "slug", token->id, "project",
			 token->project, "config", token->config, "created_at",
			 json_time(token->created_ms), "expires_at", json_time(token->expires_ms),
			 "last_seen_at", json_time(token->used_ms), "processes", processes);
}

json_t *tokens_list(const struct tokens *tokens)
{
	int64_t now_ms = tokens->clock->calendar_ms(tokens->clock);
	json_t *list = json_array();

	list_each (at, &tokens->all) {
		const struct token *token = container_of(at, struct token, link);

		if (!is_over(tokens, token, now_ms))
			json_array_append_new(list, token_json(token));
	}
	return list;
}

static char *joined(const char *folder, const char *name)
{
	size_t size = strlen(folder) + strlen(name) + 2;
	char *path = alloc_zeroed(size, 1);

	snprintf(path, size, "%s/%s", folder, name);
	return path;
}

int tokens_open(struct tokens **ret, const char *folder, const struct clock *clock,
		struct dsec_error *err)
{
	struct tokens *tokens = alloc_zeroed(1, sizeof(*tokens));

	tokens->clock = clock;
	tokens->folder = alloc_copy(folder);
	tokens->file = joined(folder, "tokens.json");
	tokens->next = joined(folder, "tokens.json.next");
	list_init(&tokens->all);
	read_boot(tokens->boot);
	int r = read_tokens(tokens, err);
	if (r < 0)
		tokens_close(tokens);
	else
		*ret = tokens;
	return r;
}

struct tokens *tokens_close(struct tokens *tokens)
{
	if (!tokens)
		return NULL;
	list_each (at, &tokens->all)
		token_free(container_of(at, struct token, link));
	free(tokens->folder);
	free(tokens->file);
	free(tokens->next);
	free(tokens);
	return NULL;
}
