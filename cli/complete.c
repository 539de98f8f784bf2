#include "cli/complete.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/lease_table.h"
#include "cli/mounted.h"
#include "cli/names.h"
#include "cli/paths.h"
#include "cli/words.h"
#include "lease/clock.h"

struct completion {
	const struct command *command; /* NULL: none yet */
	size_t n;
	char *const *words;
	const char *current; /* what has been written of the last word */
	char prefix[64];     /* "--option=", where it stands before that in the same word */
	enum option_value value;
	const char *option; /* that this looks for */
	bool found;
};

static void offer(const struct completion *completion, const char *word, const char *help)
{
	if (strncmp(word, completion->current, strlen(completion->current)) == 0)
		printf("%s%s%s%s\n", completion->prefix, word, help ? "\t" : "", help ? help : "");
}

/* Commands. */

/* The first words, or the second ones of `first`. */
static void offer_commands(const struct completion *completion, const char *first)
{
	char before[64] = "";

	for (size_t i = 0; i < n_commands; i++) {
		const char *name = commands[i]->name, *blank = strchr(name, ' ');
		size_t n = blank ? (size_t)(blank - name) : strlen(name);
		char word[64];

		snprintf(word, sizeof(word), "%.*s", (int)n, name);
		if (first) {
			if (blank && strcmp(word, first) == 0)
				offer(completion, blank + 1, commands[i]->summary);
		} else if (strcmp(word, before) != 0) {
			offer(completion, word, blank ? NULL : commands[i]->summary);
			snprintf(before, sizeof(before), "%s", word);
		}
	}
	if (first)
		return;
	offer(completion, "help", "print the help of a command");
	offer(completion, "version", "print the version");
}

/* What is in the mount: listing it costs nothing. */

static void offer_folder(const struct completion *completion, const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			offer(completion, entry->d_name, NULL);
	if (folder)
		closedir(folder);
}

static bool offer_projects(void *arg, const char *tree)
{
	offer_folder(arg, tree);
	return true;
}

struct below {
	const struct completion *completion;
	const char *path;
};

static bool offer_below(void *arg, const char *tree)
{
	const struct below *below = arg;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", tree, below->path) < (int)sizeof(path))
		offer_folder(below->completion, path);
	return true;
}

static bool offer_leases(void *arg, const char *tree)
{
	const struct completion *completion = arg;
	char path[PATH_MAX], what[512];
	const json_t *lease;
	size_t i;

	if (snprintf(path, sizeof(path), "%s/.dsec/leases.json", tree) >= (int)sizeof(path))
		return true;
	json_t *root = json_load_file(path, 0, NULL);
	json_array_foreach(json_object_get(root, "leases"), i, lease)
	{
		const char *id = "", *project = "", *config = "", *secret = "";

		json_unpack((json_t *)lease, "{s:s, s:s, s:s, s:s}", "id", &id, "project", &project,
			    "config", &config, "secret", &secret);
		snprintf(what, sizeof(what), "%s/%s/%s", project, config, secret);
		offer(completion, id, what);
	}
	json_decref(root);
	return true;
}

/* What an option before the last word says; NULL: it is not there. */
static const char *value_before(const struct completion *completion, const char *name, char letter)
{
	size_t n = strlen(name);

	for (size_t i = 0; i + 1 < completion->n; i++) {
		const char *word = completion->words[i];

		if ((strcmp(word, name) == 0 ||
		     (word[0] == '-' && word[1] == letter && !word[2])) &&
		    i + 2 < completion->n)
			return completion->words[i + 1];
		if (strncmp(word, name, n) == 0 && word[n] == '=')
			return word + n + 1;
	}
	return NULL;
}

/* The project or config that the rest of the line means, "" where it means none. */
static void names_before(const struct completion *completion, struct names *ret)
{
	const struct options options = {
		.project = value_before(completion, "--project", 'p'),
		.config_name = value_before(completion, "--config", 'c'),
	};
	struct dsec_error ignored;

	if (names_find(ret, &options, &ignored) < 0)
		*ret = (struct names){0};
}

static void offer_configs(const struct completion *completion, const char *project)
{
	struct below below = {.completion = completion, .path = project};

	if (project[0])
		mounted_each_tree(offer_below, &below);
}

static void offer_keys(const struct completion *completion)
{
	char path[2 * CATALOG_NAME_MAX + 8];
	struct names names;
	struct below below = {.completion = completion, .path = path};

	names_before(completion, &names);
	snprintf(path, sizeof(path), "%s/%s", names.project, names.config);
	if (names.project[0] && names.config[0])
		mounted_each_tree(offer_below, &below);
}

static void offer_integrations(const struct completion *completion)
{
	char file[PATH_MAX];
	struct dsec_error ignored;
	const char *name;
	json_t *value;

	if (paths_config(file, value_before(completion, "--config", '\0'), &ignored) < 0)
		return;
	json_t *root = json_load_file(file, 0, NULL);
	json_object_foreach(json_object_get(root, "integrations"), name, value)
		offer(completion, name, NULL);
	json_decref(root);
}

/* Values of options. */

static void offer_value(const struct completion *completion)
{
	struct names names;

	switch (completion->value) {
	case VALUE_FILE:
		puts(":files");
		break;
	case VALUE_PROJECT:
		mounted_each_tree(offer_projects, (void *)completion);
		break;
	case VALUE_CONFIG:
		names_before(completion, &names);
		offer_configs(completion, names.project);
		break;
	case VALUE_FORMAT:
		for (int i = 0; i < FORMATS; i++)
			offer(completion, download_format_name((enum download_format)i), NULL);
		break;
	case VALUE_TRANSFORMER:
		for (size_t i = 0; words_transformers[i]; i++)
			offer(completion, words_transformers[i], NULL);
		break;
	case VALUE_NONE:
	case VALUE_TEXT:
		break;
	}
}

static void match_option(void *arg, const char *name, enum option_value value, const char *help)
{
	struct completion *completion = arg;

	if (strcmp(name, completion->option) == 0) {
		completion->value = value;
		completion->found = true;
	}
}

static enum option_value value_of(struct completion *completion, const char *option)
{
	completion->option = option;
	completion->value = VALUE_NONE;
	command_each_option(completion->command, match_option, completion);
	return completion->value;
}

static void offer_option(void *arg, const char *name, enum option_value value, const char *help)
{
	const struct completion *completion = arg;

	if (name[1] == '-' || completion->current[1] == '\0')
		offer(completion, name, help);
}

/* Operands. */

static void offer_operand(const struct completion *completion, size_t index, const char *first)
{
	const struct command *command = completion->command;

	if (command == &secrets_get_command)
		offer_keys(completion);
	else if (command == &leases_revoke_command ||
		 (command == &leases_renew_command && index == 0))
		mounted_each_tree(offer_leases, (void *)completion);
	else if (command == &integration_policy_command || command == &integration_test_command)
		offer_integrations(completion);
	else if (command == &dynamic_secret_add_command && index == 0)
		mounted_each_tree(offer_projects, (void *)completion);
	else if (command == &dynamic_secret_add_command && index == 1)
		offer_configs(completion, first);
	else if (command == &mount_command || command == &unmount_command ||
		 command == &status_command || command == &reload_command ||
		 command == &upgrade_command || command == &secrets_download_command)
		puts(":files");
}

/* Where the operands are: their number before the last word, and whether that is the value of an
 * option. `ret_command_line`: where a verbatim command's own command line begins. */
static bool walk(struct completion *completion, size_t from, size_t *ret_operands,
		 size_t *ret_command_line, const char **ret_first)
{
	bool value_next = false;

	*ret_operands = 0;
	for (size_t i = from; i + 1 < completion->n; i++) {
		const char *word = completion->words[i];

		if (value_next) {
			value_next = false;
		} else if (strcmp(word, "--") == 0) {
			if (completion->command->verbatim)
				*ret_command_line = i + 1;
		} else if (word[0] == '-' && word[1]) {
			enum option_value value = value_of(completion, word);
			value_next = value != VALUE_NONE && !strchr(word, '=') &&
				     strcmp(word, "--preserve-env") != 0;
		} else {
			if (completion->command->verbatim && *ret_command_line == 0)
				*ret_command_line = i;
			if ((*ret_operands)++ == 0)
				*ret_first = word;
		}
		if (*ret_command_line > 0)
			return false;
	}
	return value_next;
}

static void complete_command(struct completion *completion, size_t from)
{
	size_t operands, command_line = 0;
	const char *first = "", *equals = strchr(completion->current, '=');

	if (walk(completion, from, &operands, &command_line, &first)) {
		offer_value(completion);
	} else if (command_line > 0) {
		printf(":command %zu\n", command_line);
	} else if (completion->current[0] == '-' && equals) {
		snprintf(completion->prefix, sizeof(completion->prefix), "%.*s",
			 (int)(equals - completion->current) + 1, completion->current);
		char option[64];
		snprintf(option, sizeof(option), "%.*s", (int)(equals - completion->current),
			 completion->current);
		value_of(completion, option);
		completion->current = equals + 1;
		offer_value(completion);
	} else if (completion->current[0] == '-') {
		command_each_option(completion->command, offer_option, completion);
	} else if (completion->command->verbatim) {
		printf(":command %zu\n", completion->n - 1);
	} else {
		offer_operand(completion, operands, first);
	}
}

static void print_completions(size_t n, char *const *words)
{
	struct completion completion = {.n = n, .words = words, .current = words[n - 1]};
	size_t from;

	completion.command = command_find(n - 1, words, &from);
	if (n == 1) {
		offer_commands(&completion, NULL);
	} else if (strcmp(words[0], "help") == 0) {
		offer_commands(&completion, n == 2 ? NULL : words[1]);
	} else {
		if (n == 2)
			offer_commands(&completion, words[0]);
		if (completion.command)
			complete_command(&completion, from);
	}
	fflush(stdout);
}

static void copy_until(int fd, int64_t end_at)
{
	char bytes[4096];

	while (true) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int64_t left_ms = end_at - system_clock.boottime_at(&system_clock);
		ssize_t n;

		if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) != 1)
			return;
		n = read(fd, bytes, sizeof(bytes));
		if (n <= 0)
			return;
		fwrite(bytes, 1, (size_t)n, stdout);
	}
}

/* Another process looks: a request that a hanging daemon does not answer holds its process even
 * against SIGKILL. */
int complete(size_t n, char *const *words)
{
	int fds[2];

	if (n == 0 || pipe(fds) < 0)
		return STATUS_FINE;
	pid_t child = fork();
	if (child == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close_range(STDERR_FILENO, ~0U, 0);
		print_completions(n, words);
		_exit(0);
	}
	close(fds[1]);
	if (child > 0) {
		copy_until(fds[0], system_clock.boottime_at(&system_clock) + COMPLETE_TIMEOUT_MS);
		kill(child, SIGKILL);
	}
	return STATUS_FINE;
}
