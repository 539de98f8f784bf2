#include "fs/callers.h"

#include <string.h>
#include <unistd.h>

#include "fs/message.h"

static struct callers_row *row_of(struct callers *callers, pid_t tid)
{
	return &callers->rows[(unsigned)tid % CALLERS_ROWS];
}

static void tell(struct callers *callers, const struct lease *lease,
		 const struct lease_caller *caller, uint64_t count)
{
	struct message *message = message_new(MESSAGE_READ, 1);

	message->leases[0] = lease_ref(lease);
	message->caller = *caller;
	who_ref(message->caller.who);
	message->count = count;
	message_send(callers->outbox, message);
}

static void tell_count(struct callers *callers, const struct callers_row *row,
		       struct callers_told *told)
{
	const struct lease_caller caller = {
		.uid = told->uid,
		.gid = told->gid,
		.pid = row->tid,
		.who = row->who,
	};

	if (told->count > 0)
		tell(callers, told->lease, &caller, told->count);
	told->count = 0;
}

static void told_free(struct callers *callers, const struct callers_row *row,
		      struct callers_told *told)
{
	if (!told->lease)
		return;
	tell_count(callers, row, told);
	lease_unref(told->lease);
	*told = (struct callers_told){0};
}

static void row_free(struct callers *callers, struct callers_row *row)
{
	if (row->tid == 0)
		return;
	for (unsigned i = 0; i < CALLERS_TOLD; i++)
		told_free(callers, row, &row->told[i]);
	who_unref(row->who);
	close(row->folder_fd);
	*row = (struct callers_row){0};
}

void callers_init(struct callers *callers, const struct clock *clock, struct queue *outbox)
{
	*callers = (struct callers){.clock = clock, .outbox = outbox};
}

void callers_finish(struct callers *callers)
{
	for (unsigned i = 0; i < CALLERS_ROWS; i++)
		row_free(callers, &callers->rows[i]);
}

struct who *callers_look(struct callers *callers, pid_t tid)
{
	struct callers_row *row = row_of(callers, tid);

	if (tid <= 0)
		return NULL;
	if (row->tid == tid && who_same(row->folder_fd, row->who))
		return who_ref(row->who);

	int folder_fd = who_open(tid);
	struct who *who = folder_fd < 0 ? NULL : who_read(folder_fd, callers->clock);

	if (!who) {
		if (folder_fd >= 0)
			close(folder_fd);
		return NULL;
	}
	row_free(callers, row);
	row->tid = tid;
	row->folder_fd = folder_fd;
	row->who = who;
	return who_ref(who);
}

static struct callers_told *find_told(struct callers_row *row, const struct lease *lease,
				      const struct lease_caller *caller)
{
	for (unsigned i = 0; i < CALLERS_TOLD; i++)
		if (row->told[i].lease == lease && row->told[i].uid == caller->uid)
			return &row->told[i];
	return NULL;
}

void callers_opened(struct callers *callers, const struct lease *lease,
		    const struct lease_caller *caller)
{
	struct callers_row *row = row_of(callers, caller->pid);

	if (!caller->who || row->who != caller->who) {
		tell(callers, lease, caller, 1); /* it is not remembered, or not any more */
		return;
	}

	struct callers_told *told = find_told(row, lease, caller);
	if (told) {
		told->count++;
		return;
	}
	told = &row->told[row->next++ % CALLERS_TOLD];
	told_free(callers, row, told);
	*told = (struct callers_told){
		.lease = lease_ref(lease),
		.uid = caller->uid,
		.gid = caller->gid,
	};
	tell(callers, lease, caller, 1);
}

void callers_end_lease(struct callers *callers, const char *lease_id)
{
	for (unsigned i = 0; i < CALLERS_ROWS; i++)
		for (unsigned j = 0; j < CALLERS_TOLD; j++) {
			struct callers_row *row = &callers->rows[i];
			struct callers_told *told = &row->told[j];

			if (told->lease && strcmp(told->lease->id, lease_id) == 0)
				told_free(callers, row, told);
		}
}
