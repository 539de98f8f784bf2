#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/file.h"
#include "lease/clock.h"
#include "lease/state_folder.h"

static int refuse_second(int fd, const char *folder, struct dsec_error *err)
{
	char owner[32];

	ssize_t n = pread(fd, owner, sizeof(owner) - 1, 0);
	owner[n > 0 ? n : 0] = '\0';
	owner[strspn(owner, "0123456789")] = '\0';
	dsec_error_set(err, DSEC_ERROR_FAULT, "another dsec (pid %s) uses the state folder %s",
		       owner[0] ? owner : "unknown", folder);
	return -EBUSY;
}

/* flock(2), since its lock belongs to the open file: it is gone with the daemon, however it dies,
 * and nothing that the daemon opens or closes lets it go before. */
static int take_lock(int folder_fd, const char *folder, int *ret_fd, struct dsec_error *err)
{
	char owner[32];

	int fd = openat(folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot open %s/lock: %s", folder,
				      strerror(errno));
	int r = 0;
	int n = snprintf(owner, sizeof(owner), "%d\n", (int)getpid());
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK
			    ? refuse_second(fd, folder, err)
			    : dsec_error_set(err, DSEC_ERROR_FAULT, "cannot lock %s/lock: %s",
					     folder, strerror(errno));
	else if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, (size_t)n, 0) != n)
		r = dsec_error_set(err, DSEC_ERROR_NO_SPACE, "cannot write %s/lock: %s", folder,
				   strerror(errno));
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int state_open(struct state *ret, const char *folder, struct dsec_error *err)
{
	struct state state = {.lock_fd = -1};
	_cleanup_fd_ int folder_fd = state_folder_open(folder, err);

	if (folder_fd < 0)
		return folder_fd;
	if (!realpath(folder, state.folder))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));
	int r = take_lock(folder_fd, state.folder, &state.lock_fd, err);
	/* The salt is made with the id, and the id is not known without it. */
	state.fresh = faccessat(folder_fd, "daemon.salt", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
		      errno == ENOENT;
	if (r == 0)
		r = identity_load(state.daemon_id, state.folder, &system_clock, err);
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
