#include "fs/give.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_private.h"
#include "lease/alloc.h"

/* The longest path is PROJECT/CONFIG@OPTIONS/.aws/NAME/process.json. */
#define PATH_BYTES_MAX 1024

struct give {
	struct list link;
	struct gives *gives;
	uint64_t number;
	struct engine *engine;
	struct tree *tree; /* a reference */
	const struct entry *entry;
	int64_t ttl_ms;
	struct lease_caller caller; /* with a reference to who it is */
	uint64_t ticket;            /* 0: the engine is not asked, or has answered */
	bool beginning, answered;
	fs_given *given;
	void *arg;
};

void gives_init(struct gives *gives, struct queue *inbox)
{
	*gives = (struct gives){.inbox = inbox};
	list_init(&gives->all);
}

static void give_free(struct give *give)
{
	list_remove(&give->link);
	if (give->ticket)
		engine_abandon(give->engine, give->ticket);
	tree_unref(give->tree);
	who_unref(give->caller.who);
	free(give);
}

/* The last that happens to it, but for one that is beginning. */
static void answer(struct give *give, struct download *bytes, const struct dsec_error *err)
{
	give->answered = true;
	give->given(give->arg, bytes, err);
	if (!give->beginning)
		give_free(give);
}

static void fail(struct give *give, enum dsec_error_kind kind, const char *reason)
{
	struct dsec_error err;

	dsec_error_set(&err, kind, "%s", reason);
	answer(give, NULL, &err);
}

/* Also told in .status and in the audit log, as of who opens the file. */
static void refuse(struct give *give, enum dsec_error_kind kind, const char *reason)
{
	const struct entry *entry = give->entry;
	struct dsec_error err;

	dsec_error_set(&err, kind, "a reader was refused: %s", reason);
	engine_refused(give->engine, entry->config->project, entry->config->name, entry->secrets,
		       &give->caller, &err);
	fail(give, kind, reason);
}

/* Which file. */

static const struct entry *walk(const struct entry *at, char *path, struct path_options *options)
{
	const char *part;

	while (at && (part = strsep(&path, "/")))
		at = at->kind == ENTRY_PROJECT ? find_config(at, part, options)
					       : entry_child(at, part);
	return at;
}

static const struct entry *find(const struct tree *tree, const char *path,
				struct path_options *options)
{
	char copy[PATH_BYTES_MAX];

	if (strlen(path) >= sizeof(copy))
		return NULL;
	memcpy(copy, path, strlen(path) + 1);

	const struct entry *entry = walk(tree_root(tree), copy, options);
	return entry && entry->config && !entry_is_folder(entry) && !entry_is_report(entry) ? entry
											    : NULL;
}

/* Who may have it. */

static bool allowed(struct give *give, bool *ret_hidden)
{
	const struct access *access = &give->entry->config->access;
	const struct access_caller caller = {give->caller.uid, give->caller.gid, give->caller.pid};
	struct cgroup_mounts *mounts = alloc_zeroed(1, sizeof(*mounts));

	cgroup_mounts_read(mounts);
	bool reads = access_reads(access, &caller, mounts);
	free(mounts);
	*ret_hidden = access->hide && !reads;
	return reads;
}

/* Giving. */

static void render(struct give *give, const struct lease *const *leases, size_t n)
{
	const struct lease *by_index[CATALOG_DYNAMICS_MAX] = {0};
	struct download bytes = {0};
	size_t i = 0;

	for (uint64_t left = give->entry->secrets; left && i < n; left &= left - 1)
		by_index[__builtin_ctzll(left)] = leases[i++];
	if (tree_render(&bytes, give->tree, give->entry, by_index) < 0)
		fail(give, DSEC_ERROR_FAULT, "its text is too long");
	else
		answer(give, &bytes, NULL);
	download_finish(&bytes);
}

static void acquired(void *arg, const struct lease *const *leases, size_t n,
		     const struct dsec_error *err)
{
	struct give *give = arg;

	give->ticket = 0;
	if (err)
		answer(give, NULL, err);
	else
		render(give, leases, n);
}

static void acquire(struct give *give, const lease_holder holders[SCOPES])
{
	const struct entry *entry = give->entry;
	struct acquire request = {
		.project = entry->config->project,
		.config = entry->config->name,
		.secrets = entry->secrets,
		.ttl_ms = give->ttl_ms,
		.caller = give->caller,
	};
	bool beginning = give->beginning;

	memcpy(request.holders, holders, sizeof(request.holders));
	give->beginning = true; /* it may be answered at once */
	uint64_t ticket = engine_acquire(give->engine, &request, acquired, give);
	give->beginning = beginning;
	if (give->answered && !beginning)
		give_free(give);
	else if (!give->answered)
		give->ticket = ticket;
}

static void view(struct give *give)
{
	struct message *message = message_new(MESSAGE_VIEW, 0);

	message->question = give->number;
	message->caller = give->caller;
	who_ref(message->caller.who);
	message->scopes = give->entry->scopes;
	message_send(give->gives->inbox, message);
}

static void start(struct give *give)
{
	const lease_holder holders[SCOPES] = {[SCOPE_USER] = lease_holder_user(give->caller.uid)};
	unsigned scopes = give->entry->scopes;

	if (give->entry->secrets == 0)
		render(give, NULL, 0);
	else if (scopes >> SCOPE_PROCESS & 1)
		refuse(give, DSEC_ERROR_NOT_ALLOWED,
		       "a lease of scope process would end with the process that asks here, which "
		       "is not the one that uses it: use scope container or shared");
	else if (scopes >> SCOPE_CONTAINER & 1)
		view(give);
	else
		acquire(give, holders);
}

static void look(struct give *give, const char *path)
{
	struct path_options options = {0};
	bool hidden = false;

	give->entry = find(give->tree, path, &options);
	if (give->entry && !allowed(give, &hidden) && !hidden) {
		refuse(give, DSEC_ERROR_NOT_ALLOWED,
		       "it may not read the config by its mode, or is in none of the lists in its "
		       "access.allow");
	} else if (!give->entry || hidden) {
		fail(give, DSEC_ERROR_NOT_CONFIGURED, "there is no such file");
	} else if (options.fresh) {
		refuse(give, DSEC_ERROR_NOT_ALLOWED,
		       "nobody would have the file open that @fresh goes by: leave it out");
	} else {
		give->ttl_ms = node_file_ttl(give->entry, options.ttl_ms);
		start(give);
	}
}

uint64_t give_begin(struct gives *gives, struct engine *engine, struct tree *tree, const char *path,
		    const struct lease_caller *caller, fs_given *given, void *arg)
{
	struct give *give = alloc_zeroed(1, sizeof(*give));

	give->gives = gives;
	give->number = ++gives->last;
	give->engine = engine;
	give->tree = tree_ref(tree);
	give->caller = *caller;
	who_ref(give->caller.who);
	give->given = given;
	give->arg = arg;
	list_init(&give->link);
	list_append(&gives->all, &give->link);
	give->beginning = true;
	look(give, path);
	give->beginning = false;
	if (!give->answered)
		return give->number;
	give_free(give);
	return 0;
}

static struct give *find_give(const struct gives *gives, uint64_t number)
{
	list_each (at, &gives->all) {
		struct give *give = container_of(at, struct give, link);

		if (give->number == number)
			return give;
	}
	return NULL;
}

void give_viewed(struct gives *gives, const struct tree *tree, const struct message *message)
{
	struct give *give = find_give(gives, message->question);

	if (!give)
		return;         /* given up; its holder's end will be told all the same */
	if (give->tree != tree) /* its bits are those of a catalog that the engine has no more */
		fail(give, DSEC_ERROR_BUSY, "the configuration has changed just now");
	else if (message->error)
		refuse(give, DSEC_ERROR_NOT_ALLOWED, message->text);
	else
		acquire(give, message->holders);
}

void give_abandon(struct gives *gives, uint64_t number)
{
	struct give *give = find_give(gives, number);

	if (give)
		give_free(give);
}

void gives_finish(struct gives *gives)
{
	list_each (at, &gives->all)
		fail(container_of(at, struct give, link), DSEC_ERROR_FAULT, "dsec is ending");
}
