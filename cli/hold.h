/*
 * hold.h: runs a command, and holds something for as long as anything is left of what it started.
 *
 * Three processes: the wrapper, which is what was called; the holder, its child; and the command,
 * the holder's child. The holder is the subreaper of all that the command starts, so that it knows
 * when the last of it is gone, also of what has left its parent, its session or its terminal, and
 * closed every descriptor. The wrapper passes signals on and ends with the command, as everybody
 * expects of a wrapper, also where something goes on in the background. Killing one of the two does
 * no harm: the other goes on. (Whoever kills both leaves the descriptors that the command has
 * inherited.)
 */
#ifndef DSEC_CLI_HOLD_H
#define DSEC_CLI_HOLD_H

struct hold {
	const char *path; /* what is run, as execve(2) takes it */
	char *const *argv, *const *envp;
	int keep_fd; /* -1: none. Stays open in the holder, and the command inherits it */

	/* Each with `arg`; none may be NULL. */
	void (*forget)(void *arg); /* in wrapper and holder: the command has its environment now */
	void (*begin)(void *arg);  /* in the holder: may start threads */
	void (*end)(void *arg);    /* in the holder: nothing is left of what was started */
	void *arg;
};

/* Returns what a shell's $? would be: the command's exit status, or 128 and the signal that ended
 * it. */
int hold_run(const struct hold *given);

#endif
