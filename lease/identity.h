/*
 * identity.h: which daemon this is. The id stands in the path of each of its users, so that no
 * other machine takes them for its own.
 */
#ifndef DSEC_LEASE_IDENTITY_H
#define DSEC_LEASE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/clock.h"
#include "lease/error.h"
#include "lease/journal.h"

#define DAEMON_ID_MAX 17 /* 16 lower-case hexadecimal digits and the end */

/* SHA-256 over the machine's id (the text of /etc/machine-id; "" where there is none), the state
 * folder's real path, and `salt`, a random text that is kept in the state folder. A cloned disk on
 * another machine is another daemon. */
void identity_daemon_id(char to[DAEMON_ID_MAX], const char *machine_id, const char *state_folder,
			const char *salt);

/* PATH + ID + "/" + END + "/", where END is clock_compact's form of the last possible end.
 * -ENAMETOOLONG beyond IAM's 512. */
int identity_user_path(char to[IAM_PATH_MAX], const char *integration_path, const char *daemon_id,
		       int64_t last_end_ms);

/* The reverse: is this a path that dsec made below integration_path, whose, and until when? What is
 * returned is set only then. */
bool identity_parse_path(const char *path, const char *integration_path,
			 char ret_daemon_id[DAEMON_ID_MAX], int64_t *ret_last_end_ms);

/* Did identity_user_path make this path for this daemon, under whatever integration's path? */
bool identity_path_is_of(const char *path, const char *daemon_id);

/* "Doppler-Dynamic-" and "doppler-policy-" with 13 random alphanumerics; has this name the first
 * form? */
#define IDENTITY_USER_PREFIX   "Doppler-Dynamic-"
#define IDENTITY_POLICY_PREFIX "doppler-policy-"
#define IDENTITY_SUFFIX_LENGTH 13
bool identity_user_name_valid(const char *name);

/* The random part of a name: each of the 62 alphanumerics is as likely as any other. */
void identity_suffix(char to[IDENTITY_SUFFIX_LENGTH + 1], const struct clock *clock);

/* A new lease's id: a random UUID (version 4). */
void identity_uuid(char to[LEASE_ID_MAX], const struct clock *clock);

/* The id of the daemon on this machine with this state folder. Makes the folder, and in it
 * daemon.salt, durably, when they are not there. The caller holds the folder's lock: two daemons
 * that made the salt at once would differ. */
int identity_load(char to[DAEMON_ID_MAX], const char *state_folder, const struct clock *clock,
		  struct dsec_error *err);

#endif
