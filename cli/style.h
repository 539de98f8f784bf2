/*
 * style.h: colour for people, where there are people: on a terminal, and never with NO_COLOR.
 */
#ifndef DSEC_CLI_STYLE_H
#define DSEC_CLI_STYLE_H

#include <stdbool.h>
#include <stddef.h>

enum style {
	STYLE_PLAIN,
	STYLE_BOLD,
	STYLE_DIM,
	STYLE_GREEN,
	STYLE_YELLOW,
	STYLE_RED,
};

/* Is there colour on this descriptor: a terminal that is not dumb, and NO_COLOR is not set (or
 * empty; no-color.org). */
bool style_wanted(int fd);

/* What turns a style on, and off again; "" where `wanted` is false. */
const char *style_on(bool wanted, enum style style);
const char *style_off(bool wanted);

/* The terminal's columns; 0 where it is none. */
size_t style_columns(int fd);

#endif
