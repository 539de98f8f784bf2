/*
 * fault_vfs.h: SQLite's own file system layer, with faults on request: what a crash, a full disk or
 * a bad one do at each of SQLite's writes, syncs, truncations and deletions.
 */
#ifndef DSEC_TESTS_FAULT_VFS_H
#define DSEC_TESTS_FAULT_VFS_H

/* From now on all databases of this process are opened through it. */
void fault_vfs_register(void);

#define FAULT_KILL (-1) /* SIGKILL to this process, in the middle of the operation */

/* The nth operation from now (1: the next) and all after it answer `code`, one of SQLite's. */
void fault_vfs_arm(int nth, int code);

/* Every sync answers `code`, and nothing else does. */
void fault_vfs_arm_syncs(int code);

/* Ends the faults. How many operations were asked for since they were armed? */
int fault_vfs_disarm(void);

#endif
