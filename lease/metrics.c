#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lease/engine_private.h"

/* Dynamic secrets with metrics of their own: a label is bounded. */
#define METRICS_POOLS_MAX 500

/* Prometheus' text format, version 0.0.4. */

static void head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP dsec_%s %s\n# TYPE dsec_%s %s\n", name, help, name, type);
}

static void counter(FILE *to, const char *name, const char *help, uint64_t value)
{
	head(to, name, "counter", help);
	fprintf(to, "dsec_%s %" PRIu64 "\n", name, value);
}

static void gauge(FILE *to, const char *name, const char *help, size_t value)
{
	head(to, name, "gauge", help);
	fprintf(to, "dsec_%s %zu\n", name, value);
}

static void print_leases(FILE *to, const struct engine *engine)
{
	const struct engine_counters *counters = &engine->counters;

	counter(to, "leases_intended_total", "Leases that were begun.", counters->intended);
	counter(to, "leases_created_total", "Leases that became active.", counters->activated);
	counter(to, "leases_failed_total", "Leases that were begun and did not become active.",
		counters->failed);
	counter(to, "leases_renewed_total", "Leases that were given another end.",
		counters->renewed);
	counter(to, "leases_ended_total", "Active leases that expired or were revoked.",
		counters->ended);
	counter(to, "users_gone_total", "IAM users that were removed.", counters->gone);
	head(to, "lease_creation_seconds", "summary",
	     "How long it took from the intent to the active lease.");
	fprintf(to,
		"dsec_lease_creation_seconds_sum %.3f\ndsec_lease_creation_seconds_count %" PRIu64
		"\n",
		(double)counters->making_ms / 1000, counters->activated);
	counter(to, "journal_failures_total", "Writes to the journal that failed.",
		counters->journal_failed);
}

static void print_readers(FILE *to, const struct engine *engine)
{
	const struct engine_counters *counters = &engine->counters;

	head(to, "reads_total", "counter", "Readers, by what they were given.");
	fprintf(to,
		"dsec_reads_total{result=\"cached\"} %" PRIu64
		"\ndsec_reads_total{result=\"warm\"} %" PRIu64
		"\ndsec_reads_total{result=\"made\"} %" PRIu64
		"\ndsec_reads_total{result=\"interrupted\"} %" PRIu64 "\n",
		counters->acquired_cached, counters->acquired_warm, counters->acquired_made,
		counters->abandoned);
	for (int kind = 0; kind < LIMITER_KINDS; kind++)
		if (counters->acquired_failed[kind] > 0)
			fprintf(to, "dsec_reads_total{result=\"%s\"} %" PRIu64 "\n",
				dsec_error_kind_name(kind), counters->acquired_failed[kind]);
	counter(to, "readers_held_back_total",
		"Readers that were refused since their holder has caused as many leases as "
		"max_rate_per_holder allows.",
		counters->held_back);
	gauge(to, "readers_waiting", "Readers that wait for a lease.", engine->n_waiting);
}

static double seconds(int64_t ms)
{
	return (double)ms / 1000;
}

/* Of one dynamic secret, or of several. */
struct tally {
	size_t n[3];         /* in the order of the names */
	int64_t oldest_at;   /* the start of the oldest active lease */
	int64_t revoking_at; /* since when the first is to be removed */
};

static const char *const state_names[] = {"creating", "active", "revoking"};

static void count_principal(struct tally *tally, const struct principal *principal)
{
	switch (principal->state) {
	case PRINCIPAL_ACTIVE:
		tally->n[1]++;
		if (principal->start_at < tally->oldest_at)
			tally->oldest_at = principal->start_at;
		break;
	case PRINCIPAL_REVOKING:
		tally->n[2]++;
		if (principal->revoking_at < tally->revoking_at)
			tally->revoking_at = principal->revoking_at;
		break;
	case PRINCIPAL_GONE:
		break;
	default:
		tally->n[0]++;
		break;
	}
}

static void print_states(FILE *to, const char *labels, const struct tally *tally, int64_t now)
{
	for (size_t i = 0; i < 3; i++)
		fprintf(to, "dsec_leases{%s,state=\"%s\"} %zu\n", labels, state_names[i],
			tally->n[i]);
}

static void print_oldest(FILE *to, const char *labels, const struct tally *tally, int64_t now)
{
	if (tally->n[1] > 0)
		fprintf(to, "dsec_lease_oldest_seconds{%s} %.3f\n", labels,
			seconds(now - tally->oldest_at));
}

static void print_pending(FILE *to, const char *labels, const struct tally *tally, int64_t now)
{
	fprintf(to, "dsec_revocation_oldest_seconds{%s} %.3f\n", labels,
		tally->n[2] > 0 ? seconds(now - tally->revoking_at) : 0);
}

/* Names of projects, configs and secrets need no escapes. What is beyond METRICS_POOLS_MAX is told
 * as one, by names that none of them can have. */
static void each_pool(FILE *to, const struct engine *engine,
		      void (*print)(FILE *to, const char *labels, const struct tally *tally,
				    int64_t now))
{
	const struct tally none = {.oldest_at = INT64_MAX, .revoking_at = INT64_MAX};
	struct tally rest = none;
	char labels[3 * CATALOG_NAME_MAX + 64];
	size_t n = 0;

	list_each (pool_at, &engine->pools) {
		const struct pool *pool = container_of(pool_at, struct pool, link);
		struct tally own = none, *tally = n++ < METRICS_POOLS_MAX ? &own : &rest;

		list_each (at, &pool->principals)
			count_principal(tally, container_of(at, struct principal, in_pool));
		if (tally == &rest)
			continue;
		snprintf(labels, sizeof(labels), "project=\"%s\",config=\"%s\",secret=\"%s\"",
			 pool->project, pool->config, pool->secret);
		print(to, labels, tally, engine_now(engine));
	}
	if (n > METRICS_POOLS_MAX)
		print(to, "project=\"(others)\",config=\"(others)\",secret=\"(others)\"", &rest,
		      engine_now(engine));
}

static void print_pools(FILE *to, const struct engine *engine)
{
	head(to, "leases", "gauge", "Leases of each dynamic secret, by state.");
	each_pool(to, engine, print_states);
	head(to, "lease_oldest_seconds", "gauge",
	     "The age of the oldest active lease of each dynamic secret.");
	each_pool(to, engine, print_oldest);
	head(to, "revocation_oldest_seconds", "gauge",
	     "For how long the oldest of the users that are to be removed has been waiting for "
	     "it.");
	each_pool(to, engine, print_pending);
}

static void print_users(FILE *to, const struct engine *engine)
{
	size_t creating = 0, active = 0, revoking = 0, troubled = 0, ready = 0;

	list_each (at, &engine->principals) {
		const struct principal *principal = container_of(at, struct principal, link);

		creating += principal->state < PRINCIPAL_ACTIVE;
		active += principal->state == PRINCIPAL_ACTIVE;
		revoking += principal->state == PRINCIPAL_REVOKING;
		troubled += principal->state == PRINCIPAL_REVOKING && principal->ending &&
			    principal->ending->troubles > 0;
	}
	list_each (each, &engine->pools)
		ready += warm_ready_count(container_of(each, struct pool, link));
	gauge(to, "leases_ready", "Leases that are kept ready (warm) and can be had at once.",
	      ready);
	head(to, "users", "gauge", "IAM users of this daemon, by state.");
	fprintf(to,
		"dsec_users{state=\"creating\"} %zu\ndsec_users{state=\"active\"} %zu\n"
		"dsec_users{state=\"revoking\"} %zu\n",
		creating, active, revoking);
	gauge(to, "users_revocation_failing",
	      "IAM users whose removal has met with a failure, and is tried again.", troubled);
	gauge(to, "users_with_key", "IAM users that may still have a key.", engine->n_keys);
}

static void print_calls(FILE *to, const struct account *account)
{
	const struct limiter_counters *counters = &account->limiter.counters;

	for (int op = 0; op < LIMITER_OPS; op++) {
		if (counters->sent[op] == 0)
			continue;
		fprintf(to,
			"dsec_aws_calls_total{integration=\"%s\",operation=\"%s\","
			"outcome=\"ok\"} %" PRIu64 "\n",
			account->name, provider_op_name(op), counters->succeeded[op]);
		for (int kind = 0; kind < LIMITER_KINDS; kind++)
			if (counters->failed[op][kind] > 0)
				fprintf(to,
					"dsec_aws_calls_total{integration=\"%s\",operation=\"%s\","
					"outcome=\"%s\"} %" PRIu64 "\n",
					account->name, provider_op_name(op),
					dsec_error_kind_name(kind), counters->failed[op][kind]);
	}
}

static void print_times(FILE *to, const struct account *account)
{
	static const char *const outcomes[] = {"error", "ok"};

	for (int op = 0; op < LIMITER_OPS; op++)
		for (int ok = 0; ok < 2; ok++) {
			const struct limiter_times *times = &account->limiter.counters.took[op][ok];
			char labels[CATALOG_NAME_MAX + 96];
			uint64_t n = 0;

			snprintf(labels, sizeof(labels),
				 "integration=\"%s\",operation=\"%s\",outcome=\"%s\"",
				 account->name, provider_op_name(op), outcomes[ok]);
			if (account->limiter.counters.sent[op] == 0)
				continue;
			for (size_t i = 0; i < LIMITER_BOUNDS; i++)
				fprintf(to,
					"dsec_aws_call_seconds_bucket{%s,le=\"%g\"} %" PRIu64 "\n",
					labels, seconds(limiter_bounds_ms[i]), n += times->n[i]);
			n += times->n[LIMITER_BOUNDS];
			fprintf(to,
				"dsec_aws_call_seconds_bucket{%s,le=\"+Inf\"} %" PRIu64
				"\ndsec_aws_call_seconds_sum{%s} %.3f\n"
				"dsec_aws_call_seconds_count{%s} %" PRIu64 "\n",
				labels, n, labels, seconds((int64_t)times->ms), labels, n);
		}
}

static void print_throttled(FILE *to, const struct account *account)
{
	uint64_t n = 0;

	for (int op = 0; op < LIMITER_OPS; op++)
		n += account->limiter.counters.failed[op][DSEC_ERROR_THROTTLED];
	fprintf(to, "dsec_aws_throttled_total{integration=\"%s\"} %" PRIu64 "\n", account->name, n);
}

static void print_wait(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_wait_seconds_total{integration=\"%s\"} %.3f\n", account->name,
		(double)account->limiter.counters.waited_ms / 1000);
}

static void print_retries(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_retries_total{integration=\"%s\"} %" PRIu64 "\n", account->name,
		account->limiter.counters.retried);
}

static void print_in_flight(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_calls_in_flight{integration=\"%s\"} %zu\n", account->name,
		account->limiter.in_flight);
}

static void print_rate(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_rate{integration=\"%s\"} %.2f\n", account->name,
		account->limiter.rate);
}

/* Only those that are configured: one that is but being emptied would repeat its name. */
static void each_account(FILE *to, const struct engine *engine,
			 void (*print)(FILE *to, const struct account *account))
{
	list_each (at, &engine->accounts) {
		const struct account *account = container_of(at, struct account, link);

		if (account->configured)
			print(to, account);
	}
}

static void print_accounts(FILE *to, const struct engine *engine)
{
	head(to, "aws_calls_total", "counter", "Calls that were answered, by operation.");
	each_account(to, engine, print_calls);
	head(to, "aws_call_seconds", "histogram", "How long a call took until it was answered.");
	each_account(to, engine, print_times);
	head(to, "aws_throttled_total", "counter", "Calls that AWS has refused as too many.");
	each_account(to, engine, print_throttled);
	head(to, "aws_retries_total", "counter", "Calls that were made again.");
	each_account(to, engine, print_retries);
	head(to, "aws_wait_seconds_total", "counter", "Time that calls waited for their answers.");
	each_account(to, engine, print_wait);
	head(to, "aws_calls_in_flight", "gauge", "Calls that wait for an answer.");
	each_account(to, engine, print_in_flight);
	head(to, "aws_rate", "gauge", "Calls a second that are allowed just now.");
	each_account(to, engine, print_rate);
}

void engine_count_cached(struct engine *engine, uint64_t n)
{
	engine->counters.acquired_cached += n;
}

char *engine_metrics_text(const struct engine *engine)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	print_leases(to, engine);
	print_readers(to, engine);
	print_pools(to, engine);
	print_users(to, engine);
	print_accounts(to, engine);
	if (engine->env.observer.metrics)
		engine->env.observer.metrics(engine->env.observer.arg, to);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
