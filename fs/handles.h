/*
 * handles.h: the open files, by fh, as the next process finds them.
 *
 * What the kernel has open it has open until RELEASE, whoever serves. An OPEN or a RELEASE that is
 * handled twice (by a process that died of it, and by the next) must count once: an OPEN's unique
 * number tells the one, an fh's serial number the other.
 */
#ifndef DSEC_FS_HANDLES_H
#define DSEC_FS_HANDLES_H

#include <stddef.h>
#include <stdint.h>

#include "fs/shared.h"

struct handles {
	struct shared *shared;
	uint32_t *free;
	size_t n_free, size;
};

/* Called for each open file that is found. */
typedef void handle_each(void *arg, uint64_t node);

void handles_begin(struct handles *handles, struct shared *shared, handle_each *each, void *arg);
void handles_finish(struct handles *handles);

/* An fh that was never given before. *known says whether the same OPEN may have been handled
 * before, and then whether it was: by a process that died, with this fh. Where there is no room it
 * is one that many have, and which the next process does not know. */
uint64_t handles_open(struct handles *handles, uint64_t node, uint64_t unique, bool *known);

/* The kernel's number of one who waits for the file; 0: nobody does. */
void handles_watch(struct handles *handles, uint64_t fh, uint64_t kh);

/* Calls for each who waits, and forgets them. */
void handles_watched(struct handles *handles, void (*each)(void *arg, uint64_t kh), void *arg);

/* True: it was open, and is no more. */
bool handles_release(struct handles *handles, uint64_t fh);

#endif
