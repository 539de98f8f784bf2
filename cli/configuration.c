#include "cli/configuration.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "aws/aws.h"
#include "cli/log.h"
#include "lease/alloc.h"
#include "lease/download.h"
#include "lease/scratch.h"
#include "lease/secret.h"

/* What the secret memory is made for: IAM's most users an account, at a key's 40 bytes and its
 * bookkeeping each; the integrations' own credentials; and the static secrets of four
 * configurations (the running one, the next one, and room for both to grow), whose size no file can
 * exceed. Where less may be locked than that, the credentials get less, and then the leases. */
#define ARENA_A_LEASE           128
#define ARENA_CREDENTIALS       (256ul * 1024)
#define ARENA_CREDENTIALS_LEAST (16ul * 1024)
#define ARENA_FILES             4

/* A text beside the configuration's own size: of one value that is all of it, and escaped. */
#define LONGEST_TEXT 8

static struct {
	bool done;
	unsigned leases_max;
	size_t memory; /* for CONFIGURATION_LEASES_MAX */
} prepared;

static size_t size_of(const char *file)
{
	struct stat st = {0};

	if (stat(file, &st) < 0 || st.st_size > (off_t)CATALOG_FILE_SIZE_MAX)
		st.st_size = 0; /* it will not be read either */
	return (size_t)st.st_size;
}

/* What the leases have to leave. */
static size_t others_size(const char *file, size_t credentials)
{
	return credentials + ARENA_FILES * size_of(file);
}

static size_t whole_size(const char *file)
{
	return others_size(file, ARENA_CREDENTIALS) +
	       (size_t)CONFIGURATION_LEASES_MAX * ARENA_A_LEASE;
}

/* What is locked besides an arena of that size. */
static size_t besides(void)
{
	return SCRATCH_KEPT * SCRATCH_KEPT_SIZE + secret_arena_cost(1);
}

/* What the longest text takes while it is written, if that is more than is kept for it: it grows
 * from one buffer into another of at least twice the size, which has room for the longest value as
 * if each of its bytes had to be escaped. */
static size_t long_text(const char *file)
{
	size_t longest = LONGEST_TEXT * size_of(file), size = SCRATCH_KEPT_SIZE;

	while (size < longest && size < DOWNLOAD_SIZE_MAX)
		size *= 2;
	return size > SCRATCH_KEPT_SIZE ? size + size / 2 : 0;
}

/* The arena's size, or less than others_size where that is all that may be locked. */
static size_t arena_size(const char *file)
{
	size_t whole = whole_size(file), may = secret_lockable(), text = long_text(file);

	if (may == SIZE_MAX || may >= besides() + text + secret_arena_cost(whole))
		return whole;
	if (text > may / 2)
		text = may / 2; /* rather are some texts too long than there is no lease at all */
	return may > besides() + text ? may - besides() - text : 0;
}

static int too_little(size_t least, struct dsec_error *err)
{
	return dsec_error_set(
		err, DSEC_ERROR_NO_SPACE,
		"no more than %zu KiB of memory may be locked for secrets (RLIMIT_MEMLOCK: ulimit "
		"-l, LimitMEMLOCK=): one lease takes %zu KiB, %d take %zu KiB",
		secret_lockable() / 1024, (besides() + least + 1023) / 1024,
		CONFIGURATION_LEASES_MAX, prepared.memory / 1024);
}

size_t configuration_memory(void)
{
	return prepared.memory;
}

unsigned configuration_leases_max(void)
{
	return prepared.leases_max;
}

static void count_leases(size_t others)
{
	size_t size = secret_arena_size(), n = size > others ? (size - others) / ARENA_A_LEASE : 0;

	prepared.leases_max = n < CONFIGURATION_LEASES_MAX ? (unsigned)n : CONFIGURATION_LEASES_MAX;
}

/* An earlier worker's, which serves on, whatever has become of the file meanwhile. */
static bool is_there(int secret_fd)
{
	struct stat st;

	return secret_fd >= 0 && fstat(secret_fd, &st) == 0 && st.st_size > 0;
}

/* First of all, since libraries that have allocated cannot be made to wipe. */
static int prepare_secrets(const char *file, int secret_fd, struct dsec_error *err)
{
	if (prepared.done)
		return 0;

	size_t others = others_size(file, ARENA_CREDENTIALS_LEAST), size = arena_size(file);
	prepared.memory = besides() + long_text(file) + secret_arena_cost(whole_size(file));
	int r = aws_global_init(err);
	if (r == 0 && size < others + ARENA_A_LEASE && !is_there(secret_fd))
		r = too_little(others + ARENA_A_LEASE, err);
	if (r == 0)
		r = secret_fd >= 0 ? secret_arena_init_shared(secret_fd, size, err)
				   : secret_arena_init(size, err);
	prepared.done = r == 0;
	if (r == 0)
		count_leases(others);
	return r;
}

int configuration_prepare_shared(const char *file, int secret_fd, struct dsec_error *err)
{
	return prepare_secrets(file, secret_fd, err);
}

static void log_problems(const struct catalog_problems *problems, const char *file)
{
	char text[PATH_MAX + sizeof(problems->at[0].path) + sizeof(problems->at[0].message)];

	for (size_t i = 0; i < problems->n; i++) {
		catalog_problem_text(&problems->at[i], file, text, sizeof(text));
		log_line(problems->at[i].warning ? LOG_WARNING : LOG_ERR, "%s%s",
			 problems->at[i].warning ? "warning: " : "", text);
	}
	if (problems->more > 0)
		log_line(LOG_ERR, "%s: and %zu more", file, problems->more);
}

int configuration_prepare(const char *file, struct dsec_error *err)
{
	return prepare_secrets(file, -1, err);
}

struct catalog *configuration_load(const char *file)
{
	_cleanup_free_ struct catalog_problems *problems = alloc_zeroed(1, sizeof(*problems));
	struct catalog_system system;
	struct catalog *catalog = NULL;
	struct dsec_error err;

	if (prepare_secrets(file, -1, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
	} else {
		catalog_system_init(&system);
		if (catalog_load(&catalog, file, &system, problems) < 0)
			catalog = NULL;
		log_problems(problems, file);
	}
	return catalog;
}
