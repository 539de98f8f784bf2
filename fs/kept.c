#include <errno.h>
#include <stdlib.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

struct kept *kept_new(struct files *files, fuse_req_t req)
{
	if (files->n_kept >= FILES_KEPT_MAX) {
		fuse_reply_err(req, EAGAIN);
		return NULL;
	}

	struct kept *kept = alloc_zeroed(1, sizeof(*kept));
	kept->files = files;
	kept->req = req;
	list_init(&kept->link);
	files->n_kept++;
	return kept;
}

void kept_free(struct kept *kept)
{
	list_remove(&kept->link);
	kept->files->n_kept--;
	who_unref(kept->caller.who);
	free(kept);
}
