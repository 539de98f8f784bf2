#include <time.h>

#include "cli/configuration.h"
#include "cli/daemon_private.h"
#include "cli/log.h"
#include "cli/notify.h"

int daemon_audit(struct daemon *daemon, const struct catalog *catalog, struct dsec_error *err)
{
	if (!catalog->audit_file) {
		daemon->audit = audit_close(daemon->audit);
		return 0;
	}
	if (daemon->audit)
		return audit_reopen(daemon->audit, catalog->audit_file, err);
	return audit_open(&daemon->audit, catalog->audit_file, &system_clock, err);
}

static long long monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void daemon_reload(struct daemon *daemon)
{
	_cleanup_catalog_ struct catalog *next = NULL;
	struct dsec_error err;

	notify_send("RELOADING=1\nMONOTONIC_USEC=%lld", monotonic_us());
	next = configuration_load(daemon->options.config_file);
	if (!next) {
		log_line(LOG_ERR, "not reloaded: the running configuration stays");
	} else if (daemon_audit(daemon, next, &err) < 0) {
		log_error(LOG_ERR, &err, "not reloaded: the running configuration stays: audit");
	} else {
		/* Before the engine asks for the providers of the new one. */
		struct catalog *last = daemon->catalog;
		daemon->catalog = catalog_ref(next);
		engine_reload(daemon->engine, daemon->catalog);
		fs_reload(daemon->fs, daemon->catalog);
		if (daemon->api)
			api_reload(daemon->api, daemon->catalog);
		catalog_unref(last);
		log_line(LOG_INFO, "reloaded %s", daemon->options.config_file);
	}
	notify_send("READY=1\nSTATUS=serving %s", daemon->options.mountpoint);
}
