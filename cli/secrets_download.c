#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/source.h"
#include "cli/words.h"
#include "lease/io.h"

/* Past stdio, whose buffer nobody wipes. */
static int print(const struct download *text)
{
	fflush(stdout);
	int r = io_write(STDOUT_FILENO, text->bytes, text->n);
	if (r == 0)
		r = io_write(STDOUT_FILENO, "\n", 1);
	if (r < 0 && r != -EPIPE)
		log_line(LOG_ERR, "standard output: %s", strerror(-r));
	return r;
}

/* Whole or not at all, and for the owner alone from the first byte on. */
static int save(const struct download *text, const char *path)
{
	char beside[PATH_MAX];

	if (snprintf(beside, sizeof(beside), "%s.XXXXXX", path) >= (int)sizeof(beside)) {
		log_line(LOG_ERR, "%.64s… is too long for a path", path);
		return -ENAMETOOLONG;
	}
	_cleanup_fd_ int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
	int r = fd < 0 ? -errno : io_write(fd, text->bytes, text->n);
	if (r == 0 && (fsync(fd) < 0 || rename(beside, path) < 0))
		r = -errno;
	if (r < 0) {
		log_line(LOG_ERR, "%s: %s", path, strerror(-r));
		if (fd >= 0)
			unlink(beside);
		return r;
	}
	log_line(LOG_INFO,
		 "%s holds the secrets as they are, for you alone (mode 0600), and the keys in it "
		 "end with their leases: remove it when it has served",
		 path);
	return 0;
}

static int run(const struct options *options)
{
	struct source_choice choice = {0};
	struct download text = {0};
	struct source source;
	struct dsec_error err;

	if (options->no_file == (options->n_operands > 0))
		return command_misused(&secrets_download_command,
				       "say --no-file to print them, or name the FILE to write");
	if (words_format(&choice.download.format, options->format, &err) < 0 ||
	    words_transformer(&choice.download.names, options->name_transformer, false, &err) < 0 ||
	    source_ttl(&choice.ttl_ms, options->dynamic_ttl, &err) < 0)
		return command_misused(&secrets_download_command, "%s", err.message);
	if (source_find(&source, options, &err) < 0 ||
	    source_get(&text, NULL, NULL, &source, &choice, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	int r = options->no_file ? print(&text) : save(&text, options->operands[0]);
	download_finish(&text);
	return r < 0 ? STATUS_FAILED : STATUS_FINE;
}

const struct command secrets_download_command = {
	.name = "secrets download",
	.operands = "[FILE]",
	.operands_max = 1,
	.options = OPTION_NAMES | OPTION_NO_FILE | OPTION_FORMAT | OPTION_DYNAMIC_TTL |
		   OPTION_TRANSFORMER | OPTION_JSON | OPTION_TREE | OPTION_SOCKET | OPTION_DOPPLER,
	.summary = "print all secrets of a config, or write them into a file",
	.help = "Gets all secrets of a config in one format; --no-file prints them. FILE is "
		"written\n"
		"with mode 0600 and, other than Doppler's, not encrypted: the key to it would be "
		"on\n"
		"this machine too. The lease lives to its TTL.\n"
		"\n"
		"Exit status: 0, or 1 when they cannot be leased or written.\n",
	.run = run,
};
