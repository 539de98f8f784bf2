#include <time.h>

#include "cli/configuration.h"
#include "cli/daemon_private.h"
#include "cli/log.h"
#include "cli/notify.h"

static void say(void *arg, int priority, const char *message)
{
	log_line(priority, "%s", message);
}

int daemon_audit(struct daemon *daemon, const struct catalog *catalog, struct dsec_error *err)
{
	const struct audit_options options = {
		.file = catalog->audit.file,
		.state_folder = daemon->options.state->folder,
		.max_size = catalog->audit.max_size,
		.keep = catalog->audit.keep,
		.required = catalog->audit.required,
		.clock = &system_clock,
		.say = say,
	};

	if (!options.file) {
		daemon->audit = audit_close(daemon->audit);
		return 0;
	}
	if (daemon->audit)
		return audit_reopen(daemon->audit, &options, err);
	return audit_open(&daemon->audit, &options, err);
}

static long long monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void record(struct daemon *daemon, const char *event, const struct lease_caller *caller,
		   const struct dsec_error *err)
{
	if (daemon->audit)
		audit_event(daemon->audit, event, daemon->options.config_file, caller, err);
}

void daemon_reload(struct daemon *daemon, const struct lease_caller *caller)
{
	_cleanup_catalog_ struct catalog *next = NULL;
	struct dsec_error err;

	notify_send("RELOADING=1\nMONOTONIC_USEC=%lld", monotonic_us());
	next = configuration_load(daemon->options.config_file);
	if (!next) {
		log_line(LOG_ERR, "not reloaded: the running configuration stays");
		dsec_error_set(&err, DSEC_ERROR_INVALID, "the configuration is not in order");
		record(daemon, "reload_failed", caller, &err);
	} else if (daemon_audit(daemon, next, &err) < 0) {
		log_error(LOG_ERR, &err, "not reloaded: the running configuration stays: audit");
		record(daemon, "reload_failed", caller, &err);
	} else {
		/* Before the engine asks for the providers of the new one. */
		struct catalog *last = daemon->catalog;
		daemon->catalog = catalog_ref(next);
		engine_reload(daemon->engine, daemon->catalog);
		fs_reload(daemon->fs, daemon->catalog);
		fs_watch_readers(daemon->fs, daemon->audit != NULL);
		if (daemon->api)
			api_reload(daemon->api, daemon->catalog);
		catalog_unref(last);
		log_line(LOG_INFO, "reloaded %s", daemon->options.config_file);
		record(daemon, "reloaded", caller, NULL);
	}
	notify_send("READY=1\nSTATUS=serving %s", daemon->options.mountpoint);
}

static int reload_asked(void *arg, const struct lease_caller *caller, struct dsec_error *err)
{
	struct daemon *daemon = arg;
	const struct catalog *before = daemon->catalog;
	struct lease_caller whole = daemon_complete(daemon, caller);

	if (!daemon->ending)
		daemon_reload(daemon, &whole);
	who_unref(whole.who);
	if (daemon->catalog != before)
		return 0;
	return dsec_error_set(err, DSEC_ERROR_INVALID,
			      "not reloaded, the running configuration stays: the daemon's log and "
			      "dsec check say why");
}

void daemon_offer_reload(struct daemon *daemon)
{
	if (daemon->api)
		api_offer_reload(daemon->api, reload_asked, daemon);
}
