#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/complete.h"
#include "cli/harden.h"

/* What dsec runs itself as. Neither listed nor explained. */
static const struct command *const own_commands[] = {
	&worker_command,
	&keeper_command,
	&keeper_layout_command,
};
#define OWN_COMMANDS (sizeof(own_commands) / sizeof(own_commands[0]))

static void print_overview(FILE *to)
{
	fputs("Usage: dsec COMMAND [OPTION…] [OPERAND…]\n\n"
	      "Dynamic AWS IAM credentials as files: reading one leases it.\n\n",
	      to);
	for (size_t i = 0; i < n_commands; i++)
		fprintf(to, "  %-20s %s\n", commands[i]->name, commands[i]->summary);
	fputs("  help                 print this, or the help of a command\n"
	      "  version              print the version\n\n"
	      "'dsec COMMAND --help' tells more, and so do dsec(1), dsec.json(5) and dsec(7).\n",
	      to);
}

/* The first word of a command of two words, alone or with an unknown second. */
static int no_such_command(const char *word)
{
	size_t n = strlen(word);
	bool group = false;

	for (size_t i = 0; i < n_commands; i++) {
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

static const struct command *find_own(const char *word)
{
	for (size_t i = 0; i < OWN_COMMANDS; i++)
		if (strcmp(own_commands[i]->name, word) == 0)
			return own_commands[i];
	return NULL;
}

static int help(int n, char *const *words)
{
	size_t matched;

	if (n == 0) {
		print_overview(stdout);
		return STATUS_FINE;
	}
	const struct command *command = command_find((size_t)n, words, &matched);
	if (!command || matched != (size_t)n)
		return no_such_command(words[0]);
	command_print_help(command);
	return STATUS_FINE;
}

static int run(int argc, char **argv)
{
	struct options options;
	size_t words;
	int status;

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
	if (strcmp(argv[1], COMPLETE_COMMAND) == 0)
		return complete((size_t)(argc - 2), argv + 2);
	const struct command *command = command_find((size_t)(argc - 1), argv + 1, &words);
	if (!command) {
		words = 1;
		command = find_own(argv[1]);
	}
	if (!command)
		return no_such_command(argv[1]);
	if (!command_parse(command, argc - (int)words, argv + words, &options, &status))
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
