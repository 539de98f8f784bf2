#include "cli/configuration.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "aws/aws.h"
#include "cli/log.h"
#include "lease/alloc.h"

/* What the secret memory is made for: IAM's most users an account, at a key's 40 bytes and its
 * bookkeeping each; the integrations' own credentials; and the static secrets of four
 * configurations (the running one, the next one, and room for both to grow), whose size no file can
 * exceed. */
#define ARENA_LEASES      5000ul
#define ARENA_A_LEASE     128
#define ARENA_CREDENTIALS (256ul * 1024)
#define ARENA_FILES       4

static bool prepared;

static size_t arena_size(const char *file)
{
	struct stat st = {0};

	if (stat(file, &st) < 0 || st.st_size > (off_t)CATALOG_FILE_SIZE_MAX)
		st.st_size = 0; /* it will not be read either */
	return ARENA_LEASES * ARENA_A_LEASE + ARENA_CREDENTIALS + ARENA_FILES * (size_t)st.st_size;
}

/* First of all, since libraries that have allocated cannot be made to wipe. */
static int prepare_secrets(const char *file, int secret_fd, struct dsec_error *err)
{
	if (prepared)
		return 0;

	int r = aws_global_init(err);
	if (r == 0)
		r = secret_fd >= 0 ? secret_arena_init_shared(secret_fd, arena_size(file), err)
				   : secret_arena_init(arena_size(file), err);
	prepared = r == 0;
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
