#include "cli/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"

/* Above every character, so that no short option can be taken for one of these. */
#define VALUE_BASE  0x100
#define COLUMNS     80 /* of a line of help */
#define COLUMN_MAX  26 /* where an option's help begins at the latest */
#define SHORT_MAX   8
#define MEMBER(x)   offsetof(struct options, x)
#define TRANSFORMER "upper-camel, camel, lower-snake, tf-var, …"

static const struct known {
	uint64_t bit;
	const char *name, *argument; /* argument: NULL: none; "[…]": one that may be left out */
	size_t member;               /* a bool without an argument, else a const char * */
	const char *help;            /* NULL: taken, but not told */
	enum option_value value;
	char letter;
} known[] = {
	{OPTION_NAMES, "project", "NAME", MEMBER(project), "the project, else DOPPLER_PROJECT",
	 VALUE_PROJECT, 'p'},
	{OPTION_NAMES, "config", "NAME", MEMBER(config_name), "the config, else DOPPLER_CONFIG",
	 VALUE_CONFIG, 'c'},
	{OPTION_CONFIG, "config", "FILE", MEMBER(config),
	 "the configuration (root: /etc/dsec/dsec.json)", VALUE_FILE},
	{OPTION_STATE, "state", "DIR", MEMBER(state), "the state folder (root: /var/lib/dsec)",
	 VALUE_FILE},
	{OPTION_FOREGROUND, "foreground", NULL, MEMBER(foreground),
	 "stay in the foreground and log to stderr"},
	{OPTION_WAIT, "wait", NULL, MEMBER(wait), "wait until nothing is left, however long"},
	{OPTION_COMMAND, "command", "TEXT", MEMBER(command), "run TEXT with your shell",
	 VALUE_TEXT},
	{OPTION_DYNAMIC_TTL, "dynamic-ttl", "TTL", MEMBER(dynamic_ttl),
	 "leases of this TTL: 3h, 1h30m, 90s", VALUE_TEXT},
	{OPTION_ONLY_SECRETS, "only-secrets", "KEY,…", MEMBER(only_secrets), "only these keys",
	 VALUE_TEXT},
	{OPTION_ONLY_SECRETS, "no-exit-on-missing-only-secrets", NULL, MEMBER(missing_fine), NULL},
	{OPTION_TRANSFORMER, "name-transformer", "T", MEMBER(name_transformer), TRANSFORMER,
	 VALUE_TRANSFORMER},
	{OPTION_PRESERVE_ENV, "preserve-env", "[KEY,…]", MEMBER(preserve_env),
	 "the environment's value wins, of all or these", VALUE_TEXT},
	{OPTION_MOUNT, "mount", "FILE", MEMBER(mount),
	 "secrets into a named pipe, not the environment", VALUE_FILE},
	{OPTION_FORMAT, "format", "FORMAT", MEMBER(format),
	 "json, env, env-no-quotes, docker, yaml, dotnet-json", VALUE_FORMAT},
	{OPTION_MOUNT, "mount-format", "FORMAT", MEMBER(mount_format), NULL, VALUE_FORMAT},
	{OPTION_MOUNT, "mount-max-reads", "N", MEMBER(mount_max_reads),
	 "the pipe ends after N readers", VALUE_TEXT},
	{OPTION_AWS, "aws", "NAME", MEMBER(aws), "AWS's SDKs get and renew the lease of NAME",
	 VALUE_TEXT},
	{OPTION_AWS, "aws-keys", "NAME", MEMBER(aws_keys),
	 "AWS_ACCESS_KEY_ID, … of the lease of NAME", VALUE_TEXT},
	{OPTION_NO_FILE, "no-file", NULL, MEMBER(no_file), "print to standard output"},
	{OPTION_PLAIN, "plain", NULL, MEMBER(plain), "print the values alone, one a line"},
	{OPTION_ONLY_NAMES, "only-names", NULL, MEMBER(only_names), "print no values"},
	{OPTION_MISSING, "no-exit-on-missing-secret", NULL, MEMBER(missing_fine), NULL},
	{OPTION_JSON, "json", NULL, MEMBER(json), "print JSON"},
	{OPTION_WATCH, "watch", NULL, MEMBER(watch), "show them anew each second, until Ctrl-C"},
	{OPTION_DRY_RUN, "dry-run", NULL, MEMBER(dry_run), "only say what would be removed"},
	{OPTION_EXPIRES, "expires", "TIME", MEMBER(expires),
	 "the token's life: 24h (default: no end)", VALUE_TEXT},
	{OPTION_INTEGRATION, "source", "SOURCE", MEMBER(source),
	 "static, environment, profile or process", VALUE_TEXT},
	{OPTION_INTEGRATION, "access-key-id", "ID", MEMBER(access_key_id), "of source static",
	 VALUE_TEXT},
	{OPTION_INTEGRATION, "secret-access-key-file", "F", MEMBER(secret_access_key_file),
	 "a file with the secret key; - reads it", VALUE_FILE},
	{OPTION_INTEGRATION, "profile", "NAME", MEMBER(profile), "of source profile", VALUE_TEXT},
	{OPTION_INTEGRATION, "credential-process", "CMD", MEMBER(credential_process),
	 "of source process", VALUE_TEXT},
	{OPTION_INTEGRATION, "region", "REGION", MEMBER(region), "default: us-east-1", VALUE_TEXT},
	{OPTION_INTEGRATION, "endpoint", "URL", MEMBER(endpoint), "IAM's, if it is not AWS's",
	 VALUE_TEXT},
	{OPTION_INTEGRATION, "sts-endpoint", "URL", MEMBER(sts_endpoint), NULL, VALUE_TEXT},
	{OPTION_INTEGRATION, "ca-file", "FILE", MEMBER(ca_file), "a private CA", VALUE_FILE},
	{OPTION_INTEGRATION, "path", "PATH", MEMBER(path), "of the users in IAM (/doppler/)",
	 VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "integration", "NAME", MEMBER(integration), "whose users it leases",
	 VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "policy", "FILE", MEMBER(policy), "the users' policy; - reads it",
	 VALUE_FILE},
	{OPTION_DYNAMIC_SECRET, "policy-arns", "ARN,…", MEMBER(policy_arns), "managed policies",
	 VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "permissions-boundary", "ARN", MEMBER(boundary),
	 "what no policy exceeds", VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "ttl", "TTL", MEMBER(ttl),
	 "of a lease, if the reader says nothing (30m)", VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "max-ttl", "TTL", MEMBER(max_ttl),
	 "the most a reader may ask for (12h)", VALUE_TEXT},
	{OPTION_DYNAMIC_SECRET, "scope", "SCOPE", MEMBER(scope), "who shares a lease (shared)",
	 VALUE_TEXT},
	{OPTION_WRITE, "no-test", NULL, MEMBER(no_test), "write it without asking AWS"},
	{OPTION_TREE, "tree", "DIR", MEMBER(tree), "the mount, else DSEC_TREE, else /run/dsec",
	 VALUE_FILE},
	{OPTION_SOCKET, "socket", "PATH", MEMBER(socket), "the daemon's socket (/run/dsec.sock)",
	 VALUE_FILE},
	{OPTION_ALL, "all", NULL, MEMBER(all), "all leases"},
	{OPTION_AUDIT, "user", "NAME", MEMBER(user), "about this IAM user: its name or ARN",
	 VALUE_TEXT},
	{OPTION_AUDIT, "lease", "ID", MEMBER(lease), "about this lease", VALUE_TEXT},
	{OPTION_AUDIT, "since", "TIME", MEMBER(since), "90m, 24h (ago), 2022-02-15, …T17:04:54Z",
	 VALUE_TEXT},
	{OPTION_HEAD, "head", "HASH", MEMBER(head), "a head that the system's log has", VALUE_TEXT},
	{OPTION_ACCOUNT, "account", "NUMBER", MEMBER(account),
	 "the AWS account's number (default: any)", VALUE_TEXT},
	{OPTION_DOPPLER, "forward-signals", "[BOOL]", MEMBER(ignored), NULL},
	{OPTION_DOPPLER, "no-fallback", NULL, MEMBER(ignored), NULL},
	{OPTION_DOPPLER, "no-cache", NULL, MEMBER(ignored), NULL},
	{OPTION_DOPPLER, "no-liveness-ping", NULL, MEMBER(ignored), NULL},
	{OPTION_DOPPLER, "silent-exit", NULL, MEMBER(ignored), NULL},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

static int left_text(char *to, size_t size, const struct known *option)
{
	const char *argument = option->argument ? option->argument : "";
	const char *between = !argument[0] ? "" : argument[0] == '[' ? "[=" : " ";
	char letter[] = {'-', option->letter, ',', ' ', '\0'};

	return snprintf(to, size, "%s--%s%s%s", option->letter ? letter : "", option->name, between,
			argument[0] == '[' ? argument + 1 : argument);
}

static bool shown(const struct command *command, const struct known *option)
{
	return command->options & option->bit && option->help;
}

static int column_of(const struct command *command)
{
	int column = (int)strlen("--help");

	for (size_t i = 0; i < KNOWN; i++) {
		char left[64] = "";

		if (shown(command, &known[i]))
			left_text(left, sizeof(left), &known[i]);
		int n = (int)table_width(left, strlen(left));
		column = n > column ? n : column;
	}
	return column < COLUMN_MAX ? column : COLUMN_MAX;
}

/* The paragraph's words in lines that a terminal has room for. */
static void print_filled(const char *text, size_t n)
{
	size_t column = 0;

	for (size_t i = 0; i < n;) {
		size_t length = strcspn(text + i, " \n");
		size_t width = table_width(text + i, length);

		if (column > 0 && column + 1 + width > COLUMNS) {
			putchar('\n');
			column = 0;
		} else if (column > 0) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)length, text + i);
		column += width;
		i += length + 1;
	}
	putchar('\n');
}

/* Paragraphs are what blank lines are between; one that begins with a blank is printed as it is. */
static void print_text(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t n = end ? (size_t)(end - text) : strlen(text) - 1;

		if (*text == ' ')
			printf("%.*s\n", (int)n, text);
		else
			print_filled(text, n);
		putchar('\n');
		text += end ? n + 2 : n + 1;
	}
}

void command_print_help(const struct command *command)
{
	int column = column_of(command);

	printf("Usage: dsec %s%s%s%s\n\n", command->name, command->options ? " [OPTION…]" : "",
	       command->operands[0] ? " " : "", command->operands);
	print_text(command->help);
	for (size_t i = 0; i < KNOWN; i++) {
		char left[64];

		if (!shown(command, &known[i]))
			continue;
		left_text(left, sizeof(left), &known[i]);
		int fill = column - (int)table_width(left, strlen(left));
		printf("  %s%*s  %s\n", left, fill > 0 ? fill : 0, "", known[i].help);
	}
	printf("  %-*s  %s\n", column, "--help", "print this");
}

void command_each_option(const struct command *command,
			 void (*each)(void *arg, const char *name, enum option_value value,
				      const char *help),
			 void *arg)
{
	char name[64];

	for (size_t i = 0; i < KNOWN; i++) {
		if (!shown(command, &known[i]))
			continue;
		snprintf(name, sizeof(name), "--%s", known[i].name);
		each(arg, name, known[i].value, known[i].help);
		snprintf(name, sizeof(name), "-%c", known[i].letter);
		if (known[i].letter)
			each(arg, name, known[i].value, known[i].help);
	}
	each(arg, "--help", VALUE_NONE, "print this");
}

static int wrong_usage(const struct command *command)
{
	fprintf(stderr, "Usage: dsec %s%s%s%s\nTry 'dsec %s --help'.\n", command->name,
		command->options ? " [OPTION…]" : "", command->operands[0] ? " " : "",
		command->operands, command->name);
	return STATUS_USAGE;
}

int command_misused(const struct command *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "dsec %s: ", command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return wrong_usage(command);
}

static void take(struct options *options, const struct known *option, const char *argument)
{
	char *member = (char *)options + option->member;

	if (option->argument || option->bit == OPTION_DOPPLER)
		*(const char **)member = argument;
	else
		*(bool *)member = true;
}

struct accepted {
	struct option longs[KNOWN + 2];
	char shorts[SHORT_MAX];
};

static void accept(struct accepted *ret, const struct command *command)
{
	size_t n = 0, letters = 0;

	*ret = (struct accepted){0};
	if (command->verbatim)
		ret->shorts[letters++] = '+';
	ret->shorts[letters++] = 'h';
	ret->longs[n++] = (struct option){"help", no_argument, NULL, 'h'};
	for (size_t i = 0; i < KNOWN; i++) {
		const char *argument = known[i].argument;

		if (!(command->options & known[i].bit))
			continue;
		ret->longs[n++] = (struct option){
			.name = known[i].name,
			.has_arg = !argument            ? no_argument
				   : argument[0] == '[' ? optional_argument
							: required_argument,
			.val = VALUE_BASE + (int)i,
		};
		if (known[i].letter) {
			ret->shorts[letters++] = known[i].letter;
			ret->shorts[letters++] = ':';
		}
	}
}

/* The index of an option in `known` by what getopt_long() returns. */
static size_t index_of(const struct command *command, int value)
{
	if (value >= VALUE_BASE)
		return (size_t)(value - VALUE_BASE);
	for (size_t i = 0; i < KNOWN; i++)
		if (known[i].letter == value && command->options & known[i].bit)
			return i;
	return KNOWN;
}

static bool parse_options(const struct command *command, int argc, char **argv,
			  struct options *options, int *ret_status)
{
	struct accepted accepted;
	int value;

	accept(&accepted, command);
	optind = 0; /* GNU: begin anew */
	while ((value = getopt_long(argc, argv, accepted.shorts, accepted.longs, NULL)) != -1) {
		if (value == 'h') {
			command_print_help(command);
			*ret_status = STATUS_FINE;
			return false;
		}
		size_t i = index_of(command, value);
		if (i == KNOWN) {
			*ret_status = wrong_usage(command);
			return false;
		}
		const char *argument = optarg ? optarg : "";
		if (known[i].argument && known[i].argument[0] != '[' && !argument[0]) {
			*ret_status = command_misused(
				command, "--%s needs a value that is not empty", known[i].name);
			return false;
		}
		take(options, &known[i], argument);
	}
	return true;
}

bool command_parse(const struct command *command, int argc, char **argv, struct options *ret,
		   int *ret_status)
{
	struct options options = {0};
	char name[64]; /* getopt_long puts argv[0] in front of what it has to say */

	snprintf(name, sizeof(name), "dsec %s", command->name);
	argv[0] = name;
	if (!parse_options(command, argc, argv, &options, ret_status))
		return false;
	size_t operands = (size_t)(argc - optind);
	if (operands < command->operands_min || operands > command->operands_max) {
		*ret_status =
			command_misused(command, "%s",
					operands < command->operands_min ? "an operand is missing"
									 : "too many operands");
		return false;
	}
	for (int i = optind; i < argc && !command->verbatim; i++)
		if (!argv[i][0]) {
			*ret_status = command_misused(command, "an operand is empty");
			return false;
		}
	options.operands = (const char *const *)argv + optind;
	options.n_operands = operands;
	*ret = options;
	return true;
}
