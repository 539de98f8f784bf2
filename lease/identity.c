#include "lease/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease/io.h"
#include "lease/state_folder.h"

#define MACHINE_ID_FILE "/etc/machine-id"
#define MACHINE_ID_MAX                                                                             \
	65 /* machine-id(5) has 32 digits; whatever else is there, this much of it                 \
	    */

#define SALT_FILE      "daemon.salt"
#define SALT_FILE_NEW  "daemon.salt.new"
#define SALT_RANDOM    16
#define SALT_TEXT_SIZE (2 * SALT_RANDOM + 1)

#define HEX_DIGITS "0123456789abcdef"

static const char alphanumerics[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
#define N_ALPHANUMERICS (sizeof(alphanumerics) - 1)

/* Writes 2 * n digits and the end. */
static void hex(char *to, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*to++ = HEX_DIGITS[bytes[i] >> 4];
		*to++ = HEX_DIGITS[bytes[i] & 15];
	}
	*to = '\0';
}

void identity_daemon_id(char to[DAEMON_ID_MAX], const char *machine_id, const char *state_folder,
			const char *salt)
{
	const char *parts[] = {machine_id, state_folder, salt};
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	/* Each part with its NUL: text cannot move from one part to the next unseen. */
	int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ok = ok && EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]) + 1);
	ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL);
	EVP_MD_CTX_free(ctx);
	if (!ok)
		abort(); /* no memory at start, or a libcrypto without SHA-256: an id made of
			    anything else could be another daemon's */
	hex(to, digest, (DAEMON_ID_MAX - 1) / 2);
}

int identity_user_path(char to[IAM_PATH_MAX], const char *integration_path, const char *daemon_id,
		       int64_t last_end_ms)
{
	char end[CLOCK_COMPACT_MAX];

	clock_compact(end, last_end_ms);
	int n = snprintf(to, IAM_PATH_MAX, "%s%s/%s/", integration_path, daemon_id, end);
	return n < IAM_PATH_MAX ? 0 : -ENAMETOOLONG;
}

bool identity_parse_path(const char *path, const char *integration_path,
			 char ret_daemon_id[DAEMON_ID_MAX], int64_t *ret_last_end_ms)
{
	const size_t id_length = DAEMON_ID_MAX - 1, end_length = CLOCK_COMPACT_MAX - 1;
	size_t prefix = strlen(integration_path);
	char end[CLOCK_COMPACT_MAX] = "";
	int64_t end_ms;

	if (strncmp(path, integration_path, prefix) != 0)
		return false;
	const char *id = path + prefix;
	if (strlen(id) != id_length + 1 + end_length + 1 || strspn(id, HEX_DIGITS) != id_length ||
	    id[id_length] != '/' || id[id_length + 1 + end_length] != '/')
		return false;
	memcpy(end, id + id_length + 1, end_length);
	if (clock_parse_compact(end, &end_ms) < 0)
		return false;

	memcpy(ret_daemon_id, id, id_length);
	ret_daemon_id[id_length] = '\0';
	*ret_last_end_ms = end_ms;
	return true;
}

bool identity_path_is_of(const char *path, const char *daemon_id)
{
	/* "ID/END/", with the '/' before it. */
	const size_t tail = 1 + DAEMON_ID_MAX + CLOCK_COMPACT_MAX;
	size_t n = strlen(path);
	char prefix[IAM_PATH_MAX], id[DAEMON_ID_MAX];
	int64_t end_ms;

	if (n < tail || n >= sizeof(prefix) || path[n - tail] != '/')
		return false;
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(n - tail + 1), path);
	return identity_parse_path(path, prefix, id, &end_ms) && strcmp(id, daemon_id) == 0;
}

bool identity_user_name_valid(const char *name)
{
	const size_t prefix = sizeof(IDENTITY_USER_PREFIX) - 1;

	return strncmp(name, IDENTITY_USER_PREFIX, prefix) == 0 &&
	       strlen(name + prefix) == IDENTITY_SUFFIX_LENGTH &&
	       strspn(name + prefix, alphanumerics) == IDENTITY_SUFFIX_LENGTH;
}

void identity_suffix(char to[IDENTITY_SUFFIX_LENGTH + 1], const struct clock *clock)
{
	/* A byte at or above the largest multiple of 62 would make some characters likelier. */
	const unsigned fair = 256 / N_ALPHANUMERICS * N_ALPHANUMERICS;
	size_t n = 0;

	while (n < IDENTITY_SUFFIX_LENGTH) {
		unsigned char random[2 * IDENTITY_SUFFIX_LENGTH];
		clock->random_bytes(clock, random, sizeof(random));
		for (size_t i = 0; i < sizeof(random) && n < IDENTITY_SUFFIX_LENGTH; i++)
			if (random[i] < fair)
				to[n++] = alphanumerics[random[i] % N_ALPHANUMERICS];
	}
	to[n] = '\0';
}

void identity_uuid(char to[LEASE_ID_MAX], const struct clock *clock)
{
	unsigned char random[16];
	char digits[2 * sizeof(random) + 1];

	clock->random_bytes(clock, random, sizeof(random));
	random[6] = (unsigned char)((random[6] & 0x0f) | 0x40); /* version 4 */
	random[8] = (unsigned char)((random[8] & 0x3f) | 0x80); /* the variant of RFC 9562 */
	hex(digits, random, sizeof(random));
	snprintf(to, LEASE_ID_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
		 digits + 16, digits + 20);
}

/* Reads up to size - 1 bytes and ends them. */
static int read_text(int folder, const char *name, char *to, size_t size)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	ssize_t n = io_read(fd, to, size - 1);
	close(fd);
	to[n > 0 ? n : 0] = '\0';
	return n < 0 ? (int)n : 0;
}

static int write_new_salt(int folder, const char *salt)
{
	int fd = openat(folder, SALT_FILE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ssize_t put = write(fd, salt, strlen(salt));
	int r = put < 0                      ? -errno
		: (size_t)put < strlen(salt) ? -ENOSPC
		: fsync(fd) < 0              ? -errno
					     : 0;
	close(fd);
	if (r == 0 && renameat(folder, SALT_FILE_NEW, folder, SALT_FILE) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(folder, SALT_FILE_NEW, 0);
	return r;
}

static int make_salt(int folder, const char *state_folder, char salt[SALT_TEXT_SIZE],
		     const struct clock *clock, struct dsec_error *err)
{
	unsigned char random[SALT_RANDOM];

	clock->random_bytes(clock, random, sizeof(random));
	hex(salt, random, sizeof(random));
	int r = write_new_salt(folder, salt);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s/" SALT_FILE ": %s",
				      state_folder, strerror(-r));
	return state_folder_sync(folder, state_folder, err);
}

static int load_salt(int folder, const char *state_folder, char salt[SALT_TEXT_SIZE],
		     const struct clock *clock, struct dsec_error *err)
{
	char text[SALT_TEXT_SIZE + 1]; /* one more, so that a longer file shows */

	int r = read_text(folder, SALT_FILE, text, sizeof(text));
	if (r == -ENOENT)
		return make_salt(folder, state_folder, salt, clock, err);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s/" SALT_FILE ": %s",
				      state_folder, strerror(-r));
	if (strlen(text) != SALT_TEXT_SIZE - 1 || strspn(text, HEX_DIGITS) != SALT_TEXT_SIZE - 1)
		return dsec_error_set(
			err, DSEC_ERROR_INVALID,
			"%s/" SALT_FILE " is not what dsec wrote there: restore it; or remove it, "
			"and this daemon is a new one that leaves the old one's users to dsec "
			"sweep",
			state_folder);
	memcpy(salt, text, SALT_TEXT_SIZE);
	return 0;
}

int identity_load(char to[DAEMON_ID_MAX], const char *state_folder, const struct clock *clock,
		  struct dsec_error *err)
{
	char machine_id[MACHINE_ID_MAX] = "", salt[SALT_TEXT_SIZE], real[PATH_MAX];

	int r = read_text(AT_FDCWD, MACHINE_ID_FILE, machine_id, sizeof(machine_id));
	if (r < 0 && r != -ENOENT)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read " MACHINE_ID_FILE ": %s",
				      strerror(-r));
	machine_id[strcspn(machine_id, "\n")] = '\0';

	int folder = state_folder_open(state_folder, err);
	if (folder < 0)
		return folder;
	r = load_salt(folder, state_folder, salt, clock, err);
	close(folder);
	if (r < 0)
		return r;
	if (!realpath(state_folder, real))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", state_folder,
				      strerror(errno));
	identity_daemon_id(to, machine_id, real, salt);
	return 0;
}
