#include "cli/command.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* Above every character, so that no short option can be taken for one of these. */
#define VALUE_BASE 0x100

static const struct {
	unsigned bit;
	const char *name, *argument, *help;
} known[] = {
	{OPTION_CONFIG, "config", "FILE",
	 "the configuration (root: /etc/dsec/dsec.json, others:\n"
	 "$XDG_CONFIG_HOME/dsec/dsec.json)"},
	{OPTION_STATE, "state", "DIR",
	 "the state folder (root: /var/lib/dsec, others:\n"
	 "$XDG_STATE_HOME/dsec)"},
	{OPTION_FOREGROUND, "foreground", NULL, "stay in the foreground and log to stderr"},
	{OPTION_WAIT, "wait", NULL, "wait until nothing is left, however long it takes"},
	{OPTION_JSON, "json", NULL, "print JSON"},
	{OPTION_DRY_RUN, "dry-run", NULL, "only say what would be removed"},
	{OPTION_SOCKET, "socket", "PATH",
	 "the daemon's socket (default: api.listen's, else\n/run/dsec.sock or "
	 "$XDG_RUNTIME_DIR/dsec.sock)"},
	{OPTION_ALL, "all", NULL, "all leases"},
	{OPTION_USER, "user", "NAME", "only what is about this IAM user (its name or ARN)"},
	{OPTION_LEASE, "lease", "ID", "only what is about this lease"},
	{OPTION_SINCE, "since", "TIME",
	 "only what is not older: 90m, 24h (ago), 2022-02-15,\n2022-02-15T17:04:54Z"},
	{OPTION_HEAD, "head", "HASH", "a head that the system's log has; 16 digits of it will do"},
	{OPTION_ACCOUNT, "account", "NUMBER", "the AWS account's number (default: any)"},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

void command_print_help(const struct command *command)
{
	printf("Usage: dsec %s%s%s%s\n\n%s\n", command->name, command->options ? " [OPTION…]" : "",
	       command->operands[0] ? " " : "", command->operands, command->help);
	for (size_t i = 0; i < KNOWN; i++) {
		if (!(command->options & known[i].bit))
			continue;
		char left[32];
		const char *text = known[i].help, *end;

		snprintf(left, sizeof(left), "--%s%s%s", known[i].name,
			 known[i].argument ? " " : "", known[i].argument ? known[i].argument : "");
		while ((end = strchr(text, '\n'))) {
			printf("  %-18s %.*s\n", left, (int)(end - text), text);
			left[0] = '\0';
			text = end + 1;
		}
		printf("  %-18s %s\n", left, text);
	}
	printf("  %-18s %s\n", "--help", "print this");
}

static int wrong_usage(const struct command *command)
{
	fprintf(stderr, "Usage: dsec %s%s%s%s\nTry 'dsec %s --help'.\n", command->name,
		command->options ? " [OPTION…]" : "", command->operands[0] ? " " : "",
		command->operands, command->name);
	return STATUS_USAGE;
}

static void take(struct options *options, unsigned bit, const char *argument)
{
	switch (bit) {
	case OPTION_CONFIG:
		options->config = argument;
		break;
	case OPTION_STATE:
		options->state = argument;
		break;
	case OPTION_FOREGROUND:
		options->foreground = true;
		break;
	case OPTION_WAIT:
		options->wait = true;
		break;
	case OPTION_JSON:
		options->json = true;
		break;
	case OPTION_DRY_RUN:
		options->dry_run = true;
		break;
	case OPTION_ACCOUNT:
		options->account = argument;
		break;
	case OPTION_SOCKET:
		options->socket = argument;
		break;
	case OPTION_USER:
		options->user = argument;
		break;
	case OPTION_LEASE:
		options->lease = argument;
		break;
	case OPTION_SINCE:
		options->since = argument;
		break;
	case OPTION_HEAD:
		options->head = argument;
		break;
	case OPTION_ALL:
		options->all = true;
		break;
	}
}

bool command_parse(const struct command *command, int argc, char **argv, struct options *ret,
		   int *ret_status)
{
	struct option accepted[KNOWN + 2] = {{"help", no_argument, NULL, 'h'}};
	struct options options = {0};
	char name[64]; /* getopt_long puts argv[0] in front of what it has to say */
	size_t n = 1;
	int value;

	for (size_t i = 0; i < KNOWN; i++)
		if (command->options & known[i].bit)
			accepted[n++] = (struct option){
				.name = known[i].name,
				.has_arg = known[i].argument ? required_argument : no_argument,
				.val = VALUE_BASE + (int)i,
			};
	snprintf(name, sizeof(name), "dsec %s", command->name);
	argv[0] = name;
	optind = 0; /* GNU: begin anew */
	while ((value = getopt_long(argc, argv, "h", accepted, NULL)) != -1) {
		if (value == 'h') {
			command_print_help(command);
			*ret_status = STATUS_FINE;
			return false;
		}
		if (value < VALUE_BASE) {
			*ret_status = wrong_usage(command);
			return false;
		}
		const char *argument = optarg ? optarg : "";
		if (known[value - VALUE_BASE].argument && !argument[0]) {
			fprintf(stderr, "dsec %s: --%s needs a value that is not empty\n",
				command->name, known[value - VALUE_BASE].name);
			*ret_status = wrong_usage(command);
			return false;
		}
		take(&options, known[value - VALUE_BASE].bit, argument);
	}
	size_t operands = (size_t)(argc - optind);
	if (operands < command->operands_min || operands > command->operands_max) {
		fprintf(stderr, "dsec %s: %s\n", command->name,
			operands < command->operands_min ? "an operand is missing"
							 : "too many operands");
		*ret_status = wrong_usage(command);
		return false;
	}
	for (; optind < argc; optind++) {
		if (!argv[optind][0]) {
			fprintf(stderr, "dsec %s: an operand is empty\n", command->name);
			*ret_status = wrong_usage(command);
			return false;
		}
		options.operands[options.n_operands++] = argv[optind];
	}
	*ret = options;
	return true;
}
