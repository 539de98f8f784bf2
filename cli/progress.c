#include "cli/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static bool shown;

#define COUNT_MAX 32

/* 5000 is "5,000", whatever the locale. */
static void count_text(char to[COUNT_MAX], size_t n)
{
	char digits[COUNT_MAX];
	int length = snprintf(digits, sizeof(digits), "%zu", n);
	size_t at = 0;

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			to[at++] = ',';
		to[at++] = digits[i];
	}
	to[at] = '\0';
}

static void about_text(char *to, size_t size, int64_t ms)
{
	long long seconds = (ms + 999) / 1000, minutes = (seconds + 30) / 60;

	if (ms < 0)
		to[0] = '\0';
	else if (seconds < 90)
		snprintf(to, size, ", about %lld s left", seconds);
	else if (minutes < 90)
		snprintf(to, size, ", about %lld min left", minutes);
	else
		snprintf(to, size, ", about %lld h %lld min left", minutes / 60, minutes % 60);
}

void progress_text(char to[PROGRESS_TEXT_MAX], size_t left, size_t total, int64_t estimate_ms)
{
	char left_text[COUNT_MAX], total_text[COUNT_MAX], about[48];

	count_text(left_text, left);
	count_text(total_text, total);
	about_text(about, sizeof(about), estimate_ms);
	snprintf(to, PROGRESS_TEXT_MAX, "revoking %s of %s%s", left_text, total_text, about);
}

void progress_show(size_t left, size_t total, int64_t estimate_ms)
{
	char text[PROGRESS_TEXT_MAX];

	if (!isatty(STDERR_FILENO))
		return;
	progress_text(text, left, total, estimate_ms);
	fprintf(stderr, "\r\033[K%s", text);
	fflush(stderr);
	shown = true;
}

void progress_clear(void)
{
	if (!shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	shown = false;
}
