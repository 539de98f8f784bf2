#include "fs/shared.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fs.h"

int shared_create(void)
{
	int fd = memfd_create("dsec-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	/* Sparse: a page is there once something is written to it. */
	if (ftruncate(fd, (off_t)sizeof(struct shared)) < 0) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

/* NULL: err says why. */
static struct shared *map(int fd, int flags, struct dsec_error *err)
{
	void *at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED) {
		dsec_error_set(err, DSEC_ERROR_FAULT, "cannot map %zu MiB: %s",
			       sizeof(struct shared) >> 20, strerror(errno));
		return NULL;
	}
	madvise(at, sizeof(struct shared), MADV_DONTDUMP);
	return at;
}

/* Who dies in here leaves layout 0, and the next begins again: nothing has been served yet. */
static int begin(struct shared *shared, struct dsec_error *err)
{
	if (getrandom(&shared->seed, sizeof(shared->seed), 0) != sizeof(shared->seed))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "getrandom: %s", strerror(errno));
	atomic_store(&shared->last_node, 1); /* the root's */
	atomic_store(&shared->first_open, FS_FIRST_OPEN_PROBE);
	shared->layout = SHARED_LAYOUT;
	return 0;
}

static int begin_or_check(struct shared *shared, struct dsec_error *err)
{
	if (shared->layout == 0)
		return begin(shared, err);
	if (shared->layout != SHARED_LAYOUT)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "what the keeper holds is of layout %llu, this version's is "
				      "%d: unmount and mount again",
				      (unsigned long long)shared->layout, SHARED_LAYOUT);
	return 0;
}

int shared_map(struct shared **ret, int fd, struct dsec_error *err)
{
	struct stat st;

	/* Beyond the end of a file that is too short lies SIGBUS. */
	if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(struct shared))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "what the keeper holds is of another version: unmount and "
				      "mount again");

	struct shared *shared = map(fd, MAP_SHARED, err);
	int r = shared ? begin_or_check(shared, err) : -EIO;
	if (r < 0)
		shared_unmap(shared);
	else
		*ret = shared;
	return r;
}

int shared_map_private(struct shared **ret, struct dsec_error *err)
{
	struct shared *shared = map(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, err);
	int r = shared ? begin(shared, err) : -EIO;

	if (r < 0)
		shared_unmap(shared);
	else
		*ret = shared;
	return r;
}

struct shared *shared_unmap(struct shared *shared)
{
	if (shared)
		munmap(shared, sizeof(*shared));
	return NULL;
}
