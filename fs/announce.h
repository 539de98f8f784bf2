/*
 * announce.h: file watchers on a name see that it leads to something else (IN_DELETE_SELF).
 *
 * The notification takes the lock of the folder, exclusively, and so waits for every LOOKUP in it.
 * A thread of ours that waits for that when this process is killed would keep it from ending, and
 * the LOOKUP waits for the next process: nobody would ever be answered again. So a process of its
 * own sends it, which nobody waits for.
 */
#ifndef DSEC_FS_ANNOUNCE_H
#define DSEC_FS_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

/* Forks: before there are threads. A descriptor for announce_deleted, which closing ends; -1 where
 * it cannot be: watchers see nothing then. */
int announce_start(int fuse_fd);

/* It ends when it has announced what it was told before. False: there is no room to say so now.
 * When it has ended, poll(2) says POLLERR of the descriptor. As long as it has not it has /dev/fuse
 * open, and waits for LOOKUPs that somebody has to answer. */
bool announce_end(int fd);

/* Never waits: what there is no room for is lost. */
void announce_deleted(int fd, uint64_t folder, uint64_t node, const char *name);

#endif
