/*
 * daemon_private.h: what the files of the daemon share: starting.c, daemon.c (its loop),
 * observing.c, reloading.c, giving.c, ending.c.
 */
#ifndef DSEC_CLI_DAEMON_PRIVATE_H
#define DSEC_CLI_DAEMON_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "aws/aws.h"
#include "cli/daemon.h"
#include "cli/rotation.h"
#include "fs/fs.h"
#include "lease/audit.h"
#include "lease/catalog.h"
#include "lease/engine.h"
#include "lease/journal.h"
#include "lease/ledger.h"

struct daemon {
	struct daemon_options options;
	struct catalog *catalog;
	struct aws *aws;
	struct journal_sqlite *journal;
	struct audit *audit; /* NULL: none is configured */
	struct ledger *ledger;
	struct engine *engine;
	struct api *api; /* NULL: it has no socket */
	struct fs *fs;   /* NULL once it has ended */
	struct rotations *rotations;
	int epoll_fd, timer_fd;
	int fuse_fd; /* -1: the filesystem has it, or nobody */

	bool resuming; /* leases of an earlier worker are being taken up */
	bool ledger_full;
	bool ending;
	bool patient;     /* USR1: end without a time limit */
	bool impatient;   /* a second TERM or INT: leave now */
	int64_t end_at;   /* boottime, while ending: when its time is over */
	int64_t look_at;  /* boottime: when to see next whether the sandbox is outdated */
	int64_t shown_at; /* boottime, while ending: when progress was shown last */
	struct lease_caller *stopper; /* who has asked it to end; NULL: nobody is known */
};

/* Opens all of it but the leases that live, has it mounted and closes it in. *ret_lost: there was a
 * journal, and what it held is gone. On failure daemon_free() closes what is open by then. */
int daemon_open(struct daemon *daemon, bool *ret_lost, struct dsec_error *err);

/* The other way round than it was made: nobody is called who is gone. NULL-safe; returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);

/* What the engine tells. */
struct engine_observer daemon_observer(struct daemon *daemon);

/* What the filesystem and the API tell (struct fs_options, struct api_options); arg is the daemon.
 */
void daemon_opened(void *arg, const struct lease *lease, const struct lease_caller *caller,
		   uint64_t count);
void daemon_asked(void *arg, const struct api_token_event *event);

/* Begins the end, once: `reason` stands in the journal and the audit log. */
void daemon_end(struct daemon *daemon, const char *reason);

/* While it ends: shows how far it is, and says whether that is all. *ret_next_at is brought forward
 * to when this wants to be asked again. */
bool daemon_ended(struct daemon *daemon, int64_t now_at, int64_t *ret_next_at);

/* Reads the configuration again; one that is not usable changes nothing. Who asked for it may be
 * NULL. */
void daemon_reload(struct daemon *daemon, const struct lease_caller *caller);

/* The same for the API's administrators. */
void daemon_offer_reload(struct daemon *daemon);

/* Gives systemd, which asks the API's socket, what is in the files. */
void daemon_offer_files(struct daemon *daemon);

/* The caller with what the keeper alone can see of it, and a reference to that. */
struct lease_caller daemon_complete(const struct daemon *daemon, const struct lease_caller *caller);

/* Opens, changes or closes the audit log as the catalog wants it. On failure the old one stays. */
int daemon_audit(struct daemon *daemon, const struct catalog *catalog, struct dsec_error *err);

#endif
