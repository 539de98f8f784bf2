/*
 * repository.c: doppler.yaml, as Doppler's `setup` reads it.
 *
 * Read with libyaml: the file is written by people for Doppler's own command, so whatever YAML
 * accepts (flow style, quotes, comments, anchors) has to be read here as it is read there.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "cli/names.h"

struct reading {
	yaml_document_t *document;
	const char *file, *below;
	struct dsec_error *err;
};

static int refuse(const struct reading *reading, const yaml_node_t *node, const char *what)
{
	return dsec_error_set(reading->err, DSEC_ERROR_INVALID, "%s:%zu: %s", reading->file,
			      (size_t)node->start_mark.line + 1, what);
}

/* The value of a mapping's member; NULL: it has none. */
static yaml_node_t *member(const struct reading *reading, const yaml_node_t *mapping,
			   const char *name)
{
	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(reading->document, pair->key);

		if (key && key->type == YAML_SCALAR_NODE &&
		    key->data.scalar.length == strlen(name) &&
		    memcmp(key->data.scalar.value, name, strlen(name)) == 0)
			return yaml_document_get_node(reading->document, pair->value);
	}
	return NULL;
}

/* The text of a member, at most `size` with its end; "" where it has none. */
static int text_of(const struct reading *reading, const yaml_node_t *mapping, const char *name,
		   char *to, size_t size)
{
	const yaml_node_t *node = member(reading, mapping, name);

	to[0] = '\0';
	if (!node)
		return 0;
	if (node->type != YAML_SCALAR_NODE)
		return refuse(reading, node, "this has to be a text");
	size_t n = node->data.scalar.length;
	if (n >= size || memchr(node->data.scalar.value, '\0', n))
		return refuse(reading, node, "this is too long, or no text");
	memcpy(to, node->data.scalar.value, n);
	to[n] = '\0';
	return 0;
}

static int names_of(const struct reading *reading, const yaml_node_t *setup, struct names *ret)
{
	int r = text_of(reading, setup, "project", ret->project, sizeof(ret->project));

	if (r < 0)
		return r;
	return text_of(reading, setup, "config", ret->config, sizeof(ret->config));
}

/* Without the "./" that it may begin with and the "/" that it may end with. */
static void plain_path(char *path)
{
	while (strncmp(path, "./", 2) == 0)
		memmove(path, path + 2, strlen(path + 2) + 1);
	size_t n = strlen(path);
	while (n > 0 && path[n - 1] == '/')
		path[--n] = '\0';
	if (strcmp(path, ".") == 0)
		path[0] = '\0';
}

static bool lies_in(const char *below, const char *path)
{
	size_t n = strlen(path);

	return n == 0 || (strncmp(below, path, n) == 0 && (below[n] == '\0' || below[n] == '/'));
}

static int choose(const struct reading *reading, const yaml_node_t *list, struct names *ret)
{
	size_t longest = 0;
	bool found = false;

	for (const yaml_node_item_t *item = list->data.sequence.items.start;
	     item < list->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct names names;
		char path[1024];

		if (!entry || entry->type != YAML_MAPPING_NODE)
			return refuse(reading, entry ? entry : list,
				      "an entry of setup has to be project, config and path");
		int r = text_of(reading, entry, "path", path, sizeof(path));
		if (r == 0)
			r = names_of(reading, entry, &names);
		if (r < 0)
			return r;
		plain_path(path);
		if (!lies_in(reading->below, path) || (found && strlen(path) <= longest))
			continue;
		found = true;
		longest = strlen(path);
		*ret = names;
	}
	return 0;
}

static int parse_document(const struct reading *reading, struct names *ret)
{
	const yaml_node_t *root = yaml_document_get_root_node(reading->document);

	*ret = (struct names){0};
	if (!root)
		return 0; /* an empty file */
	if (root->type != YAML_MAPPING_NODE)
		return refuse(reading, root, "this has to begin with setup:");
	const yaml_node_t *setup = member(reading, root, "setup");
	if (!setup)
		return 0;
	if (setup->type == YAML_MAPPING_NODE)
		return names_of(reading, setup, ret);
	if (setup->type == YAML_SEQUENCE_NODE)
		return choose(reading, setup, ret);
	return refuse(reading, setup, "setup has to be project and config, or a list of such");
}

int repository_parse(struct names *ret, const char *text, size_t n, const char *file,
		     const char *below, struct dsec_error *err)
{
	yaml_parser_t parser;
	yaml_document_t document;

	if (!yaml_parser_initialize(&parser))
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libyaml does not start");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	if (!yaml_parser_load(&parser, &document)) {
		int r = dsec_error_set(err, DSEC_ERROR_INVALID, "%s:%zu: this is no YAML: %s", file,
				       (size_t)parser.problem_mark.line + 1,
				       parser.problem ? parser.problem : "it cannot be read");
		yaml_parser_delete(&parser);
		return r;
	}
	const struct reading reading = {&document, file, below, err};
	int r = parse_document(&reading, ret);
	yaml_document_delete(&document);
	yaml_parser_delete(&parser);
	return r;
}
