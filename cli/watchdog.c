#include "cli/watchdog.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/notify.h"
#include "lease/clock.h"

static int64_t interval_ms; /* 0: nobody watches */
static int64_t next_at;

void watchdog_init(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	long long watched = pid ? strtoll(pid, NULL, 10) : getpid();

	/* The manager watches its own child, which this may be, or be the child of. */
	if (usec && (watched == getpid() || watched == getppid()))
		interval_ms = strtoll(usec, NULL, 10) / 1000 / 2;
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

int64_t watchdog_tick(int64_t now_at)
{
	if (interval_ms <= 0)
		return DSEC_NEVER;
	if (now_at >= next_at) {
		notify_send("WATCHDOG=1");
		next_at = now_at + interval_ms;
	}
	return next_at;
}
