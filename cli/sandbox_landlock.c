/*
 * sandbox_landlock.c: which files there are for the worker.
 *
 * By system calls, since there is no library; what the kernel's headers of Debian 12 do not know is
 * defined here, from linux/landlock.h of 6.12.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/sandbox_layers.h"

/* landlock_ruleset_attr, as long as the newest version here has it. */
struct ruleset {
	uint64_t files, network, scopes;
};

/* Rights by version of the interface. */
#define FILES_1      ((1ull << 13) - 1)
#define FILE_REFER   (1ull << 13) /* 2: to link or rename into another folder */
#define FILE_CUT     (1ull << 14) /* 3 */
#define FILE_IOCTL   (1ull << 15) /* 5: of devices */
#define NETWORK_BIND (1ull << 0)  /* 4: of TCP; what listens does so already */
#define SCOPE_ALL    3ull         /* 6: abstract sockets and signals to others */

#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_RIGHTS                                                                               \
	(READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |            \
	 LANDLOCK_ACCESS_FS_MAKE_REG | FILE_CUT)
/* What a rule for a file, not a folder, may have. */
#define FILE_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FILE_CUT)

/* 0 where there is none, or it is off. */
static int version(void)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return r < 0 ? 0 : (int)r;
}

static struct ruleset ruleset_of(int version)
{
	return (struct ruleset){
		.files = FILES_1 | (version >= 2 ? FILE_REFER : 0) | (version >= 3 ? FILE_CUT : 0) |
			 (version >= 5 ? FILE_IOCTL : 0),
		.network = version >= 4 ? NETWORK_BIND : 0,
		.scopes = version >= 6 ? SCOPE_ALL : 0,
	};
}

static size_t size_of(int version)
{
	if (version >= 6)
		return sizeof(struct ruleset);
	return version >= 4 ? offsetof(struct ruleset, scopes) : offsetof(struct ruleset, network);
}

static int add_rule(int rules, const struct ruleset *handled, const struct sandbox_path *path,
		    struct dsec_error *err)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = path->access == SANDBOX_WRITE ? WRITE_RIGHTS : READ_RIGHTS,
	};
	bool is_folder = true;
	/* The type is not asked for by fstat(2): a mount of our own would wait for our answer. */
	_cleanup_fd_ int fd = open(path->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOTDIR) {
		is_folder = false;
		fd = open(path->path, O_PATH | O_CLOEXEC);
	}
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return 0;
	if (fd < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s", path->path, strerror(errno));
	if (!is_folder)
		rule.allowed_access &= FILE_RIGHTS;
	rule.allowed_access &= handled->files;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "Landlock refuses %s: %s", path->path,
				      strerror(errno));
	return 0;
}

int sandbox_landlock(const struct sandbox *sandbox, int *ret_version, struct dsec_error *err)
{
	int has = version();
	struct ruleset handled = ruleset_of(has);

	if (has == 0) {
		*ret_version = 0;
		return 0;
	}
	_cleanup_fd_ int rules =
		(int)syscall(SYS_landlock_create_ruleset, &handled, size_of(has), 0);
	if (rules < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "Landlock: %s", strerror(errno));
	for (size_t i = 0; i < sandbox->n_paths; i++) {
		int r = add_rule(rules, &handled, &sandbox->paths[i], err);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "Landlock: %s", strerror(errno));
	*ret_version = has;
	return 0;
}
