/*
 * enclose.h: a worker closes itself in: from here on it opens what its keeper opens for it, and
 * little else.
 */
#ifndef DSEC_CLI_ENCLOSE_H
#define DSEC_CLI_ENCLOSE_H

#include "cli/sandbox.h"
#include "fs/door.h"
#include "lease/error.h"

/* Who the worker will be, and whose daemon it is. Before anything that asks for the latter. */
int enclose_prepare(struct sandbox *sandbox, struct dsec_error *err);

/* Gives the worker its state folder, has files and commands come through the door, and puts on
 * every layer of sandbox.h. The process has one thread; nothing of the mount has been looked at.
 * Says in the log which layers the kernel lacks. */
int enclose(struct sandbox *sandbox, struct door *door, const char *state_folder,
	    const char *mountpoint, struct dsec_error *err);

/* A command that the door has run has ended. */
void enclose_exited(const struct door_message *order);

#endif
