/*
 * background.h: going into the background so that the caller knows when the mount serves.
 */
#ifndef DSEC_CLI_BACKGROUND_H
#define DSEC_CLI_BACKGROUND_H

/* How long a start may take: a configuration, a lock, a journal and a mount; no network. */
#define BACKGROUND_START_TIMEOUT_MS 60000

/* Forks. The child, leader of a new session and still with its caller's stderr, gets a descriptor
 * for background_ready. In the parent it returns -1 when the fork is over, with the status to exit
 * with: 0 if the child became ready, 1 if it ended before or took too long (it is then told to
 * end). Call it before any thread or lock exists. */
int background_fork(int *ret_status);

/* Lets go of the caller's terminal: messages go to the system's log from now on. */
void background_detach(void);

/* The same, and tells the parent that all is well. 0, or -EPIPE when the
 * parent is gone: whoever started us does not want us any more. Closes the descriptor. */
int background_ready(int ready_fd);

#endif
