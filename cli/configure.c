#include "cli/configure.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/account.h"
#include "cli/cloud.h"
#include "cli/file.h"
#include "cli/json_edit.h"
#include "cli/log.h"
#include "cli/mounted.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "lease/alloc.h"
#include "lease/io.h"
#include "lease/json_text.h"

#define POLICY_SIZE_MAX (1024ul * 1024)

int configure_file(char to[PATH_MAX], const struct options *options, struct dsec_error *err)
{
	char given[PATH_MAX];

	int r = paths_config(given, options->config, err);
	if (r < 0)
		return r;
	if (!realpath(given, to)) /* a new one */
		snprintf(to, PATH_MAX, "%s", given);
	return 0;
}

static void folder_of(char to[PATH_MAX], const char *file)
{
	snprintf(to, PATH_MAX, "%s", file);
	char *folder = dirname(to);
	if (folder != to)
		memmove(to, folder, strlen(folder) + 1);
}

static int write_new(int fd, const char *text, size_t n)
{
	int r = io_write(fd, text, n);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

struct draft {
	char file[PATH_MAX], path[PATH_MAX]; /* what it is to become, and where it is */
	struct stat before;                  /* st_ino 0: there was none */
};

/* Mode and owner are those of the file that it is to replace, before there is anything in it. */
static int make_draft(struct draft *draft, const char *text, struct dsec_error *err)
{
	char folder[PATH_MAX];

	folder_of(folder, draft->file);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));
	if (snprintf(draft->path, PATH_MAX, "%s/.dsec.json.XXXXXX", folder) >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the path is too long");
	_cleanup_fd_ int fd = mkostemp(draft->path, O_CLOEXEC); /* mode 0600 */
	int r = fd < 0 ? -errno : 0;
	if (r == 0 && draft->before.st_ino != 0 &&
	    ((fchown(fd, draft->before.st_uid, draft->before.st_gid) < 0 &&
	      (draft->before.st_uid != geteuid() || draft->before.st_gid != getegid())) ||
	     fchmod(fd, draft->before.st_mode & 07777) < 0))
		r = -errno;
	if (r == 0)
		r = write_new(fd, text, strlen(text));
	if (r == 0)
		return 0;
	if (fd >= 0)
		unlink(draft->path);
	return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: cannot write there: %s", folder,
			      strerror(-r));
}

static int read_present(struct draft *draft, char **ret, size_t *ret_n, struct dsec_error *err)
{
	if (stat(draft->file, &draft->before) < 0) {
		draft->before = (struct stat){0};
		if (errno != ENOENT)
			return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", draft->file,
					      strerror(errno));
		*ret = alloc_copy("{}\n");
		*ret_n = strlen(*ret);
		return 0;
	}
	int r = file_read(draft->file, CATALOG_FILE_SIZE_MAX, ret, ret_n);
	return r < 0 ? dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", draft->file, strerror(-r))
		     : 0;
}

/* Logs what does not work. */
static int try_draft(const struct draft *draft, const char *integration_name, bool test)
{
	const struct options options = {.config = draft->path};
	_cleanup_cloud_ struct cloud cloud = {0};

	if (cloud_open(&cloud, &options) < 0)
		return -EINVAL;
	const struct integration *integration =
		catalog_integration(cloud.catalog, integration_name);
	if (!test || !integration)
		return 0;
	if (account_check(&cloud, integration))
		return 0;
	log_line(LOG_ERR, "%s does not work yet, so nothing was written; mend it, or say --no-test",
		 integration_name);
	return -EPERM;
}

static bool changed_meanwhile(const struct draft *draft)
{
	const struct stat *before = &draft->before;
	struct stat now;

	if (stat(draft->file, &now) < 0)
		return before->st_ino != 0;
	return now.st_ino != before->st_ino || now.st_size != before->st_size ||
	       now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

static int put_in_place(const struct draft *draft, struct dsec_error *err)
{
	char folder[PATH_MAX];

	if (changed_meanwhile(draft))
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "%s was changed by somebody else meanwhile: try again",
				      draft->file);
	if (rename(draft->path, draft->file) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", draft->file,
				      strerror(errno));
	folder_of(folder, draft->file);
	_cleanup_fd_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
	return 0;
}

/* The daemons. */

struct reloading {
	const char *file;
	size_t n;
};

static bool reload(void *arg, const char *tree)
{
	struct reloading *reloading = arg;
	char real[PATH_MAX];
	struct dsec_error err;
	struct peer peer;
	int pidfd;

	if (peer_look(tree, &peer, &err) < 0 || !realpath(peer.config, real) ||
	    strcmp(real, reloading->file) != 0)
		return true;
	int r = peer_open(tree, &peer, &pidfd, &err);
	if (r == 0) {
		r = peer_signal(pidfd, &peer, SIGHUP, &err);
		close(pidfd);
	}
	if (r < 0) {
		log_error(LOG_WARNING, &err, "%s was not told to read it: 'dsec reload'", tree);
	} else {
		log_line(LOG_INFO, "the daemon of %s (pid %d) was told to read it", tree,
			 (int)peer.pid);
		reloading->n++;
	}
	return true;
}

static int change_file(struct draft *draft, const struct options *options,
		       const struct configure_change *change, struct dsec_error *err)
{
	_cleanup_free_ char *present = NULL, *text = NULL;
	size_t n = 0;

	int r = read_present(draft, &present, &n, err);
	if (r < 0)
		return r;
	r = json_edit_add(&text, present, n, change->path, change->n_path, change->value, err);
	if (r < 0) {
		dsec_error_wrap(err, "%s", draft->file);
		return r;
	}
	r = make_draft(draft, text, err);
	if (r < 0)
		return r;
	r = try_draft(draft, change->integration, !options->no_test);
	if (r < 0)
		dsec_error_set(err, DSEC_ERROR_INVALID, "%s was not changed", draft->file);
	else
		r = put_in_place(draft, err);
	if (r < 0)
		unlink(draft->path);
	return r;
}

int configure(const struct options *options, const struct configure_change *change)
{
	struct draft draft = {0};
	struct dsec_error err;

	int r = configure_file(draft.file, options, &err);
	if (r == 0)
		r = change_file(&draft, options, change, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		return r;
	}
	struct reloading reloading = {.file = draft.file};
	log_line(LOG_INFO, "%s: added %s", draft.file, change->path[change->n_path - 1]);
	mounted_each_tree(reload, &reloading);
	if (reloading.n == 0)
		log_line(LOG_INFO,
			 "no daemon that can be seen runs with it: 'dsec mount' starts one");
	return 0;
}

/* What goes into it, or comes from elsewhere. */

int configure_key_file(char to[PATH_MAX], const char *config_file, const char *name,
		       const char *secret, struct dsec_error *err)
{
	char folder[PATH_MAX];

	folder_of(folder, config_file);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", folder, strerror(errno));
	if (snprintf(to, PATH_MAX, "%s/%s.key", folder, name) >= PATH_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "the path is too long");
	_cleanup_fd_ int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_new(fd, secret, strlen(secret));
	if (r == 0)
		return 0;
	if (fd >= 0)
		unlink(to);
	return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s%s", to, strerror(-r),
			      r == -EEXIST ? "; name it with --secret-access-key-file, or remove it"
					   : "");
}

int configure_read_json(json_t **ret, const char *file, struct dsec_error *err)
{
	_cleanup_free_ char *text = NULL;
	json_error_t where;
	size_t n;

	if (strcmp(file, "-") == 0)
		file = "/dev/stdin";
	int r = file_read(file, POLICY_SIZE_MAX, &text, &n);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s: %s", file, strerror(-r));
	*ret = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (!*ret)
		return dsec_error_set(err, DSEC_ERROR_INVALID, "%s:%d: %s", file, where.line,
				      json_syntax_message(&where));
	return 0;
}
