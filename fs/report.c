/*
 * report.c: .status, leases.json and metrics: texts that the engine writes at each look.
 *
 * The LOOKUP is kept until the engine has written the text, and answered with a node that is that
 * text: so its size is true, and what is read agrees with it.
 */
#include <errno.h>

#include "fs/fs_private.h"

static void interrupted(fuse_req_t req, void *data)
{
	struct kept *kept = data;

	kept_free(kept);
	fuse_reply_err(req, EINTR);
}

void report_ask(struct files *files, fuse_req_t req, const struct entry *entry)
{
	struct kept *kept = kept_new(files, req);

	if (!kept)
		return;
	kept->question = ++files->last_id;
	list_append(&files->questions, &kept->link);

	struct message *message = message_new(MESSAGE_REPORT, 0);
	message->question = kept->question;
	message->tree = tree_ref(files->nodes.tree);
	message->entry = entry;
	message_send(&files->outbox, message);
	/* Last: it calls back at once when the interrupt came first. */
	fuse_req_interrupt_func(req, interrupted, kept);
}

/* Answers come in the order of the questions, some of which were interrupted. */
static struct kept *find_question(struct files *files, uint64_t question)
{
	list_each (at, &files->questions) {
		struct kept *kept = container_of(at, struct kept, link);
		if (kept->question >= question)
			return kept->question == question ? kept : NULL;
	}
	return NULL;
}

void report_answered(struct files *files, const struct message *message)
{
	struct kept *kept = find_question(files, message->question);

	if (!kept)
		return;

	fuse_req_t req = kept->req;
	struct node_key key = {
		.kind = NODE_REPORT,
		.entry = tree_counterpart(files->nodes.tree, message->entry),
		.text = message->text,
	};
	kept_free(kept);
	if (message->error)
		fuse_reply_err(req, message->error);
	else if (!key.entry)
		fuse_reply_err(req, ENOENT);
	else
		reply_entry(files, req, nodes_get(&files->nodes, &key), 0);
}

void report_fail(struct files *files, int error)
{
	list_each (at, &files->questions) {
		struct kept *kept = container_of(at, struct kept, link);
		fuse_req_t req = kept->req;

		kept_free(kept);
		fuse_reply_err(req, error);
	}
}
