#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lease/journal.h"
#include "lease/journal_db.h"

/* One record on its way to the disk, and back as an answer. */
struct write {
	struct journal_record record;
	journal_done *done;
	void *arg;
	bool is_failed;
	struct dsec_error err;
	struct write *next;
};

struct write_list {
	struct write *first, **end;
};

struct journal_sqlite {
	struct journal journal;
	struct journal_db *db; /* the thread's, from its start to its end */
	pthread_t thread;
	int answers_fd;

	/* Both threads hold the lock for the moving of a list alone. */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct write_list queued;
	struct write_list answered;
	bool stopping;
};

static void list_init(struct write_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct write_list *list, struct write *first, struct write **end)
{
	*list->end = first;
	list->end = end;
}

/* Empties the list into *ret. */
static void list_take(struct write_list *ret, struct write_list *list)
{
	list_init(ret);
	if (list->first)
		list_append(ret, list->first, list->end);
	list_init(list);
}

static void list_free(struct write_list *list)
{
	for (struct write *write = list->first, *next; write; write = next) {
		next = write->next;
		free(write);
	}
	list_init(list);
}

static int commit_group(struct journal_db *db, const struct write_list *group,
			struct dsec_error *err)
{
	int r = journal_db_begin(db, err);
	for (const struct write *write = group->first; write && r == 0; write = write->next)
		r = journal_db_put(db, &write->record, err);
	if (r == 0)
		r = journal_db_commit(db, err);
	if (r < 0)
		journal_db_rollback(db);
	return r;
}

/* A group is durable as a whole or not at all; the next one is tried anew, whatever became of this
 * one. */
static void write_group(struct journal_sqlite *journal, struct write_list *group)
{
	struct dsec_error err;

	if (commit_group(journal->db, group, &err) == 0)
		return;
	for (struct write *write = group->first; write; write = write->next) {
		write->is_failed = true;
		write->err = err;
	}
}

/* Waits for writes and takes all there are. False when there are none and never will be. */
static bool next_group(struct journal_sqlite *journal, struct write_list *ret)
{
	pthread_mutex_lock(&journal->lock);
	while (!journal->queued.first && !journal->stopping)
		pthread_cond_wait(&journal->wake, &journal->lock);
	list_take(ret, &journal->queued);
	pthread_mutex_unlock(&journal->lock);
	return ret->first != NULL;
}

static void post_answers(struct journal_sqlite *journal, struct write_list *group)
{
	pthread_mutex_lock(&journal->lock);
	list_append(&journal->answered, group->first, group->end);
	pthread_mutex_unlock(&journal->lock);
	eventfd_write(journal->answers_fd, 1);
}

static void *journal_thread(void *arg)
{
	struct journal_sqlite *journal = arg;
	struct write_list group;

	while (next_group(journal, &group)) {
		write_group(journal, &group);
		post_answers(journal, &group);
	}
	return NULL;
}

/* How many writes can wait is for the engine to bound: it has one on its way for a change of a
 * lease, and only so many leases. */
static void journal_write(struct journal *base, const struct journal_record *record,
			  journal_done *done, void *arg)
{
	struct journal_sqlite *journal = (struct journal_sqlite *)base;

	struct write *write = calloc(1, sizeof(*write));
	if (!write)
		abort(); /* dying is what the journal is for: the next start finds all before this
			    one */
	write->record = *record;
	write->done = done;
	write->arg = arg;

	pthread_mutex_lock(&journal->lock);
	list_append(&journal->queued, write, &write->next);
	pthread_mutex_unlock(&journal->lock);
	pthread_cond_signal(&journal->wake);
}

static const struct journal_ops ops = {.write = journal_write};

/* The signals are the owner's: none may be delivered to this thread. */
static int start_thread(struct journal_sqlite *journal)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&journal->thread, NULL, journal_thread, journal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(journal->thread, "journal");
	return -error;
}

static struct journal_sqlite *journal_sqlite_free(struct journal_sqlite *journal)
{
	list_free(&journal->queued);
	list_free(&journal->answered);
	journal_db_close(journal->db);
	if (journal->answers_fd >= 0)
		close(journal->answers_fd);
	pthread_mutex_destroy(&journal->lock);
	pthread_cond_destroy(&journal->wake);
	free(journal);
	return NULL;
}

int journal_sqlite_open(struct journal_sqlite **ret, const char *folder, journal_each *each,
			void *arg, enum journal_opened *ret_opened, struct dsec_error *err)
{
	enum journal_opened opened = JOURNAL_NEW;

	struct journal_sqlite *journal = calloc(1, sizeof(*journal));
	if (!journal)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "out of memory");
	journal->journal.ops = &ops;
	pthread_mutex_init(&journal->lock, NULL);
	pthread_cond_init(&journal->wake, NULL);
	list_init(&journal->queued);
	list_init(&journal->answered);

	int r = 0;
	journal->answers_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (journal->answers_fd < 0)
		r = dsec_error_set(err, DSEC_ERROR_FAULT, "eventfd: %s", strerror(errno));
	if (r == 0)
		r = journal_db_open(&journal->db, folder, &opened, err);
	if (r == 0)
		r = journal_db_read(journal->db, each, arg, err);
	if (r == 0) {
		r = start_thread(journal);
		if (r < 0)
			dsec_error_set(err, DSEC_ERROR_FAULT,
				       "cannot start the journal's thread: %s", strerror(-r));
	}
	if (r < 0) {
		journal_sqlite_free(journal);
		return r;
	}
	*ret = journal;
	*ret_opened = opened;
	return 0;
}

struct journal *journal_sqlite_journal(struct journal_sqlite *journal)
{
	return &journal->journal;
}

const char *journal_sqlite_damage(const struct journal_sqlite *journal)
{
	return journal_db_damage(journal->db);
}

int journal_sqlite_fd(const struct journal_sqlite *journal)
{
	return journal->answers_fd;
}

void journal_sqlite_dispatch(struct journal_sqlite *journal)
{
	struct write_list answers;
	eventfd_t count;

	/* Reset first: an answer that comes after the list was taken makes it readable again. */
	eventfd_read(journal->answers_fd, &count);
	pthread_mutex_lock(&journal->lock);
	list_take(&answers, &journal->answered);
	pthread_mutex_unlock(&journal->lock);

	for (struct write *write = answers.first; write; write = write->next)
		if (write->done)
			write->done(write->arg, write->is_failed ? &write->err : NULL);
	list_free(&answers);
}

struct journal_sqlite *journal_sqlite_close(struct journal_sqlite *journal)
{
	if (!journal)
		return NULL;
	pthread_mutex_lock(&journal->lock);
	journal->stopping = true;
	pthread_mutex_unlock(&journal->lock);
	pthread_cond_signal(&journal->wake);
	pthread_join(journal->thread, NULL);
	return journal_sqlite_free(journal);
}

int journal_sqlite_read(const char *folder, journal_each *each, void *arg, struct dsec_error *err)
{
	struct journal_db *db = NULL;

	int r = journal_db_open_reader(&db, folder, err);
	if (r < 0)
		return r;
	r = journal_db_read(db, each, arg, err);
	journal_db_close(db);
	return r;
}
