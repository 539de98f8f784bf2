/*
 * audit_store.h: brings an audit log to the disk, and its head into the state folder: on a thread
 * of its own, since both wait for the disk. The head never goes before the lines.
 */
#ifndef DSEC_LEASE_AUDIT_STORE_H
#define DSEC_LEASE_AUDIT_STORE_H

#include "lease/audit_chain.h"

struct audit_store;

struct audit_store *audit_store_start(const char *state_folder);

/* The log behind `fd` ends with this head. Of several that wait the last counts. */
void audit_store_put(struct audit_store *store, int fd, const struct audit_head *head);

/* What went wrong last, once; "" for nothing. */
void audit_store_problem(struct audit_store *store, char to[DSEC_ERROR_MESSAGE_MAX]);

/* Finishes what waits. NULL-safe; returns NULL. */
struct audit_store *audit_store_stop(struct audit_store *store);

#endif
