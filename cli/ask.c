#include "cli/ask.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lease/alloc.h"
#include "lease/secret.h"

/* Ctrl-C, while what is typed is not shown: the terminal has to be put right first. */
static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	interrupted = 1;
}

bool ask_possible(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

static int gave_up(struct dsec_error *err)
{
	return dsec_error_set(err, DSEC_ERROR_INTERRUPTED, "given up: nothing was changed");
}

/* Past stdio, whose buffer nobody wipes. */
static int read_line(char to[ASK_LINE_MAX], struct dsec_error *err)
{
	size_t n = 0;

	while (true) {
		struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
		sigset_t none;
		char c;

		/* A blocked Ctrl-C comes through here, so that none is lost before a read. */
		sigemptyset(&none);
		if (ppoll(&fd, 1, NULL, &none) < 0 && errno == EINTR && !interrupted)
			continue;
		if (interrupted || read(STDIN_FILENO, &c, 1) <= 0)
			return gave_up(err);
		if (c == '\n' || c == '\r')
			break;
		if (n < ASK_LINE_MAX - 1)
			to[n++] = c;
	}
	to[n] = '\0';
	return 0;
}

int ask_line(char to[ASK_LINE_MAX], const char *question, const char *otherwise,
	     struct dsec_error *err)
{
	do {
		fprintf(stderr, otherwise && otherwise[0] ? "%s [%s]: " : "%s: ", question,
			otherwise);
		int r = read_line(to, err);
		if (r < 0)
			return r;
	} while (!to[0] && !otherwise);
	if (!to[0])
		snprintf(to, ASK_LINE_MAX, "%s", otherwise);
	return 0;
}

int ask_secret(char to[ASK_LINE_MAX], const char *question, struct dsec_error *err)
{
	const struct sigaction action = {.sa_handler = interrupt};
	struct sigaction old;
	sigset_t blocked, mask;
	struct termios before, silent;
	int r;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "the terminal: %s", strerror(errno));
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &mask);
	interrupted = 0;
	sigaction(SIGINT, &action, &old);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	do {
		fprintf(stderr, "%s (it is not shown): ", question);
		r = read_line(to, err);
		fputc('\n', stderr);
	} while (r == 0 && !to[0]);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	sigaction(SIGINT, &old, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return r;
}

static bool is_json(const char *text)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	json_decref(root);
	return root != NULL;
}

int ask_json(char **ret, const char *question, struct dsec_error *err)
{
	char *text = alloc_zeroed(ASK_TEXT_MAX + 1, 1);
	char line[ASK_LINE_MAX];
	size_t n = 0;

	fprintf(stderr, "%s (it ends with its last brace, or with a dot alone):\n", question);
	while (!is_json(text)) {
		int r = read_line(line, err);
		if (r == 0 && strlen(line) + 1 > ASK_TEXT_MAX - n)
			r = dsec_error_set(err, DSEC_ERROR_INVALID, "this is too long");
		if (r < 0) {
			free(text);
			return r;
		}
		if (strcmp(line, ".") == 0)
			break;
		n += (size_t)snprintf(text + n, ASK_TEXT_MAX + 1 - n, "%s\n", line);
	}
	*ret = text;
	return 0;
}
