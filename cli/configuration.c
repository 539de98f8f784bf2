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

int configuration_prepare(const char *file, struct dsec_error *err)
{
	static bool made;
	struct stat st = {0};

	if (made)
		return 0;
	if (stat(file, &st) < 0 || st.st_size > (off_t)CATALOG_FILE_SIZE_MAX)
		st.st_size = 0; /* it will not be read either */
	/* First of all, since libraries that have allocated cannot be made to wipe. */
	int r = aws_global_init(err);
	if (r < 0)
		return r;
	r = secret_arena_init(ARENA_LEASES * ARENA_A_LEASE + ARENA_CREDENTIALS +
				      ARENA_FILES * (size_t)st.st_size,
			      err);
	if (r == 0)
		made = true;
	return r;
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

struct catalog *configuration_load(const char *file)
{
	_cleanup_free_ struct catalog_problems *problems = alloc_zeroed(1, sizeof(*problems));
	struct catalog_system system;
	struct catalog *catalog = NULL;
	struct dsec_error err;

	if (configuration_prepare(file, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
	} else {
		catalog_system_init(&system);
		if (catalog_load(&catalog, file, &system, problems) < 0)
			catalog = NULL;
		log_problems(problems, file);
	}
	return catalog;
}
