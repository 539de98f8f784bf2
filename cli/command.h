/*
 * command.h: a subcommand of dsec: what it takes, what its help says, and what it does.
 *
 * Each subcommand is one file with one `const struct command`; main.c knows them all. An option is
 * parsed in one place, and a subcommand only says which of them it takes. One name has two
 * meanings: --config is the configuration's file, but in the commands that are Doppler's too it
 * names a config, as there.
 */
#ifndef DSEC_CLI_COMMAND_H
#define DSEC_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STATUS_FINE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2, /* the command line makes no sense */
};

#define OPTION_CONFIG         (1ull << 0) /* a file */
#define OPTION_STATE          (1ull << 1)
#define OPTION_FOREGROUND     (1ull << 2)
#define OPTION_WAIT           (1ull << 3)
#define OPTION_JSON           (1ull << 4)
#define OPTION_DRY_RUN        (1ull << 5)
#define OPTION_ACCOUNT        (1ull << 6)
#define OPTION_SOCKET         (1ull << 7)
#define OPTION_ALL            (1ull << 8)
#define OPTION_NAMES          (1ull << 9) /* -p, --project and -c, --config: names */
#define OPTION_TREE           (1ull << 10)
#define OPTION_DYNAMIC_TTL    (1ull << 11)
#define OPTION_FORMAT         (1ull << 12)
#define OPTION_TRANSFORMER    (1ull << 13)
#define OPTION_ONLY_SECRETS   (1ull << 14)
#define OPTION_PRESERVE_ENV   (1ull << 15)
#define OPTION_COMMAND        (1ull << 16)
#define OPTION_MOUNT          (1ull << 17) /* and what goes with it */
#define OPTION_NO_FILE        (1ull << 18)
#define OPTION_PLAIN          (1ull << 19)
#define OPTION_ONLY_NAMES     (1ull << 20)
#define OPTION_MISSING        (1ull << 21)
#define OPTION_AWS            (1ull << 22)
#define OPTION_WATCH          (1ull << 23)
#define OPTION_EXPIRES        (1ull << 24)
#define OPTION_INTEGRATION    (1ull << 25) /* what makes an integration */
#define OPTION_DYNAMIC_SECRET (1ull << 26) /* what makes a dynamic secret */
#define OPTION_WRITE          (1ull << 27) /* of commands that write dsec.json */
#define OPTION_AUDIT          (1ull << 29) /* which lines of the audit log */
#define OPTION_HEAD           (1ull << 30)
#define OPTION_DOPPLER        (1ull << 28) /* taken since Doppler's has it, without effect */

#define OPERANDS_MAX 64

/* A parsed command line. What was not given is NULL or false. */
struct options {
	const char *config, *state, *account, *socket, *tree;
	const char *project, *config_name;
	const char *dynamic_ttl, *format, *mount_format, *name_transformer, *only_secrets;
	const char *preserve_env; /* "": of all names */
	const char *command, *mount, *mount_max_reads, *aws, *aws_keys, *expires, *ignored;
	const char *source, *access_key_id, *secret_access_key_file, *profile, *credential_process;
	const char *region, *endpoint, *sts_endpoint, *ca_file, *path;
	const char *user, *lease, *since, *head;
	const char *integration, *policy, *policy_arns, *ttl, *max_ttl, *scope, *boundary;
	bool foreground, wait, json, dry_run, all, no_file, plain, only_names, missing_fine, watch;
	bool no_test;
	const char *const *operands;
	size_t n_operands;
};

struct command {
	const char *name;     /* one word or two: "mount", "integration policy" */
	const char *operands; /* as the usage line shows them: "[MOUNTPOINT]", "" for none */
	size_t operands_min, operands_max;
	bool verbatim;       /* the operands are another command line, which is left as it is */
	uint64_t options;    /* OPTION_… */
	const char *summary; /* a line in the list of commands; no full stop */
	const char *help;    /* what it does and what its exit status means; ends with a newline */
	int (*run)(const struct options *options); /* returns STATUS_… */
};

/* All of them. */
extern const struct command *const commands[];
extern const size_t n_commands;

/* The command whose name takes the most of the words, and how many; NULL: none. */
const struct command *command_find(size_t n, char *const *words, size_t *ret_words);

/* Reads what follows the command's name; argv[0] is any text. On --help prints the command's help
 * to stdout, and on a mistake says so on stderr; both set *ret_status and return false. */
bool command_parse(const struct command *command, int argc, char **argv, struct options *ret,
		   int *ret_status);

void command_print_help(const struct command *command);

/* "dsec NAME: MESSAGE", the usage, and STATUS_USAGE. */
int command_misused(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What an option takes, for completion. */
enum option_value {
	VALUE_NONE,
	VALUE_TEXT,
	VALUE_FILE,
	VALUE_PROJECT,
	VALUE_CONFIG,
	VALUE_FORMAT,
	VALUE_TRANSFORMER,
};

/* Calls `each` for every option that the command takes and its help shows. `name` is with its
 * dashes. */
void command_each_option(const struct command *command,
			 void (*each)(void *arg, const char *name, enum option_value value,
				      const char *help),
			 void *arg);

extern const struct command mount_command, unmount_command, check_command, reload_command;
extern const struct command status_command, sweep_command, run_command, upgrade_command;
extern const struct command audit_command, audit_verify_command;
extern const struct command worker_command, keeper_command, keeper_layout_command;
extern const struct command secrets_command, secrets_get_command, secrets_download_command;
extern const struct command leases_command, leases_revoke_command, leases_renew_command;
extern const struct command tokens_create_command, tokens_list_command, tokens_revoke_command;
extern const struct command integration_add_command, integration_list_command;
extern const struct command integration_policy_command, integration_test_command;
extern const struct command dynamic_secret_add_command, dynamic_secret_list_command;
extern const struct command credential_process_command;

#endif
