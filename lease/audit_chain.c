#include "lease/audit_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/state_folder.h"

#define SEAL_FRONT ",\"mac\":\""
#define SEAL_END   "\"}"

#define STATE_FILE_MAX 256 /* bytes of the key's and the head's file */

/* Hexadecimal. */

void audit_hex(char to[AUDIT_HEX_MAX], const unsigned char mac[AUDIT_MAC_SIZE])
{
	for (size_t i = 0; i < AUDIT_MAC_SIZE; i++)
		snprintf(to + 2 * i, 3, "%02x", mac[i]);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower case alone: a MAC has one spelling, or a changed letter would go unseen. */
bool audit_unhex(unsigned char to[AUDIT_MAC_SIZE], const char *hex, size_t n)
{
	if (n != (size_t)2 * AUDIT_MAC_SIZE)
		return false;
	for (size_t i = 0; i < AUDIT_MAC_SIZE; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* The state folder's files. */

/* Beside its name first, so that a crash leaves the old one or the new one. */
static int write_file(const char *folder, const char *name, const char *text,
		      struct dsec_error *err)
{
	char new_name[32];
	size_t n = strlen(text);
	int folder_fd = state_folder_open(folder, err), r = 0;

	if (folder_fd < 0)
		return folder_fd;
	snprintf(new_name, sizeof(new_name), "%s.new", name);
	int fd = openat(folder_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n || fsync(fd) < 0 ||
	    renameat(folder_fd, new_name, folder_fd, name) < 0)
		r = dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s/%s: %s", folder, name,
				   strerror(errno));
	else
		r = state_folder_sync(folder_fd, folder, err);
	if (fd >= 0)
		close(fd);
	close(folder_fd);
	return r;
}

/* -ENOENT without an error set: there is none. */
static int read_file(const char *folder, const char *name, char to[STATE_FILE_MAX],
		     struct dsec_error *err)
{
	char path[4096 + 32];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	ssize_t n = fd < 0 ? -1 : read(fd, to, STATE_FILE_MAX - 1);
	int error = errno;
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s: %s", path,
				      strerror(error));
	to[n] = '\0';
	return 0;
}

static int broken(const char *folder, const char *name, struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      "%s/%s is damaged: restore it from a backup, or move it away with "
			      "the audit log that belongs to it, so that both begin anew",
			      folder, name);
}

static int load_key(struct secret **ret, const char *folder, struct dsec_error *err)
{
	char text[STATE_FILE_MAX];
	unsigned char key[AUDIT_MAC_SIZE];
	int r = read_file(folder, AUDIT_KEY_FILE, text, err);

	if (r < 0)
		return r;
	if (audit_unhex(key, text, strcspn(text, "\n")))
		r = secret_new(ret, key, sizeof(key), err);
	else
		r = broken(folder, AUDIT_KEY_FILE, err);
	secret_wipe(text, sizeof(text));
	secret_wipe(key, sizeof(key));
	return r;
}

int audit_key_load(struct secret **ret, const char *state_folder, struct dsec_error *err)
{
	int r = load_key(ret, state_folder, err);

	if (r == -ENOENT)
		dsec_error_set(err, DSEC_ERROR_FAULT,
			       "there is no key of an audit log in %s: --state names the folder of "
			       "the daemon that wrote it",
			       state_folder);
	return r;
}

int audit_key_make(struct secret **ret, const char *state_folder, const struct clock *clock,
		   struct dsec_error *err)
{
	unsigned char key[AUDIT_MAC_SIZE];
	char text[AUDIT_HEX_MAX + 1];
	int r = load_key(ret, state_folder, err);

	if (r != -ENOENT)
		return r;
	clock->random_bytes(clock, key, sizeof(key));
	audit_hex(text, key);
	text[AUDIT_HEX_MAX - 1] = '\n';
	text[AUDIT_HEX_MAX] = '\0';
	r = write_file(state_folder, AUDIT_KEY_FILE, text, err);
	if (r == 0)
		r = secret_new(ret, key, sizeof(key), err);
	secret_wipe(text, sizeof(text));
	secret_wipe(key, sizeof(key));
	return r;
}

int audit_head_load(struct audit_head *ret, const char *state_folder, struct dsec_error *err)
{
	char text[STATE_FILE_MAX], *end;
	struct audit_head head = {0};
	int r = read_file(state_folder, AUDIT_HEAD_FILE, text, err);

	if (r == -ENOENT) {
		*ret = head;
		return 0;
	}
	if (r < 0)
		return r;
	head.number = strtoull(text, &end, 10);
	if (end == text || *end != ' ' || !audit_unhex(head.mac, end + 1, strcspn(end + 1, "\n")))
		return broken(state_folder, AUDIT_HEAD_FILE, err);
	*ret = head;
	return 0;
}

int audit_head_store(const struct audit_head *head, const char *state_folder,
		     struct dsec_error *err)
{
	char hex[AUDIT_HEX_MAX], text[STATE_FILE_MAX];

	audit_hex(hex, head->mac);
	snprintf(text, sizeof(text), "%" PRIu64 " %s\n", head->number, hex);
	return write_file(state_folder, AUDIT_HEAD_FILE, text, err);
}

/* MACs. */

void audit_mac(unsigned char to[AUDIT_MAC_SIZE], const struct secret *key,
	       const unsigned char previous[AUDIT_MAC_SIZE], const char *text, size_t n)
{
	unsigned char bytes[AUDIT_MAC_SIZE], whole[AUDIT_MAC_SIZE + AUDIT_LINE_MAX];
	unsigned size = AUDIT_MAC_SIZE;

	if (n > AUDIT_LINE_MAX)
		n = AUDIT_LINE_MAX;
	memcpy(whole, previous, AUDIT_MAC_SIZE);
	memcpy(whole + AUDIT_MAC_SIZE, text, n);
	secret_copy(key, 0, bytes, sizeof(bytes));
	if (!HMAC(EVP_sha256(), bytes, sizeof(bytes), whole, AUDIT_MAC_SIZE + n, to, &size))
		abort(); /* memory is short: see alloc.h */
	secret_wipe(bytes, sizeof(bytes));
}

void audit_digest(unsigned char to[AUDIT_MAC_SIZE], const char *bytes, size_t n)
{
	if (EVP_Digest(bytes, n, to, NULL, EVP_sha256(), NULL) != 1)
		abort(); /* memory is short */
}

size_t audit_seal(char *text, size_t n, const struct secret *key,
		  const unsigned char previous[AUDIT_MAC_SIZE],
		  unsigned char ret_mac[AUDIT_MAC_SIZE])
{
	char hex[AUDIT_HEX_MAX];

	n--; /* the closing brace */
	audit_mac(ret_mac, key, previous, text, n);
	audit_hex(hex, ret_mac);
	return n + (size_t)snprintf(text + n, AUDIT_SEAL_MAX, SEAL_FRONT "%s" SEAL_END "\n", hex);
}

bool audit_unseal(const char *line, size_t n, size_t *ret_covered,
		  unsigned char ret_mac[AUDIT_MAC_SIZE])
{
	const size_t front = strlen(SEAL_FRONT), end = strlen(SEAL_END);
	const size_t hex = AUDIT_HEX_MAX - 1, seal = front + hex + end;

	if (n <= seal || n > AUDIT_LINE_MAX)
		return false;
	const char *at = line + n - seal;
	if (memcmp(at, SEAL_FRONT, front) != 0 || memcmp(at + front + hex, SEAL_END, end) != 0 ||
	    !audit_unhex(ret_mac, at + front, hex))
		return false;
	*ret_covered = n - seal;
	return true;
}
