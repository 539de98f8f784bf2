/*
 * command.h: a subcommand of dsec: what it takes, what its help says, and what it does.
 *
 * Each subcommand is one file with one `const struct command`; main.c knows them all. Options have
 * one meaning and one spelling everywhere, so they are parsed in one place and a subcommand only
 * says which of them it takes.
 */
#ifndef DSEC_CLI_COMMAND_H
#define DSEC_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum {
	STATUS_FINE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2, /* the command line makes no sense */
};

enum {
	OPTION_CONFIG = 1 << 0,
	OPTION_STATE = 1 << 1,
	OPTION_FOREGROUND = 1 << 2,
	OPTION_WAIT = 1 << 3,
	OPTION_JSON = 1 << 4,
	OPTION_DRY_RUN = 1 << 5,
	OPTION_ACCOUNT = 1 << 6,
	OPTION_SOCKET = 1 << 7,
	OPTION_ALL = 1 << 8,
	/* of the audit log */
	OPTION_USER = 1 << 20,
	OPTION_LEASE = 1 << 21,
	OPTION_SINCE = 1 << 22,
	OPTION_HEAD = 1 << 23,
};

#define OPERANDS_MAX 64

/* A parsed command line. What was not given is NULL or false. */
struct options {
	const char *config, *state, *account, *socket;
	const char *user, *lease, *since, *head;
	bool foreground, wait, json, dry_run, all;
	const char *operands[OPERANDS_MAX];
	size_t n_operands;
};

struct command {
	const char *name;     /* one word or two: "mount", "integration policy" */
	const char *operands; /* as the usage line shows them: "[MOUNTPOINT]", "" for none */
	size_t operands_min, operands_max;
	unsigned options;    /* OPTION_… */
	const char *summary; /* a line in the list of commands; no full stop */
	const char *help;    /* what it does and what its exit status means; ends with a newline */
	int (*run)(const struct options *options); /* returns STATUS_… */
};

/* Reads what follows the command's name; argv[0] is any text. On --help prints the command's help
 * to stdout, and on a mistake says so on stderr; both set *ret_status and return false. */
bool command_parse(const struct command *command, int argc, char **argv, struct options *ret,
		   int *ret_status);

void command_print_help(const struct command *command);

extern const struct command mount_command, unmount_command, check_command, reload_command;
extern const struct command status_command, sweep_command;
extern const struct command audit_command, audit_verify_command;
extern const struct command leases_command, leases_revoke_command, leases_renew_command;
extern const struct command integration_list_command, integration_policy_command;
extern const struct command integration_test_command, dynamic_secret_list_command;

#endif
