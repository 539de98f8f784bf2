#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/source.h"
#include "cli/values.h"
#include "lease/alloc.h"
#include "lease/secret.h"

/* The config's dynamic secrets, from the mount: the only one, or all of them for the error. */
static int only_secret(char to[VALUES_NAME_MAX], const struct source *source,
		       struct dsec_error *err)
{
	char path[PATH_MAX], all[256] = "";
	const struct dirent *entry;
	size_t n = 0, length = 0;

	if (snprintf(path, sizeof(path), "%s/.aws", source->mounted.folder) >= (int)sizeof(path))
		path[0] = '\0';
	DIR *folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		snprintf(to, VALUES_NAME_MAX, "%.*s", VALUES_NAME_MAX - 1, entry->d_name);
		if (length < sizeof(all))
			length += (size_t)snprintf(all + length, sizeof(all) - length, "%s%s",
						   n > 1 ? ", " : "", entry->d_name);
	}
	if (folder)
		closedir(folder);
	if (n == 1)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      n == 0 ? "%s/%s has no dynamic secret%s"
				     : "which dynamic secret of %s/%s: %s?",
			      source->names.project, source->names.config, all);
}

static int from_mount(struct download *ret, const struct source *source, const char *name,
		      struct dsec_error *err)
{
	char found[VALUES_NAME_MAX], path[PATH_MAX];

	if (!name) {
		int r = only_secret(found, source, err);
		if (r < 0)
			return r;
		name = found;
	}
	if (!catalog_key_valid(name) || snprintf(path, sizeof(path), "%s/.aws/%s/process.json",
						 source->mounted.folder, name) >= (int)sizeof(path))
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "\"%s\" is no name of a dynamic secret", name);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : values_read(fd, ret);
	if (r == -ENOENT)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "%s/%s has no dynamic secret %s", source->names.project,
				      source->names.config, name);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "%s: %s; %s/.status says why", path,
				      strerror(-r), source->mounted.folder);
	return 0;
}

static const char *value_of(const json_t *values, const char *name, const char *suffix)
{
	char key[2 * VALUES_NAME_MAX];

	snprintf(key, sizeof(key), "%s_%s", name, suffix);
	return json_string_value(json_object_get(values, key));
}

static int from_socket(struct download *ret, const struct source *source, const char *name,
		       struct dsec_error *err)
{
	struct source_choice choice = {0};
	struct download text = {0};
	char only[4 * VALUES_NAME_MAX], expiration[64] = "";

	if (!name || !catalog_key_valid(name) || strlen(name) >= VALUES_NAME_MAX)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "name the dynamic secret: dsec credential-process NAME");
	snprintf(only, sizeof(only), "%s_ACCESS_KEY_ID,%s_SECRET_ACCESS_KEY,%s_LEASE_EXPIRATION",
		 name, name, name);
	choice.download.only = only;
	int r = source_get(&text, NULL, NULL, source, &choice, err);
	if (r < 0)
		return r;
	json_t *values = values_json(&text);
	const char *key = value_of(values, name, "ACCESS_KEY_ID");
	const char *secret = value_of(values, name, "SECRET_ACCESS_KEY");
	const char *end = value_of(values, name, "LEASE_EXPIRATION");
	if (end) /* whole seconds: every SDK's parser takes that form */
		snprintf(expiration, sizeof(expiration), "%.*sZ", (int)strcspn(end, ".Z"), end);
	json_t *process = json_pack("{s:i, s:s, s:s, s:s}", "Version", 1, "AccessKeyId", key,
				    "SecretAccessKey", secret, "Expiration", expiration);
	download_finish(&text);
	json_decref(values);
	if (!process)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "%s/%s has no dynamic secret %s", source->names.project,
				      source->names.config, name);
	char *printed = json_dumps(process, JSON_COMPACT);
	json_decref(process);
	r = printed ? values_append(ret, printed, strlen(printed)) : -ENOMEM;
	if (printed)
		secret_wipe(printed, strlen(printed));
	free(printed);
	return r < 0 ? dsec_error_set(err, DSEC_ERROR_NO_SPACE, "no memory for secrets is left")
		     : 0;
}

static int run(const struct options *options)
{
	const char *name = options->n_operands > 0 ? options->operands[0] : NULL;
	struct download text = {0};
	struct source source;
	struct dsec_error err;

	int r = source_find(&source, options, &err);
	if (r == 0)
		r = source.is_mounted ? from_mount(&text, &source, name, &err)
				      : from_socket(&text, &source, name, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		download_finish(&text);
		return STATUS_FAILED;
	}
	printf("%.*s\n", (int)text.n, text.bytes);
	download_finish(&text);
	return STATUS_FINE;
}

const struct command credential_process_command = {
	.name = "credential-process",
	.operands = "[NAME]",
	.operands_max = 1,
	.options = OPTION_NAMES | OPTION_TREE | OPTION_SOCKET,
	.summary = "print a lease as AWS's credential_process does",
	.help = "Prints the key of the dynamic secret NAME (the config's only one, when it is "
		"left\n"
		"out) as AWS's tools and SDKs want it of a program. In ~/.aws/config:\n"
		"\n"
		"  credential_process = dsec credential-process -p app -c dev AWS\n"
		"\n"
		"They ask again before the lease ends.\n",
	.run = run,
};
