/*
 * door_keeper.h: what the files of the keeper's side of the door share.
 *
 *   door_keeper.c   questions and answers, commands that run
 *   door_allowed.c  which files may be opened, which commands run
 *   door_who.c      who a process is
 */
#ifndef DSEC_FS_DOOR_KEEPER_H
#define DSEC_FS_DOOR_KEEPER_H

#include "fs/door.h"

/* Does the configuration name this file, or this command? It is read anew each time. */
bool door_file_allowed(const char *config_file, const char *path);
bool door_socket_allowed(const char *config_file, const char *path);
bool door_command_allowed(const char *config_file, const char *command);
bool door_signal_allowed(const char *config_file, int number);

/* 0, a pidfd in *ret_pidfd; -ESRCH. */
int door_find_out(pid_t pid, struct door_who *ret, int *ret_pidfd);

#endif
