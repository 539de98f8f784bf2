/*
 * callers.h: who has opened what, for the audit log.
 *
 * A process is looked at before its OPEN is answered: after that it may be gone. Looking costs some
 * microseconds of /proc and waits for nothing; of a process that reads again and again only its
 * executable is looked at once more. A lease that a process opens for the first time is told to the
 * engine's thread; further opens are counted, and told when there is cause to.
 *
 * Everything here belongs to the file thread.
 */
#ifndef DSEC_FS_CALLERS_H
#define DSEC_FS_CALLERS_H

#include <stdint.h>
#include <sys/types.h>

#include "fs/queue.h"
#include "lease/clock.h"
#include "lease/engine.h"
#include "lease/who.h"

#define CALLERS_ROWS 64 /* processes that are remembered; each keeps a descriptor open */
#define CALLERS_TOLD 4  /* leases that are remembered of each */

struct callers_told {
	struct lease *lease; /* NULL: free */
	uid_t uid;
	gid_t gid;
	uint64_t count; /* opens that are not told yet */
};

struct callers_row {
	pid_t tid; /* 0: free */
	int folder_fd;
	struct who *who;
	unsigned next; /* of told, to be taken next */
	struct callers_told told[CALLERS_TOLD];
};

struct callers {
	const struct clock *clock;
	struct queue *outbox; /* to the engine's thread */
	struct callers_row rows[CALLERS_ROWS];
};

void callers_init(struct callers *callers, const struct clock *clock, struct queue *outbox);
void callers_finish(struct callers *callers); /* tells what is not told yet */

/* Who asks, while it waits; a reference, or NULL when it cannot be seen. */
struct who *callers_look(struct callers *callers, pid_t tid);

/* That caller is given a file of that lease. */
void callers_opened(struct callers *callers, const struct lease *lease,
		    const struct lease_caller *caller);

/* The lease has ended: what is counted of it is told. */
void callers_end_lease(struct callers *callers, const char *lease_id);

#endif
