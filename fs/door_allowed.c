/*
 * door_allowed.c: a file or a command is allowed where it is written in the configuration.
 *
 * The keeper does not parse the configuration: it looks for the text in quotes, behind the name of
 * a member that has such a value. So it is at the mercy of nothing that stands there, and whoever
 * can write there may name what they like anyway. A worker that has gone astray can ask for what
 * the configuration names as a file or a command, and for nothing else.
 */
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/door_keeper.h"
#include "lease/alloc.h"
#include "lease/catalog.h"
#include "lease/io.h"
#include "lease/secret.h"

#define AWS_FILE_MAX (1ul * 1024 * 1024) /* of the shared files */

/* Secrets may stand in it: it is wiped when it is given back. */
struct text {
	char *bytes;
	size_t n;
};

static void text_finish(struct text *text)
{
	secret_wipe(text->bytes, text->n);
	free(text->bytes);
}
#define _cleanup_text_ __attribute__((cleanup(text_finish)))

/* An absent, overlong or unreadable file has no text. */
static struct text read_text(const char *path, size_t max)
{
	struct text text = {0};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return text;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)max) {
		text.bytes = alloc_zeroed((size_t)st.st_size + 1, 1);
		ssize_t n = io_read(fd, text.bytes, (size_t)st.st_size);
		text.n = n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return text;
}

/* Strings. */

/* As json_dumps() of jansson writes it, quotes included; for free(). */
static char *json_string(const char *text)
{
	size_t size = 6 * strlen(text) + 3, n = 0;
	char *to = alloc_zeroed(size, 1);

	to[n++] = '"';
	for (; *text; text++) {
		const char *name = strchr("\"\"\\\\\bb\ff\nn\rr\tt", *text);

		if (*text == '"' || *text == '\\' || (name && strchr("\b\f\n\r\t", *text)))
			n += (size_t)snprintf(to + n, size - n, "\\%c", name[1]);
		else if ((unsigned char)*text < 0x20)
			n += (size_t)snprintf(to + n, size - n, "\\u%04X", *text);
		else
			to[n++] = *text;
	}
	to[n] = '"';
	return to;
}

static bool has_string(const struct text *text, const char *string)
{
	_cleanup_free_ char *wanted = json_string(string);

	return text->bytes && memmem(text->bytes, text->n, wanted, strlen(wanted));
}

/* The members whose values are files, and commands: what else stands in the configuration, a static
 * secret above all, may look like one. */
static const char *const file_members[] = {
	"secret_access_key_file",
	"policy_file",
	"ca_file",
	"shared_credentials_file",
	"config_file",
	"tls_certificate",
	"tls_key",
	"file",
	NULL,
};
static const char *const command_members[] = {"command", NULL};

/* Does the text before `at` end with "NAME": for one of these names? */
static bool is_member_at(const struct text *text, const char *at, const char *const *names)
{
	const char *const begin = text->bytes;

	while (at > begin && strchr(" \t\r\n", at[-1]))
		at--;
	if (at == begin || *--at != ':')
		return false;
	while (at > begin && strchr(" \t\r\n", at[-1]))
		at--;
	for (; *names; names++) {
		size_t n = strlen(*names);

		if ((size_t)(at - begin) >= n + 2 && at[-1] == '"' && at[-2 - (ssize_t)n] == '"' &&
		    memcmp(at - 1 - n, *names, n) == 0)
			return true;
	}
	return false;
}

/* Is the string the value of one of these members? */
static bool has_member(const struct text *text, const char *const *names, const char *string)
{
	_cleanup_free_ char *wanted = json_string(string);
	size_t n = strlen(wanted);
	const char *at = text->bytes, *end = text->bytes + text->n;

	for (; at && (at = memmem(at, (size_t)(end - at), wanted, n)); at++)
		if (is_member_at(text, at, names))
			return true;
	return false;
}

/* The path as it is, or as it is from the configuration's folder. */
static bool names_path(const struct text *text, const char *config_file, const char *path)
{
	const char *slash = strrchr(config_file, '/');
	size_t folder = slash ? (size_t)(slash - config_file) + 1 : 0;

	return has_member(text, file_members, path) ||
	       (folder > 0 && strncmp(path, config_file, folder) == 0 && path[folder] &&
		has_member(text, file_members, path + folder));
}

/* AWS's shared files. */

static const char *home(void)
{
	const char *set = getenv("HOME");
	const struct passwd *user = set && *set ? NULL : getpwuid(geteuid());

	return set && *set ? set : user ? user->pw_dir : "";
}

/* Where AWS's tools look for it. For free(). */
static char *shared_file(const char *variable, const char *name)
{
	const char *set = getenv(variable);
	char *path;

	if (set && *set)
		return alloc_copy(set);
	if (asprintf(&path, "%s/.aws/%s", home(), name) < 0)
		abort();
	return path;
}

static const struct {
	const char *variable, *name;
} shared_files[] = {
	{"AWS_SHARED_CREDENTIALS_FILE", "credentials"},
	{"AWS_CONFIG_FILE", "config"},
};
#define SHARED_FILES (sizeof(shared_files) / sizeof(shared_files[0]))

static bool is_shared_file(const char *path)
{
	for (size_t i = 0; i < SHARED_FILES; i++) {
		_cleanup_free_ char *shared =
			shared_file(shared_files[i].variable, shared_files[i].name);
		if (strcmp(shared, path) == 0)
			return true;
	}
	return false;
}

/* Is it the rest of a line, behind a '=' and blanks? */
static bool is_value_at(const struct text *text, const char *at, size_t n)
{
	const char *end = at + n, *text_end = text->bytes + text->n;

	while (end < text_end && strchr(" \t\r", *end))
		end++;
	if (end < text_end && *end != '\n')
		return false;
	while (at > text->bytes && (at[-1] == ' ' || at[-1] == '\t'))
		at--;
	return at > text->bytes && at[-1] == '=';
}

static bool has_value(const struct text *text, const char *value)
{
	const char *at = text->bytes, *end = text->bytes + text->n;
	size_t n = strlen(value);

	while (n > 0 && at && (at = memmem(at, (size_t)(end - at), value, n))) {
		if (is_value_at(text, at, n))
			return true;
		at++;
	}
	return false;
}

/* Other places of the shared files that the configuration names. */
static bool named_file_has(const struct text *config, const char *config_file, const char *member,
			   const char *command)
{
	_cleanup_free_ char *wanted = json_string(member);
	const char *at = config->bytes, *end = config->bytes + config->n;

	while (at && (at = memmem(at, (size_t)(end - at), wanted, strlen(wanted)))) {
		char path[PATH_MAX];
		const char *slash = strrchr(config_file, '/');
		at += strlen(wanted);
		const char *open = memchr(at, '"', (size_t)(end - at));
		const char *close = open ? memchr(open + 1, '"', (size_t)(end - open - 1)) : NULL;
		if (!close)
			break;
		int n = open[1] == '/' ? snprintf(path, sizeof(path), "%.*s",
						  (int)(close - open - 1), open + 1)
				       : snprintf(path, sizeof(path), "%.*s/%.*s",
						  (int)(slash ? slash - config_file : 0),
						  config_file, (int)(close - open - 1), open + 1);
		if (n <= 0 || n >= (int)sizeof(path))
			continue;
		_cleanup_text_ struct text text = read_text(path, AWS_FILE_MAX);
		if (has_value(&text, command))
			return true;
	}
	return false;
}

static bool shared_files_have(const char *command)
{
	for (size_t i = 0; i < SHARED_FILES; i++) {
		_cleanup_free_ char *path =
			shared_file(shared_files[i].variable, shared_files[i].name);
		_cleanup_text_ struct text text = read_text(path, AWS_FILE_MAX);
		if (has_value(&text, command))
			return true;
	}
	return false;
}

/* What is allowed. */

bool door_file_allowed(const char *config_file, const char *path)
{
	if (path[0] != '/')
		return false;
	if (strcmp(path, config_file) == 0)
		return true;

	_cleanup_text_ struct text text = read_text(config_file, CATALOG_FILE_SIZE_MAX);
	return names_path(&text, config_file, path) ||
	       (has_string(&text, "profile") && is_shared_file(path));
}

bool door_socket_allowed(const char *config_file, const char *path)
{
	_cleanup_text_ struct text text = read_text(config_file, CATALOG_FILE_SIZE_MAX);
	char string[DOOR_TEXT_MAX + 8];

	snprintf(string, sizeof(string), "unix:%s", path);
	return path[0] == '/' && has_string(&text, string);
}

bool door_signal_allowed(const char *config_file, int number)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}};
	_cleanup_text_ struct text text = read_text(config_file, CATALOG_FILE_SIZE_MAX);

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (signals[i].number == number)
			return has_string(&text, "on_rotate") && has_string(&text, signals[i].name);
	return false;
}

bool door_command_allowed(const char *config_file, const char *command)
{
	_cleanup_text_ struct text text = read_text(config_file, CATALOG_FILE_SIZE_MAX);

	if (has_member(&text, command_members, command))
		return true;
	if (!has_string(&text, "profile"))
		return false;
	return shared_files_have(command) ||
	       named_file_has(&text, config_file, "shared_credentials_file", command) ||
	       named_file_has(&text, config_file, "config_file", command);
}
