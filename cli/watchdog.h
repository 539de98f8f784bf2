/*
 * watchdog.h: tells a service manager that the daemon's loop still turns (WATCHDOG_USEC,
 * sd_watchdog_enabled(3)).
 */
#ifndef DSEC_CLI_WATCHDOG_H
#define DSEC_CLI_WATCHDOG_H

#include <stdint.h>

/* Takes the variables out of the environment. Without them nothing is ever sent. */
void watchdog_init(void);

/* Called in each turn of the loop: sends what is due, and returns the boottime at which it wants to
 * be called again. */
int64_t watchdog_tick(int64_t now_at);

#endif
