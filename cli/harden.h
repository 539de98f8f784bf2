/*
 * harden.h: what the process does to itself before it does anything else.
 */
#ifndef DSEC_CLI_HARDEN_H
#define DSEC_CLI_HARDEN_H

/* No core file, no debugger of the same user, files for the owner alone, descriptors 0 to 2 open,
 * no death by SIGPIPE, and as much lockable memory as the limits give. Never fails: what a kernel
 * or a container refuses is left as it is. */
void harden_process(void);

/* For a command that is about to be run in this process's place: the mask, the limits and SIGPIPE
 * as they were. */
void harden_undo(void);

/* For a daemon: no core file ever, of it and of what it starts. */
void harden_for_good(void);

#endif
