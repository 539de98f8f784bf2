#include "aws/ahead.h"

#include <string.h>

void ahead_init(struct ahead *ahead, struct http *http, const struct integration *integration)
{
	*ahead = (struct ahead){.http = http, .integration = integration};
	for (int i = 0; i < AHEAD_SERVERS; i++)
		ahead->servers[i].spare_at = INT64_MIN;
}

void ahead_finish(struct ahead *ahead)
{
	for (int i = 0; i < AHEAD_SERVERS; i++)
		ahead->servers[i].opening = exchange_cancel(ahead->servers[i].opening);
}

static const char *url_of(const struct ahead *ahead, enum ahead_server server)
{
	return server == AHEAD_IAM ? ahead->integration->endpoint
				   : ahead->integration->sts_endpoint;
}

static bool has_spare(const struct ahead *ahead, enum ahead_server server)
{
	int64_t at = ahead->servers[server].spare_at;

	return at != INT64_MIN &&
	       loop_now(ahead->http->loop) - at < HTTP_IDLE_MAX_S * 1000 - AHEAD_MARGIN_MS;
}

static void spare(struct ahead *ahead, enum ahead_server server)
{
	ahead->servers[server].spare_at = loop_now(ahead->http->loop);
}

/* Whatever the server says to it, it has a connection for it. */
static void opened(struct ahead *ahead, enum ahead_server server, const struct outcome *outcome)
{
	ahead->servers[server].opening = NULL; /* it ends by itself */
	if (outcome->status > 0)
		spare(ahead, server);
}

static void iam_opened(void *arg, const struct outcome *outcome)
{
	opened(arg, AHEAD_IAM, outcome);
}

static void sts_opened(void *arg, const struct outcome *outcome)
{
	opened(arg, AHEAD_STS, outcome);
}

/* One that cannot be opened is missed by nobody: its use opens it, or says why not. */
static void open_one(struct ahead *ahead, enum ahead_server server)
{
	static const struct answer_names nothing;
	const struct request request = {
		.url = url_of(ahead, server),
		.ca_file = ahead->integration->ca_file,
		.timeout_ms = AHEAD_TIMEOUT_MS,
		.names = &nothing,
	};

	if (!ahead->servers[server].opening && !has_spare(ahead, server))
		exchange_start(&ahead->servers[server].opening, ahead->http, &request,
			       server == AHEAD_IAM ? iam_opened : sts_opened, ahead, NULL);
}

/* Where one server is both, its second connection serves the verification too. */
void ahead_open(struct ahead *ahead)
{
	open_one(ahead, AHEAD_IAM);
	if (ahead->integration->verify &&
	    strcmp(url_of(ahead, AHEAD_IAM), url_of(ahead, AHEAD_STS)) != 0)
		open_one(ahead, AHEAD_STS);
}

void ahead_began(struct ahead *ahead, enum ahead_server server)
{
	ahead->servers[server].busy++;
}

/* At IAM's, one of two that were under way at once. */
void ahead_ended(struct ahead *ahead, enum ahead_server server, bool answered)
{
	bool another = --ahead->servers[server].busy > 0;

	if (answered && (another || server == AHEAD_STS))
		spare(ahead, server);
}
