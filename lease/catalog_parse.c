/* catalog_parse.c: the file as a whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"
#include "lease/json_text.h"

#define READ_TIMEOUT_DEFAULT_MS    30000
#define READ_TIMEOUT_MIN_MS        1000
#define READ_TIMEOUT_MAX_MS        600000
#define UNMOUNT_TIMEOUT_DEFAULT_MS 60000
#define UNMOUNT_TIMEOUT_MIN_MS     1000
#define UNMOUNT_TIMEOUT_MAX_MS     3600000

static void read_integrations(struct catalog *ret, const struct cursor *root)
{
	struct cursor map, at;
	void *iter = NULL;

	if (!cursor_object(root, "integrations", "{\"aws-main\": {…}}", &map))
		return;
	struct integration *integrations =
		reader_array(root->reader, json_object_size(map.value), sizeof(*integrations));
	while (integrations && cursor_next(&map, &iter, &at))
		read_integration(&integrations[ret->n_integrations++], &at);
	if (integrations)
		qsort(integrations, ret->n_integrations, sizeof(*integrations),
		      catalog_compare_names);
	ret->integrations = integrations;
}

static void read_project(struct project *ret, const struct cursor *project)
{
	struct cursor at;
	void *iter = NULL;

	*ret = (struct project){.name = reader_string(project->reader, project->key)};
	if (!catalog_name_valid(project->key))
		cursor_refuse(project,
			      "a project's name has 1 to %d letters, digits and _.-, and "
			      "does not begin with '.'",
			      CATALOG_NAME_MAX);
	if (!cursor_is_object(project, "{\"dev\": {…}}"))
		return;
	struct config *configs =
		reader_array(project->reader, json_object_size(project->value), sizeof(*configs));
	while (configs && cursor_next(project, &iter, &at))
		read_config(&configs[ret->n_configs++], ret->name, &at);
	if (configs)
		qsort(configs, ret->n_configs, sizeof(*configs), catalog_compare_configs);
	ret->configs = configs;
}

static void read_projects(struct catalog *ret, const struct cursor *root)
{
	struct cursor map, at;
	void *iter = NULL;

	if (!cursor_object(root, "projects", "{\"app\": {\"dev\": {…}}}", &map))
		return;
	struct project *projects =
		reader_array(root->reader, json_object_size(map.value), sizeof(*projects));
	while (projects && cursor_next(&map, &iter, &at))
		read_project(&projects[ret->n_projects++], &at);
	if (projects)
		qsort(projects, ret->n_projects, sizeof(*projects), catalog_compare_names);
	ret->projects = projects;
}

static void read_timeout(const struct cursor *root, const char *key, const char *example,
			 const int64_t range_ms[2], const char *range, int64_t *ret)
{
	struct cursor at;
	int64_t ms;

	if (!cursor_duration(root, key, example, &ms, &at))
		return;
	if (ms < range_ms[0] || ms > range_ms[1])
		cursor_refuse(&at, "has to be from %s", range);
	else
		*ret = ms;
}

/* "64K", "16M", "1G"; 0: none. */
static uint64_t parse_size(const char *text)
{
	static const char units[] = "KMG";
	size_t n = strspn(text, "0123456789");
	const char *unit = n > 0 && n <= 7 && text[n] ? strchr(units, text[n]) : NULL;

	if (!unit || text[n + 1])
		return 0;
	return strtoull(text, NULL, 10) << 10 * (unit - units + 1);
}

static void read_audit_size(struct audit_settings *ret, const struct cursor *object)
{
	struct cursor at;
	const char *text = cursor_string(object, "max_size", "\"16M\"", &at);
	uint64_t size = text ? parse_size(text) : 0;

	if (!text)
		return;
	if (size < CATALOG_AUDIT_SIZE_MIN || size > CATALOG_AUDIT_SIZE_MAX)
		cursor_refuse(
			&at,
			"\"%.32s\" is no size of a file: it has to look like \"16M\" (K, M or "
			"G), from 64K to 1024G",
			text);
	else
		ret->max_size = size;
}

static void read_audit(struct catalog *catalog, const struct cursor *root)
{
	static const char *const known[] = {"file", "max_size", "keep", "required", NULL};
	struct audit_settings *ret = &catalog->audit;
	struct cursor object, at;

	ret->max_size = CATALOG_AUDIT_SIZE_DEFAULT;
	ret->keep = CATALOG_AUDIT_KEEP_DEFAULT;
	ret->required = true;

	if (!cursor_object(root, "audit", "{\"file\": \"/var/log/dsec/audit.jsonl\"}", &object))
		return;
	cursor_known(&object, known);
	cursor_need(&object, "file", "the audit log, such as \"/var/log/dsec/audit.jsonl\"");
	const char *file = cursor_string(&object, "file", "\"/var/log/dsec/audit.jsonl\"", &at);
	if (file && *file != '/')
		cursor_refuse(&at, "\"%.128s\" has to be a whole path, from '/' on", file);
	else if (file)
		ret->file = reader_string(root->reader, file);
	read_audit_size(ret, &object);
	cursor_integer(&object, "keep", 1, CATALOG_AUDIT_KEEP_MAX, &ret->keep);
	cursor_bool(&object, "required", &ret->required);
}

static void read_root(struct catalog *ret, const struct cursor *root)
{
	static const char *const known[] = {
		"integrations", "projects", "read_timeout", "unmount_timeout", "api",
		"audit",        NULL};
	static const int64_t read_range[] = {READ_TIMEOUT_MIN_MS, READ_TIMEOUT_MAX_MS};
	static const int64_t unmount_range[] = {UNMOUNT_TIMEOUT_MIN_MS, UNMOUNT_TIMEOUT_MAX_MS};

	ret->read_timeout_ms = READ_TIMEOUT_DEFAULT_MS;
	ret->unmount_timeout_ms = UNMOUNT_TIMEOUT_DEFAULT_MS;
	if (!cursor_is_object(root, "{\"integrations\": {…}, \"projects\": {…}}"))
		return;
	cursor_known(root, known);
	read_integrations(ret, root);
	read_projects(ret, root);
	read_timeout(root, "read_timeout", "\"30s\"", read_range, "1s to 10m",
		     &ret->read_timeout_ms);
	read_timeout(root, "unmount_timeout", "\"60s\"", unmount_range, "1s to 1h",
		     &ret->unmount_timeout_ms);
	read_api(ret, root);
	read_audit(ret, root);
}

static int refuse_file(struct catalog_problems *problems, unsigned line, const char *message)
{
	problems->at[0] = (struct catalog_problem){.line = line};
	snprintf(problems->at[0].message, sizeof(problems->at[0].message), "%s", message);
	problems->n = 1;
	return -EINVAL;
}

static json_t *parse_json(const char *text, size_t n, struct catalog_problems *problems)
{
	char message[sizeof(problems->at[0].message)];
	json_error_t error;

	json_wipe_on_free();
	json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!value) {
		snprintf(message, sizeof(message), "this is no JSON: %s",
			 json_syntax_message(&error));
		refuse_file(problems, error.line > 0 ? (unsigned)error.line : 0, message);
		/* jansson's message quotes the text. */
		secret_wipe(&error, sizeof(error));
	}
	return value;
}

int catalog_parse(struct catalog **ret, const char *text, size_t n, const char *file, bool private,
		  const struct catalog_system *system, struct catalog_problems *problems)
{
	problems->n = problems->more = 0;
	if (n > CATALOG_FILE_SIZE_MAX)
		return refuse_file(problems, 0, "the file is longer than 4 MiB");
	json_auto_t *value = parse_json(text, n, problems);
	if (!value)
		return -EINVAL;

	struct reader reader = {
		.system = system,
		.file = file,
		.text = text,
		.n = n,
		.private = private,
		.store = catalog_store_new(),
		.problems = problems,
	};
	struct cursor root = {.reader = &reader, .value = value};
	if (reader.store)
		read_root(&reader.store->catalog, &root);
	if (!reader.store || reader.no_memory) {
		catalog_store_free(reader.store);
		refuse_file(problems, 0, "there is no memory for this configuration");
		return -ENOMEM;
	}
	if (reader.refused) {
		catalog_store_free(reader.store);
		return -EINVAL;
	}
	*ret = &reader.store->catalog;
	return 0;
}
