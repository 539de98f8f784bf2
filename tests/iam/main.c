/*
 * dsec-test-iam: an IAM, STS and a little EC2 for tests, on loopback, in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http.h"
#include "server.h"

#define FILE_SIZE_MAX (4UL * 1024 * 1024)

static const char usage[] =
	"usage: dsec-test-iam --principals FILE [--port N] [--region R] [--account N]\n"
	"                     [--tls-cert FILE --tls-key FILE] [--ready-file FILE]\n"
	"                     [--die-with-parent]\n"
	"\n"
	"--principals: a JSON array of the account's first users, each\n"
	"  {\"name\", \"access_key_id\", \"secret_access_key\", \"path\"?, \"session_token\"?, "
	"\"policy\"?};\n"
	"  one without a policy may do everything.\n"
	"When it serves, it writes {\"port\", \"endpoint\"} as a line to stdout, or to "
	"--ready-file.\n"
	"Tests control it by POST /_control and look at it by GET /_state, /_log and /_wait.\n";

struct options {
	const char *principals, *region, *account, *certificate, *key, *ready_file;
	uint16_t port;
	bool die_with_parent;
};

static bool read_options(int argc, char **argv, struct options *ret)
{
	static const struct option known[] = {
		{"principals", required_argument, NULL, 'p'},
		{"port", required_argument, NULL, 'P'},
		{"region", required_argument, NULL, 'r'},
		{"account", required_argument, NULL, 'a'},
		{"tls-cert", required_argument, NULL, 'c'},
		{"tls-key", required_argument, NULL, 'k'},
		{"ready-file", required_argument, NULL, 'f'},
		{"die-with-parent", no_argument, NULL, 'd'},
		{0},
	};
	int option;

	*ret = (struct options){.region = "us-east-1", .account = "123456789012"};
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (option) {
		case 'p':
			ret->principals = optarg;
			break;
		case 'P':
			ret->port = (uint16_t)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			ret->region = optarg;
			break;
		case 'a':
			ret->account = optarg;
			break;
		case 'c':
			ret->certificate = optarg;
			break;
		case 'k':
			ret->key = optarg;
			break;
		case 'f':
			ret->ready_file = optarg;
			break;
		case 'd':
			ret->die_with_parent = true;
			break;
		default:
			return false;
		}
	return ret->principals && optind == argc && !ret->certificate == !ret->key;
}

/* The file's text, for free(); NULL after saying what is wrong. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = must_alloc(FILE_SIZE_MAX + 1);
	size_t n = file ? fread(text, 1, FILE_SIZE_MAX, file) : 0;

	if (file && !ferror(file)) {
		fclose(file);
		text[n] = '\0';
		return text;
	}
	fprintf(stderr, "dsec-test-iam: %s: %s\n", path, strerror(errno));
	if (file)
		fclose(file);
	free(text);
	return NULL;
}

static bool add_principals(struct server *server, const char *path)
{
	_cleanup_free_ char *text = read_file(path);
	json_error_t error;
	json_t *principals = text ? json_loads(text, 0, &error) : NULL;

	if (!text)
		return false;
	explicit_bzero(text, strlen(text));

	_cleanup_free_ char *wrong = principals
					     ? server_add_principals(server, principals)
					     : must_printf("line %d: %s", error.line, error.text);

	json_decref(principals);
	if (wrong)
		fprintf(stderr, "dsec-test-iam: %s: %s\n", path, wrong);
	return !wrong;
}

/* Whole or not at all: who waits for the file must not read half of it. */
static bool write_ready_file(const char *path, const char *line)
{
	_cleanup_free_ char *temporary = must_printf("%s.new", path);
	FILE *file = fopen(temporary, "we");
	bool ok = file && fputs(line, file) >= 0;

	ok = file && fclose(file) == 0 && ok && rename(temporary, path) == 0;
	if (!ok)
		fprintf(stderr, "dsec-test-iam: %s: %s\n", path, strerror(errno));
	return ok;
}

static bool announce(const struct options *options, const struct http *http)
{
	_cleanup_free_ char *line =
		must_printf("{\"port\": %u, \"endpoint\": \"http%s://127.0.0.1:%u\"}\n",
			    http_port(http), options->certificate ? "s" : "", http_port(http));

	if (options->ready_file)
		return write_ready_file(options->ready_file, line);
	return fputs(line, stdout) >= 0 && fflush(stdout) == 0;
}

static int signals_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int timeout_until(int64_t deadline)
{
	int64_t left = deadline == INT64_MAX ? INT64_MAX : deadline - clock_monotonic_ms();

	return deadline == INT64_MAX ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Until a signal ends it. */
static void serve(struct server *server, struct http *http, int signals)
{
	struct pollfd fds[] = {
		{.fd = http_fd(http), .events = POLLIN},
		{.fd = signals, .events = POLLIN},
	};

	while (!fds[1].revents) {
		int64_t mine = server_tick(server), its = http_deadline(http);

		poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_until(mine < its ? mine : its));
		http_run(http);
	}
}

static bool run(const struct options *options, struct server *server)
{
	_cleanup_free_ char *certificate =
		options->certificate ? read_file(options->certificate) : NULL;
	_cleanup_free_ char *key = options->key ? read_file(options->key) : NULL;
	int signals = signals_fd();

	if ((options->certificate && (!certificate || !key)) ||
	    !add_principals(server, options->principals))
		return false;

	struct http *http = http_start(server, options->port, certificate, key);

	if (!http) {
		fputs("dsec-test-iam: cannot listen\n", stderr);
		return false;
	}

	bool ok = announce(options, http);

	if (ok)
		serve(server, http, signals);
	http_stop(http);
	close(signals);
	return ok;
}

int main(int argc, char **argv)
{
	pid_t parent = getppid();
	struct options options;
	struct server server;

	if (!read_options(argc, argv, &options)) {
		fputs(usage, stderr);
		return 2;
	}
	/* The parent may have died before the kernel was told. */
	if (options.die_with_parent &&
	    (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
		return 1;
	server_init(&server, options.region, options.account);

	bool ok = run(&options, &server);

	server_finish(&server);
	return ok ? 0 : 1;
}
