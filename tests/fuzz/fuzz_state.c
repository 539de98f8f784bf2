/*
 * Any bytes as the small files of the state folder, which belong to the worker, and which root's
 * commands read, too: each is what was written there, or refused with a sentence.
 *
 * The first byte says which of them the rest is; from 0x80 on there is none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tokens.h"
#include "lease/audit_chain.h"
#include "lease/identity.h"
#include "lease/secret.h"

#define ARENA_SIZE 4096ul

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

/* Unlike assert(3), also in builds without assertions. */
static void check(bool holds)
{
	if (!holds)
		abort();
}

static const char *path_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void remove_all(void)
{
	DIR *dir = opendir(folder);

	check(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (*entry->d_name != '.')
			unlink(path_of(entry->d_name));
	closedir(dir);
}

static void remove_folder(void)
{
	remove_all();
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	snprintf(folder, sizeof(folder), "%s/dsec-fuzz-state-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	check(mkdtemp(folder) && secret_arena_init(ARENA_SIZE, NULL) == 0);
	atexit(remove_folder);
	return 0;
}

static void tokens(void)
{
	const struct token_wish wish = {.project = "app", .config = "dev", .ttl_ms = 60000};
	struct tokens *tokens = NULL, *again = NULL;
	const struct token *token;
	char text[TOKEN_TEXT_MAX];
	struct dsec_error err = {0};

	if (tokens_open(&tokens, folder, &system_clock, &err) < 0) {
		check(*err.message);
		return;
	}
	json_t *list = tokens_list(tokens);
	check(json_array_size(list) <= TOKENS_MAX);
	json_decref(list);
	/* What was taken is kept, with one more. */
	if (tokens_create(tokens, &wish, text, &token, &err) == 0) {
		check(tokens_open(&again, folder, &system_clock, NULL) == 0);
		check(tokens_check(again, text, strlen(text)));
		check(tokens_find(again, token->number));
		tokens_close(again);
		check(tokens_revoke(tokens, token->id, NULL) == 0);
	}
	tokens_check(tokens, "x", 1);
	check(!tokens_find(tokens, 0));
	tokens_close(tokens);
}

static void audit_head(void)
{
	struct audit_head head = {0}, again = {0};
	struct dsec_error err = {0};

	if (audit_head_load(&head, folder, &err) < 0) {
		check(*err.message);
		return;
	}
	check(audit_head_store(&head, folder, NULL) == 0);
	check(audit_head_load(&again, folder, NULL) == 0 && again.number == head.number &&
	      memcmp(again.mac, head.mac, AUDIT_MAC_SIZE) == 0);
}

static void audit_key(void)
{
	struct secret *key = NULL;
	struct dsec_error err = {0};

	if (audit_key_make(&key, folder, &system_clock, &err) < 0)
		check(*err.message);
	else
		check(secret_size(key) == AUDIT_MAC_SIZE);
	secret_unref(key);
}

static void daemon_id(void)
{
	char id[DAEMON_ID_MAX] = "", again[DAEMON_ID_MAX] = "";
	struct dsec_error err = {0};

	if (identity_load(id, folder, &system_clock, &err) < 0) {
		check(*err.message);
		return;
	}
	check(strspn(id, "0123456789abcdef") == DAEMON_ID_MAX - 1);
	check(identity_load(again, folder, &system_clock, NULL) == 0 && strcmp(id, again) == 0);
}

static const struct {
	const char *file;
	void (*read)(void);
} kinds[] = {
	{"tokens.json", tokens},
	{AUDIT_HEAD_FILE, audit_head},
	{AUDIT_KEY_FILE, audit_key},
	{"daemon.salt", daemon_id},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t kind = (size > 0 ? data[0] : 0) % (sizeof(kinds) / sizeof(kinds[0]));

	remove_all();
	if (size > 0 && data[0] < 0x80) {
		int fd = open(path_of(kinds[kind].file), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		check(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
		close(fd);
	}
	kinds[kind].read();
	check(secret_arena_used() == 0);
	return 0;
}
