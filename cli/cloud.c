#include "cli/cloud.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "cli/configuration.h"
#include "cli/log.h"
#include "cli/paths.h"

/* The provider keeps the timeout of a call; this much later we stop believing that it does. */
#define CLOUD_GRACE_MS 5000

int cloud_open(struct cloud *ret, const struct options *options)
{
	struct cloud cloud = {0};
	struct dsec_error err;
	char file[PATH_MAX];

	int r = paths_config(file, options->config, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		return r;
	}
	cloud.catalog = configuration_load(file);
	if (!cloud.catalog)
		return -EINVAL;
	r = aws_new(&cloud.aws, &system_clock, &err);
	if (r < 0) {
		log_error(LOG_ERR, &err, NULL);
		cloud_close(&cloud);
		return r;
	}
	*ret = cloud;
	return 0;
}

void cloud_close(struct cloud *cloud)
{
	cloud->aws = aws_free(cloud->aws);
	cloud->catalog = catalog_unref(cloud->catalog);
}

void cloud_dispatch(struct cloud *cloud, int64_t until_at)
{
	struct pollfd ready = {.fd = aws_fd(cloud->aws), .events = POLLIN};
	int64_t now_at = system_clock.boottime_at(&system_clock);
	int64_t deadline_at = aws_deadline_at(cloud->aws);

	if (deadline_at < until_at)
		until_at = deadline_at;
	int64_t wait_ms = until_at > now_at ? until_at - now_at : 0;
	poll(&ready, 1, wait_ms > INT_MAX ? INT_MAX : (int)wait_ms);
	aws_dispatch(cloud->aws);
}

struct question {
	cloud_answer *answer;
	void *arg;
	struct dsec_error *err;
	int result;
	bool done;
};

static void answered(void *arg, const struct provider_answer *answer, const struct dsec_error *err)
{
	struct question *question = arg;

	question->done = true;
	if (err) {
		question->result = -dsec_error_errno(err->kind);
		*question->err = *err;
	} else if (question->answer) {
		question->answer(question->arg, answer);
	}
}

int cloud_ask(struct cloud *cloud, struct provider *provider, const struct provider_call *call,
	      cloud_answer *answer, void *arg, struct dsec_error *err)
{
	struct question question = {.answer = answer, .arg = arg, .err = err};
	struct provider_call timed = *call;
	int64_t end_at =
		system_clock.boottime_at(&system_clock) + CLOUD_CALL_TIMEOUT_MS + CLOUD_GRACE_MS;

	timed.timeout_ms = CLOUD_CALL_TIMEOUT_MS;
	uint64_t handle = provider->ops->submit(provider, &timed, answered, &question);
	while (!question.done) {
		if (system_clock.boottime_at(&system_clock) >= end_at) {
			provider->ops->cancel(provider, handle);
			return dsec_error_set(err, DSEC_ERROR_TIMEOUT, "%s: no answer",
					      provider_op_name(call->op));
		}
		cloud_dispatch(cloud, end_at);
	}
	return question.result;
}
