#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/source.h"
#include "cli/table.h"
#include "cli/values.h"
#include "lease/alloc.h"

#define NOT_LEASED "(leased when it is read)"

/* Gathering: an object of all keys; null stands for what would have to be leased. */

static int add_file(json_t *values, const struct source *source, const char *key,
		    struct dsec_error *err)
{
	char path[PATH_MAX];
	struct download text = {0};

	if (source_is_dynamic(source, key)) {
		json_object_set_new(values, key, json_null());
		return 0;
	}
	if (snprintf(path, sizeof(path), "%s/%s", source->mounted.folder, key) >= (int)sizeof(path))
		return 0;
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : values_read(fd, &text);
	if (r < 0)
		dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
			       "%s: %s; the access of the config says who may read it", path,
			       strerror(-r));
	else
		json_object_set_new(values, key,
				    json_stringn(text.bytes ? text.bytes : "", text.n));
	download_finish(&text);
	return r;
}

static int list_files(json_t *values, const struct source *source, bool only_names,
		      struct dsec_error *err)
{
	DIR *folder = opendir(source->mounted.folder);
	const struct dirent *entry;
	int r = 0;

	if (!folder)
		return dsec_error_set(err, DSEC_ERROR_NOT_ALLOWED,
				      "%s: %s; the access of the config says who may read it",
				      source->mounted.folder, strerror(errno));
	while (r == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		if (only_names)
			json_object_set_new(values, entry->d_name, json_null());
		else
			r = add_file(values, source, entry->d_name, err);
	}
	closedir(folder);
	return r;
}

static int ask(char **ret, const struct source *source, const char *what, struct dsec_error *err)
{
	char path[512];

	snprintf(path, sizeof(path),
		 "/v3/configs/config/secrets%s?project=%s&config=%s&include_dynamic_secrets=%s",
		 what, source->names.project, source->names.config, what[0] ? "true" : "false");
	return client_ask(source->socket, "GET", path, NULL, ret, err);
}

/* All names, and the values of those that need no lease. */
static int list_socket(json_t *values, const struct source *source, bool only_names,
		       struct dsec_error *err)
{
	_cleanup_free_ char *names_text = NULL, *text = NULL;
	const char *name;
	json_t *value;
	size_t i;

	int r = ask(&names_text, source, "/names", err);
	if (r == 0 && !only_names)
		r = ask(&text, source, "", err);
	if (r < 0)
		return r;
	json_t *names = json_loads(names_text, 0, NULL),
	       *all = text ? json_loads(text, 0, NULL) : NULL;
	json_array_foreach(json_object_get(names, "names"), i, value)
		json_object_set_new(values, json_string_value(value), json_null());
	json_object_foreach(json_object_get(all, "secrets"), name, value)
	{
		json_t *computed = json_object_get(value, "computed");
		json_object_set(values, name, computed);
	}
	json_decref(names);
	json_decref(all);
	return 0;
}

/* Printing. */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in their order, for free(). */
static const char **sorted_names(json_t *values, size_t *ret_n)
{
	const char **names = alloc_zeroed(json_object_size(values) + 1, sizeof(*names));
	const char *name;
	json_t *value;
	size_t n = 0;

	json_object_foreach(values, name, value) names[n++] = name;
	qsort(names, n, sizeof(*names), compare_names);
	*ret_n = n;
	return names;
}

/* In the form of Doppler's command. What dsec does not have (notes, other types) is what Doppler's
 * says of a secret without them. */
static void print_json(const json_t *values, const char *const *names, size_t n, bool only_names)
{
	json_t *all = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *value = json_object_get(values, names[i]);
		if (!value)
			continue;
		json_object_set_new(all, names[i],
				    only_names ? json_object()
					       : json_pack("{s:O, s:{s:s}, s:s, s:s}", "computed",
							   value, "computedValueType", "type",
							   "string", "computedVisibility", "masked",
							   "note", ""));
	}
	char *text = json_dumps(all, JSON_COMPACT);
	puts(text ? text : "{}");
	free(text);
	json_decref(all);
}

static void print_table(const json_t *values, const char *const *names, size_t n, bool only_names)
{
	static const char *const header[] = {"NAME", "VALUE", "NOTE"};
	size_t columns = only_names ? 1 : 3, rows = 0;
	const char **cells = alloc_zeroed(n * columns + 1, sizeof(*cells));

	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_object_get(values, names[i]);
		const char *text = json_string_value(value);
		if (!value)
			continue;
		cells[rows * columns] = names[i];
		if (!only_names) {
			cells[rows * columns + 1] = text ? text : NOT_LEASED;
			cells[rows * columns + 2] = "";
		}
		rows++;
	}
	table_print(header, columns, cells, rows);
	free(cells);
}

static int run_list(const struct options *options)
{
	struct source source;
	struct dsec_error err;
	size_t n;

	if (source_find(&source, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	json_t *values = json_object();
	int r = source.is_mounted ? list_files(values, &source, options->only_names, &err)
				  : list_socket(values, &source, options->only_names, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
	} else {
		const char **names = sorted_names(values, &n);
		if (options->json)
			print_json(values, names, n, options->only_names);
		else
			print_table(values, names, n, options->only_names);
		free(names);
	}
	json_decref(values);
	return r < 0 ? STATUS_FAILED : STATUS_FINE;
}

const struct command secrets_command = {
	.name = "secrets",
	.operands = "",
	.options = OPTION_NAMES | OPTION_ONLY_NAMES | OPTION_JSON | OPTION_TREE | OPTION_SOCKET |
		   OPTION_DOPPLER,
	.summary = "list the secrets of a config",
	.help = "Prints the keys and values of a config. It leases nothing: what a dynamic secret\n"
		"would give has no value yet; 'dsec secrets get', 'dsec run' and reading the "
		"mount\n"
		"lease it.\n",
	.run = run_list,
};

/* secrets get */

static char *join(const struct options *options)
{
	size_t size = 1, n = 0;

	for (size_t i = 0; i < options->n_operands; i++)
		size += strlen(options->operands[i]) + 1;
	char *list = alloc_zeroed(size, 1);
	for (size_t i = 0; i < options->n_operands; i++)
		n += (size_t)snprintf(list + n, size - n, "%s%s", i > 0 ? "," : "",
				      options->operands[i]);
	return list;
}

static void print_plain(const json_t *values, const char *const *names, size_t n)
{
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_object_get(values, names[i]));
		if (!text)
			continue;
		if (!first)
			putchar('\n');
		fputs(text, stdout);
		first = false;
	}
	putchar('\n');
}

static int get(json_t **ret, const struct options *options, struct dsec_error *err)
{
	_cleanup_free_ char *list = join(options), *missing = NULL;
	struct source_choice choice = {.download = {.format = FORMAT_JSON, .only = list}};
	struct download text = {0};
	struct source source;

	int r = source_ttl(&choice.ttl_ms, options->dynamic_ttl, err);
	if (r == 0)
		r = source_find(&source, options, err);
	if (r == 0)
		r = source_get(&text, NULL, &missing, &source, &choice, err);
	if (r < 0)
		return r;
	if (missing && missing[0] && !options->missing_fine)
		r = dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				   "Could not find requested secret%s: %s",
				   strchr(missing, ',') ? "s" : "", missing);
	else
		*ret = values_json(&text);
	download_finish(&text);
	return r;
}

static int run_get(const struct options *options)
{
	struct dsec_error err;
	json_t *values = NULL;

	if (get(&values, options, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (options->json)
		print_json(values, options->operands, options->n_operands, false);
	else if (options->plain)
		print_plain(values, options->operands, options->n_operands);
	else
		print_table(values, options->operands, options->n_operands, false);
	json_decref(values);
	return STATUS_FINE;
}

const struct command secrets_get_command = {
	.name = "secrets get",
	.operands = "KEY…",
	.operands_min = 1,
	.operands_max = OPERANDS_MAX,
	.options = OPTION_NAMES | OPTION_PLAIN | OPTION_JSON | OPTION_DYNAMIC_TTL | OPTION_MISSING |
		   OPTION_TREE | OPTION_SOCKET | OPTION_DOPPLER,
	.summary = "print the values of some secrets",
	.help = "Prints the values of the named keys. A key of a dynamic secret is leased: through "
		"the\n"
		"mount from the lease that its readers share, at the socket from a new one. Keys "
		"that\n"
		"are named in one command come from one lease.\n"
		"\n"
		"Exit status: 0, or 1 when one of them is not there or cannot be leased.\n",
	.run = run_get,
};
