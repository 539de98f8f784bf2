#include "cli/enclose.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "aws/process.h"
#include "cli/log.h"
#include "cli/state.h"
#include "lease/opener.h"
#include "lease/owner.h"

int enclose_prepare(struct sandbox *sandbox, struct dsec_error *err)
{
	int r = sandbox_init(sandbox, err);

	if (r == 0)
		owner_set(geteuid(), getegid(), sandbox->uid);
	return r;
}

static int open_through(void *arg, const char *path, enum opener_how how)
{
	int fd, r = door_open(arg, path, how == OPENER_READ ? DOOR_OPEN_READ : DOOR_OPEN_APPEND,
			      &fd);

	return r < 0 ? r : fd;
}

static int run_through(void *arg, const char *command, int *ret_output)
{
	return door_run(arg, command, ret_output);
}

static void kill_through(void *arg, int run)
{
	door_kill(arg, run);
}

static void use_door(struct door *door)
{
	static struct process_runner runner = {.run = run_through, .kill = kill_through};

	runner.arg = door;
	process_use(&runner);
	opener_set(open_through, door);
}

void enclose_exited(const struct door_message *order)
{
	process_runner_ended(order->number, order->value);
}

/* As the user that it is now. */
static int check_reach(const char *folder, uid_t uid, struct dsec_error *err)
{
	if (access(folder, R_OK | W_OK | X_OK) == 0)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
			      "the worker, user %u, cannot reach its state folder %s (%s): each "
			      "folder above it has to let everybody pass (chmod o+x)",
			      uid, folder, strerror(errno));
}

static void tell(const struct sandbox *sandbox)
{
	char text[SANDBOX_TEXT_MAX];
	bool whole = true;

	for (int layer = SANDBOX_USER + 1; layer < SANDBOX_LAYERS; layer++)
		whole = whole && sandbox->on[layer];
	sandbox_text(text, sandbox);
	log_line(whole ? LOG_INFO : LOG_NOTICE, "the worker is %s", text);
}

int enclose(struct sandbox *sandbox, struct door *door, const char *state_folder,
	    const char *mountpoint, struct dsec_error *err)
{
	int r = 0;

	sandbox_allow(sandbox, state_folder, SANDBOX_WRITE);
	sandbox_allow(sandbox, mountpoint, SANDBOX_MOUNT);
	sandbox_allow_system(sandbox);
	if (geteuid() == 0)
		r = state_give(state_folder, sandbox->uid, sandbox->gid, err);
	if (r == 0)
		r = sandbox_user(sandbox, err);
	/* Becoming another user has undone it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (r == 0)
		r = check_reach(state_folder, sandbox->uid, err);
	if (r == 0)
		r = sandbox_close(sandbox, err);
	if (r < 0)
		return r;
	use_door(door);
	tell(sandbox);
	return 0;
}
