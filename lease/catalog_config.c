/* catalog_config.c: one config of a project: its static secrets, who may read, and its leases. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/catalog_reader.h"
#include "lease/download.h"

#define READ_BITS 0444

/* A key, or with `and_more` the beginning of keys. */
static void check_key(const struct cursor *at, bool and_more)
{
	if (!catalog_key_valid(at->key))
		cursor_refuse(at,
			      "a key has 1 to %d of A-Z, 0-9 and _, and does not begin with a "
			      "digit",
			      CATALOG_NAME_MAX);
	else if (strncmp(at->key, "DOPPLER_", strlen("DOPPLER_")) == 0 ||
		 (and_more && strcmp(at->key, "DOPPLER") == 0))
		cursor_refuse(at, "keys that begin with DOPPLER_ are set by dsec itself");
}

/* No message shows the value. */
static void read_statics(struct config *ret, const struct cursor *object)
{
	struct cursor map, at;
	void *iter = NULL;

	if (!cursor_object(object, "secrets", "{\"AWS_REGION\": \"us-east-1\"}", &map))
		return;
	size_t n = json_object_size(map.value);
	if (n > CATALOG_STATICS_MAX) {
		cursor_refuse(&map, "has %zu keys; a config has at most %d", n,
			      CATALOG_STATICS_MAX);
		return;
	}
	struct static_secret *statics = reader_array(object->reader, n, sizeof(*statics));
	while (statics && cursor_next(&map, &iter, &at)) {
		struct static_secret *secret = &statics[ret->n_statics++];
		secret->key = reader_string(at.reader, at.key);
		check_key(&at, false);
		if (json_is_string(at.value))
			secret->value = cursor_secret(&at, json_string_value(at.value),
						      json_string_length(at.value));
		else
			cursor_text(&at, "\"us-east-1\"");
	}
	if (statics)
		qsort(statics, ret->n_statics, sizeof(*statics), catalog_compare_names);
	ret->statics = statics;
}

static void read_dynamics(struct config *ret, const struct cursor *object)
{
	struct cursor map, at;
	void *iter = NULL;

	if (!cursor_object(object, "dynamic_secrets", "{\"AWS_USER\": {…}}", &map))
		return;
	size_t n = json_object_size(map.value);
	if (n > CATALOG_DYNAMICS_MAX) {
		cursor_refuse(&map, "has %zu dynamic secrets; a config has at most %d", n,
			      CATALOG_DYNAMICS_MAX);
		return;
	}
	struct dynamic_secret *dynamics = reader_array(object->reader, n, sizeof(*dynamics));
	while (dynamics && cursor_next(&map, &iter, &at)) {
		check_key(&at, true);
		read_dynamic_secret(&dynamics[ret->n_dynamics++], &at);
	}
	if (dynamics)
		qsort(dynamics, ret->n_dynamics, sizeof(*dynamics), catalog_compare_names);
	ret->dynamics = dynamics;
}

/* Two dynamic secrets cannot meet: no property's name is the end of another's. */
static void check_collisions(const struct config *config, const struct cursor *object)
{
	struct cursor map, at;

	if (!cursor_member(object, "secrets", &map))
		return;
	for (size_t i = 0; i < config->n_dynamics; i++)
		for (int property = 0; property < PROPERTIES; property++) {
			char key[DOWNLOAD_KEY_MAX];
			snprintf(key, sizeof(key), "%s_%s", config->dynamics[i].name,
				 download_property_suffix((enum download_property)property));
			if (cursor_member(&map, key, &at))
				cursor_refuse(&at,
					      "the dynamic secret %s has this key too; rename "
					      "one of them",
					      config->dynamics[i].name);
		}
}

/* Access. */

static void read_user(struct access *ret, const struct cursor *object)
{
	const struct catalog_system *system = object->reader->system;
	struct cursor at;
	const char *name = cursor_string(object, "user", "\"app\"", &at);

	if (name && system->user(system, name, &ret->uid, &ret->gid) < 0)
		cursor_refuse(&at, "there is no user \"%.64s\"", name);
}

static void read_group(struct access *ret, const struct cursor *object)
{
	const struct catalog_system *system = object->reader->system;
	struct cursor at;
	const char *name = cursor_string(object, "group", "\"app\"", &at);

	if (name && system->group(system, name, &ret->gid) < 0)
		cursor_refuse(&at, "there is no group \"%.64s\"", name);
}

static void read_mode(struct access *ret, const struct cursor *object)
{
	struct cursor at;
	const char *text = cursor_string(object, "mode", "\"0440\"", &at);

	if (!text)
		return;
	size_t n = strspn(text, "01234567");
	if (n < 3 || n > 4 || text[n]) {
		cursor_refuse(&at, "\"%.64s\" is no mode; one looks like \"0440\"", text);
		return;
	}
	mode_t mode = (mode_t)strtoul(text, NULL, 8);
	if (mode & ~(mode_t)READ_BITS)
		cursor_refuse(&at,
			      "\"%s\" has more than read bits: nobody can write a secret here "
			      "or execute it; one looks like \"0440\"",
			      text);
	else if (mode == 0)
		cursor_refuse(&at, "\"%s\" lets nobody read", text);
	else
		ret->mode = mode;
}

static void read_access(struct access *ret, const struct cursor *object)
{
	static const char *const known[] = {"user", "group", "mode", "allow", "hide", NULL};
	const struct catalog_system *system = object->reader->system;
	struct cursor at;

	*ret = (struct access){
		.uid = system->default_uid,
		.gid = system->default_gid,
		.mode = 0400,
	};
	if (!cursor_object(object, "access", "{\"group\": \"app\", \"mode\": \"0440\"}", &at))
		return;
	cursor_known(&at, known);
	read_user(ret, &at);
	read_group(ret, &at);
	read_mode(ret, &at);
	read_allow(ret, &at);
}

/* The config's name up to its first '_', which is how Doppler names the configs of an environment.
 */
static const char *default_environment(struct reader *reader, const char *config)
{
	char name[CATALOG_NAME_MAX + 1];
	size_t n = strcspn(config, "_");

	snprintf(name, sizeof(name), "%.*s", (int)(n ? n : strlen(config)), config);
	return reader_string(reader, name);
}

void read_config(struct config *ret, const char *project, const struct cursor *at)
{
	static const char *const known[] = {"environment", "secrets", "dynamic_secrets", "access",
					    NULL};
	struct cursor environment_at;

	*ret = (struct config){
		.project = project,
		.name = reader_string(at->reader, at->key),
		.environment = default_environment(at->reader, at->key),
	};
	if (!catalog_name_valid(at->key))
		cursor_refuse(at,
			      "a config's name has 1 to %d letters, digits and _.-, and does "
			      "not begin with '.'",
			      CATALOG_NAME_MAX);
	if (!cursor_is_object(at, "{\"secrets\": …, \"dynamic_secrets\": …}"))
		return;
	cursor_known(at, known);
	const char *environment = cursor_string(at, "environment", "\"dev\"", &environment_at);
	if (environment && !catalog_name_valid(environment))
		cursor_refuse(&environment_at,
			      "an environment's name has 1 to %d letters, digits "
			      "and _.-, and does not begin with '.'",
			      CATALOG_NAME_MAX);
	else if (environment)
		ret->environment = reader_string(at->reader, environment);
	read_statics(ret, at);
	read_dynamics(ret, at);
	check_collisions(ret, at);
	read_access(&ret->access, at);
}
