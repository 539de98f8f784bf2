/* giving.c: files for who asks the API's socket for them: systemd, for a service's credentials. */
#include "cli/daemon_private.h"
#include "cli/log.h"

static uint64_t give(void *arg, const char *path, const struct lease_caller *caller,
		     api_given *given, void *given_arg)
{
	struct daemon *daemon = arg;
	struct dsec_error err;

	if (daemon->fs)
		return fs_give(daemon->fs, daemon->engine, path, caller, given, given_arg);
	dsec_error_set(&err, DSEC_ERROR_FAULT, "dsec is ending");
	given(given_arg, NULL, &err);
	return 0;
}

static void give_up(void *arg, uint64_t number)
{
	struct daemon *daemon = arg;

	if (daemon->fs)
		fs_give_up(daemon->fs, number);
}

static void refused(void *arg, const char *sentence)
{
	log_line(LOG_WARNING, "%s", sentence);
}

void daemon_offer_files(struct daemon *daemon)
{
	const struct api_files files = {
		.give = give,
		.give_up = give_up,
		.refused = refused,
		.arg = daemon,
	};

	if (daemon->api)
		api_offer_files(daemon->api, &files);
}
