/*
 * words.h: a command line as the shared config file writes it: words and quotes, but no shell.
 */
#ifndef DSEC_AWS_WORDS_H
#define DSEC_AWS_WORDS_H

#define WORDS_MAX 64 /* of one command */

struct words {
	char *text;                /* what the words point into */
	char *word[WORDS_MAX + 1]; /* NULL after the last */
};

/* Splits at white space. '…' keeps all that is in it; in "…", \" and \\ are the character itself;
 * outside of quotes \ keeps what follows it. 0, or -EINVAL: no word at all, a quote that does not
 * end, or more than WORDS_MAX words. */
int words_split(struct words *words, const char *line);
void words_finish(struct words *words);

#endif
