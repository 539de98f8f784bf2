#include "lease/audit_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"
#include "lease/audit_chain.h"

#define NUMBER_FRONT "{\"n\":"
#define OWN_SUFFIX   ".to-"

_Static_assert(sizeof(((struct audit_line *)NULL)->text) == AUDIT_LINE_MAX + 1, "a line's size");

bool audit_line_read(FILE *from, struct audit_line *ret)
{
	int c;

	ret->n = 0;
	ret->ended = ret->overlong = false;
	while ((c = getc_unlocked(from)) != EOF && c != '\n') {
		if (ret->n < AUDIT_LINE_MAX)
			ret->text[ret->n++] = (char)c;
		else
			ret->overlong = true;
	}
	ret->text[ret->n] = '\0';
	ret->ended = c == '\n';
	return ret->ended || ret->n > 0;
}

uint64_t audit_line_number(const char *text, size_t n)
{
	const size_t front = strlen(NUMBER_FRONT);

	if (n <= front || memcmp(text, NUMBER_FRONT, front) != 0)
		return 0;
	return strtoull(text + front, NULL, 10);
}

/* The number of a file's first line, also when that one itself is not to be read: 0 when none is.
 */
static uint64_t first_number(const char *path)
{
	struct audit_line *line = alloc_zeroed(1, sizeof(*line));
	FILE *file = fopen(path, "re");
	uint64_t number = 0;

	for (uint64_t before = 0; file && number == 0 && audit_line_read(file, line); before++) {
		number = audit_line_number(line->text, line->n);
		if (number > before)
			number -= before;
	}
	if (file)
		fclose(file);
	free(line);
	return number;
}

uint64_t audit_files_number(const char *file, const char *path)
{
	size_t n = strlen(file);
	const size_t suffix = strlen(OWN_SUFFIX);
	char *end;

	if (strncmp(path, file, n) != 0 || strncmp(path + n, OWN_SUFFIX, suffix) != 0)
		return 0;
	uint64_t number = strtoull(path + n + suffix, &end, 10);
	return *end == '\0' ? number : 0;
}

/* What stands behind the file's name in the name of a rotated one. */
static bool is_rotated(const char *suffix)
{
	if (strncmp(suffix, OWN_SUFFIX, strlen(OWN_SUFFIX)) == 0)
		suffix += strlen(OWN_SUFFIX);
	else if (*suffix == '.' || *suffix == '-')
		suffix++;
	else
		return false;
	return *suffix && suffix[strspn(suffix, "0123456789-")] == '\0';
}

static bool is_compressed(const char *suffix)
{
	static const char *const ends[] = {".gz", ".xz", ".zst", ".bz2"};
	size_t n = strlen(suffix);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (n > strlen(ends[i]) && strcmp(suffix + n - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

static void add(struct audit_files *files, const char *path)
{
	if (files->n >= AUDIT_FILES_MAX)
		return;
	files->paths = alloc_resized(files->paths, files->n + 1, sizeof(*files->paths));
	files->paths[files->n++] = alloc_copy(path);
}

struct numbered {
	char *path;
	uint64_t first;
};

static int compare(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* One without a number stays, as the last, where it was meant: `file`, or any when that is NULL. */
static void sort(struct audit_files *files, const char *file)
{
	struct numbered *all = alloc_zeroed(files->n ? files->n : 1, sizeof(*all));
	size_t kept = 0;

	for (size_t i = 0; i < files->n; i++) {
		all[i] = (struct numbered){files->paths[i], first_number(files->paths[i])};
		if (all[i].first == 0 && file)
			all[i].first = audit_files_number(file, files->paths[i]);
		if (all[i].first == 0 && (!file || strcmp(file, files->paths[i]) == 0))
			all[i].first = UINT64_MAX;
	}
	qsort(all, files->n, sizeof(*all), compare);
	for (size_t i = 0; i < files->n; i++) {
		if (all[i].first > 0)
			files->paths[kept++] = all[i].path;
		else
			free(all[i].path);
	}
	files->n = kept;
	free(all);
}

int audit_files_find(struct audit_files *ret, const char *file, struct dsec_error *err)
{
	struct audit_files files = {0};
	char folder[PATH_MAX], path[2 * PATH_MAX];
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
	struct dirent *entry;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - file) : 1,
		 slash ? file : ".");
	DIR *dir = opendir(folder[0] ? folder : "/");
	if (!dir)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot look for the audit log %s: %s",
				      file, strerror(errno));
	while ((entry = readdir(dir))) {
		const char *suffix = entry->d_name + strlen(name);

		if (strncmp(entry->d_name, name, strlen(name)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (!*suffix || is_rotated(suffix))
			add(&files, path);
		else
			files.n_compressed += is_compressed(suffix);
	}
	closedir(dir);
	sort(&files, file);
	*ret = files;
	return 0;
}

int audit_files_sort(struct audit_files *ret, const char *const *paths, size_t n,
		     struct dsec_error *err)
{
	struct audit_files files = {0};

	for (size_t i = 0; i < n; i++) {
		FILE *file = fopen(paths[i], "re");

		if (!file) {
			audit_files_finish(&files);
			return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s: %s", paths[i],
					      strerror(errno));
		}
		fclose(file);
		add(&files, paths[i]);
	}
	sort(&files, NULL);
	*ret = files;
	return 0;
}

void audit_files_finish(struct audit_files *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->paths[i]);
	free(files->paths);
	*files = (struct audit_files){0};
}
