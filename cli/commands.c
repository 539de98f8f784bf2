#include <string.h>

#include "cli/command.h"

const struct command *const commands[] = {
	&mount_command,
	&unmount_command,
	&status_command,
	&run_command,
	&secrets_command,
	&secrets_get_command,
	&secrets_download_command,
	&credential_process_command,
	&leases_command,
	&leases_revoke_command,
	&leases_renew_command,
	&tokens_create_command,
	&tokens_list_command,
	&tokens_revoke_command,
	&reload_command,
	&upgrade_command,
	&check_command,
	&sweep_command,
	&audit_command,
	&audit_verify_command,
	&integration_add_command,
	&integration_list_command,
	&integration_policy_command,
	&integration_test_command,
	&dynamic_secret_add_command,
	&dynamic_secret_list_command,
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

/* How many of the words name the command: 1, 2, or 0 when they do not. */
static size_t words_matched(const struct command *command, size_t n, char *const *words)
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

/* "leases revoke" is not "leases" with an operand. */
const struct command *command_find(size_t n, char *const *words, size_t *ret_words)
{
	const struct command *found = NULL;

	*ret_words = 0;
	for (size_t i = 0; i < n_commands; i++) {
		size_t matched = words_matched(commands[i], n, words);
		if (matched > *ret_words) {
			*ret_words = matched;
			found = commands[i];
		}
	}
	return found;
}
