#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/harden.h"

static const struct command *const commands[] = {
	&mount_command,
	&unmount_command,
	&status_command,
	&leases_command,
	&leases_revoke_command,
	&leases_renew_command,
	&reload_command,
	&check_command,
	&sweep_command,
	&audit_command,
	&audit_verify_command,
	&integration_list_command,
	&integration_policy_command,
	&integration_test_command,
	&dynamic_secret_list_command,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_overview(FILE *to)
{
	fputs("Usage: dsec COMMAND [OPTION…] [OPERAND…]\n\n"
	      "Dynamic AWS IAM credentials as files: reading one leases it.\n\n",
	      to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-20s %s\n", commands[i]->name, commands[i]->summary);
	fputs("  help                 print this, or the help of a command\n"
	      "  version              print the version\n\n"
	      "'dsec COMMAND --help' tells more, and so do dsec(1), dsec.json(5) and dsec(7).\n",
	      to);
}

/* How many of the words name the command: 1, 2, or 0 when they do not. */
static int words_matched(const struct command *command, int n, char *const *words)
{
	const char *blank = strchr(command->name, ' ');

	if (!blank)
		return n >= 1 && strcmp(words[0], command->name) == 0;
	size_t first = (size_t)(blank - command->name);
	if (n >= 2 && strlen(words[0]) == first && memcmp(words[0], command->name, first) == 0 &&
	    strcmp(words[1], blank + 1) == 0)
		return 2;
	return 0;
}

/* The command whose name takes the most words: "leases revoke" is not "leases" with an operand. */
static const struct command *find(int n, char *const *words, int *ret_words)
{
	const struct command *found = NULL;

	*ret_words = 0;
	for (size_t i = 0; i < COMMANDS; i++) {
		int matched = words_matched(commands[i], n, words);
		if (matched > *ret_words) {
			*ret_words = matched;
			found = commands[i];
		}
	}
	return found;
}

/* The first word of a command of two words, alone or with an unknown second. */
static int no_such_command(const char *word)
{
	size_t n = strlen(word);
	bool group = false;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (strncmp(commands[i]->name, word, n) != 0 || commands[i]->name[n] != ' ')
			continue;
		if (!group)
			fprintf(stderr, "dsec: '%s' needs a second word:\n", word);
		group = true;
		fprintf(stderr, "  dsec %s %s\n", commands[i]->name, commands[i]->operands);
	}
	if (!group) {
		fprintf(stderr, "dsec: there is no command '%s'\n\n", word);
		print_overview(stderr);
	}
	return STATUS_USAGE;
}

static int help(int n, char *const *words)
{
	int matched;

	if (n == 0) {
		print_overview(stdout);
		return STATUS_FINE;
	}
	const struct command *command = find(n, words, &matched);
	if (!command || matched != n)
		return no_such_command(words[0]);
	command_print_help(command);
	return STATUS_FINE;
}

static int run(int argc, char **argv)
{
	struct options options;
	int words, status;

	if (argc < 2) {
		print_overview(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return help(argc - 2, argv + 2);
	if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
		puts("dsec " DSEC_VERSION);
		return STATUS_FINE;
	}
	const struct command *command = find(argc - 1, argv + 1, &words);
	if (!command)
		return no_such_command(argv[1]);
	if (!command_parse(command, argc - words, argv + words, &options, &status))
		return status;
	return command->run(&options);
}

int main(int argc, char **argv)
{
	harden_process();
	int status = run(argc, argv);
	/* A full disk behind stdout must not look like success. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (errno != EPIPE)
			perror("dsec: standard output");
		return STATUS_FAILED;
	}
	return status;
}
