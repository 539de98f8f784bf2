/*
 * cloud.h: the configuration and AWS, for commands that ask AWS something themselves, one thing
 * after the other.
 */
#ifndef DSEC_CLI_CLOUD_H
#define DSEC_CLI_CLOUD_H

#include <stdint.h>

#include "aws/aws.h"
#include "cli/command.h"
#include "lease/catalog.h"
#include "lease/error.h"
#include "lease/provider.h"

#define CLOUD_CALL_TIMEOUT_MS 15000 /* of one attempt of one call */

struct cloud {
	struct catalog *catalog;
	struct aws *aws;
};

/* Loads the configuration that the options name and makes AWS ready. Logs what is wrong, and then
 * returns a negative errno. */
int cloud_open(struct cloud *ret, const struct options *options);
void cloud_close(struct cloud *cloud);
#define _cleanup_cloud_ __attribute__((cleanup(cloud_close)))

/* Waits until AWS has answered something or `until_at` (boottime) has come, and lets the answers
 * be delivered. */
void cloud_dispatch(struct cloud *cloud, int64_t until_at);

typedef void cloud_answer(void *arg, const struct provider_answer *answer);

/* Makes one call and waits for what comes of it: at most CLOUD_CALL_TIMEOUT_MS, whatever the
 * provider does. `answer` (may be NULL) is called on success alone. */
int cloud_ask(struct cloud *cloud, struct provider *provider, const struct provider_call *call,
	      cloud_answer *answer, void *arg, struct dsec_error *err);

#endif
