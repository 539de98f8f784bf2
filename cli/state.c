#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "lease/clock.h"

#define SALT_BYTES 16
#define SALT_TEXT  (2 * SALT_BYTES)

static int fail(struct dsec_error *err, const char *what, const char *path)
{
	int number = errno;

	dsec_error_set(err, DSEC_ERROR_FAULT, "%s %s: %s", what, path, strerror(number));
	return -number;
}

/* Makes the folder and those above it, 0700 each (the umask is 077). */
static int make_folders(const char *folder, struct dsec_error *err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", folder) >= (int)sizeof(path))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the state folder's path is too long");
	for (char *at = path + 1;; at++) {
		if (*at != '/' && *at != '\0')
			continue;
		char end = *at;
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST && errno != EROFS)
			return fail(err, "cannot make the folder", path);
		*at = end;
		if (end == '\0')
			return 0;
	}
}

/* Whoever may write here decides which users the daemon takes for its own. */
static int check_folder(int fd, const char *folder, struct dsec_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(err, "cannot look at", folder);
	if (st.st_uid != geteuid())
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "the state folder %s belongs to another user (uid %u)",
				      folder, (unsigned)st.st_uid);
	if (st.st_mode & 022)
		return dsec_error_set(
			err, DSEC_ERROR_NOT_ALLOWED,
			"others can write to the state folder %s (mode %04o): make it 0700", folder,
			(unsigned)st.st_mode & 07777);
	if ((st.st_mode & 055) && fchmod(fd, 0700) < 0)
		return fail(err, "cannot make 0700 of", folder);
	return 0;
}

static int take_lock(struct state *state, int folder_fd, struct dsec_error *err)
{
	char owner[32] = "";

	int fd = openat(folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(err, "cannot open the lock in", state->folder);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int number = errno;
		ssize_t n = pread(fd, owner, sizeof(owner) - 1, 0);
		owner[n > 0 ? strspn(owner, "0123456789") : 0] = '\0';
		close(fd);
		if (number != EWOULDBLOCK) {
			errno = number;
			return fail(err, "cannot lock", state->folder);
		}
		dsec_error_set(err, DSEC_ERROR_FAULT,
			       "another dsec (pid %s) uses the state folder %s",
			       owner[0] ? owner : "unknown", state->folder);
		return -EBUSY;
	}
	int n = snprintf(owner, sizeof(owner), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, (size_t)n, 0) != n) {
		int r = fail(err, "cannot write the lock in", state->folder);
		close(fd);
		return r;
	}
	state->lock_fd = fd;
	return 0;
}

/* Written whole or not at all: a salt that were cut by a crash would make another daemon of us. */
static int make_salt(int folder_fd, char salt[SALT_TEXT + 1])
{
	unsigned char bytes[SALT_BYTES];
	int r = 0;

	system_clock.random_bytes(&system_clock, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(salt + 2 * i, 3, "%02x", bytes[i]);
	int fd = openat(folder_fd, "salt.new",
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, salt, SALT_TEXT) != SALT_TEXT || fsync(fd) < 0 ||
	    renameat(folder_fd, "salt.new", folder_fd, "salt") < 0 || fsync(folder_fd) < 0)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

static int read_salt(int folder_fd, char salt[SALT_TEXT + 1])
{
	int fd = openat(folder_fd, "salt", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, salt, SALT_TEXT + 1);
	close(fd);
	if (n != SALT_TEXT)
		return n < 0 ? -errno : -EINVAL;
	salt[SALT_TEXT] = '\0';
	return 0;
}

static int find_identity(struct state *state, int folder_fd, struct dsec_error *err)
{
	char salt[SALT_TEXT + 1], machine_id[64] = "";

	int r = read_salt(folder_fd, salt);
	if (r == -ENOENT)
		r = make_salt(folder_fd, salt);
	if (r < 0) {
		errno = -r;
		return fail(err, "cannot use the salt in", state->folder);
	}
	file_first_line("/etc/machine-id", machine_id, sizeof(machine_id));
	identity_daemon_id(state->daemon_id, machine_id, state->folder, salt);
	return 0;
}

int state_open(struct state *ret, const char *folder, struct dsec_error *err)
{
	struct state state = {.lock_fd = -1};

	int r = make_folders(folder, err);
	if (r < 0)
		return r;
	if (!realpath(folder, state.folder))
		return fail(err, "cannot use the state folder", folder);
	int folder_fd = open(state.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0)
		return fail(err, "cannot open the state folder", state.folder);
	r = check_folder(folder_fd, state.folder, err);
	if (r == 0)
		r = take_lock(&state, folder_fd, err);
	if (r == 0)
		r = find_identity(&state, folder_fd, err);
	close(folder_fd);
	if (r < 0)
		state_close(&state);
	else
		*ret = state;
	return r;
}

void state_close(struct state *state)
{
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	state->lock_fd = -1;
}
